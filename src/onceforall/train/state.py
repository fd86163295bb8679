"""Everything that changes while training: weights, optimiser, moving average, teacher."""

import contextlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..elastic import calibrate
from ..supernets import Supernet
from .config import TrainConfig
from .distributed import World
from .ema import ExponentialMovingAverage
from .optimizer import create_optimizer, forget, load_optimizer_tensors, optimizer_tensors, set_learning_rate
from .schedule import StepPlan
from .step import forward, train_step


class TrainingState:
    """What steps change and checkpoints hold.

    Attributes:
        supernet: in train mode.
        teacher: the largest network at the end of its own phase, frozen and in eval mode; None before that.
    """

    def __init__(self, supernet: Supernet, config: TrainConfig) -> None:
        self.supernet = supernet.train()
        self.optimizer = create_optimizer(supernet, config.optimizer)
        self.ema = None if config.ema_decay is None else ExponentialMovingAverage(supernet, config.ema_decay)
        self.teacher: nn.Module | None = None
        self._clip_gradient_norm = config.optimizer.clip_gradient_norm
        self._autocast_dtype = torch.bfloat16 if config.precision == "bf16" else None

    def begin_phase(self, plan: StepPlan, calibration: Iterable[Tensor]) -> None:
        """Make the teacher when a phase first needs one, sort channels, forget momentum that no longer fits.

        Args:
            plan: of the first step of the phase.
            calibration: images for the teacher's batch-norm statistics, at all resolutions it will see.
        """
        if plan.phase.objective.distill == "teacher" and self.teacher is None:
            with self.averaged_weights():
                self.teacher = self._frozen_largest()
            calibrate(self.teacher, calibration)
        if plan.phase.sort_channels is not None:
            self.supernet.sort_channels(plan.phase.sort_channels)
        if plan.updates == 0:
            forget(self.optimizer)
            if self.ema is not None:
                self.ema.restart(self.supernet)

    def step(self, plan: StepPlan, images_NCHW: Tensor, labels_N: Tensor, world: World) -> Tensor:
        """One update as planned; returns the loss of every sub-network, shape (len(plan.archs),)."""
        set_learning_rate(self.optimizer, plan.learning_rate)
        teacher_logits_NC = None
        if plan.phase.objective.distill == "teacher":
            assert self.teacher is not None
            with torch.no_grad():
                teacher_logits_NC = forward(self.teacher, images_NCHW, autocast_dtype=self._autocast_dtype)
        losses = train_step(
            self.supernet,
            self.optimizer,
            images_NCHW,
            labels_N,
            plan.archs,
            plan.phase.objective,
            teacher_logits_NC=teacher_logits_NC,
            autocast_dtype=self._autocast_dtype,
            clip_gradient_norm=self._clip_gradient_norm,
            average_gradients=world.average_gradients if world.size > 1 else None,
        )
        if self.ema is not None:
            self.ema.update(self.supernet, plan.updates)
        return losses

    def averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        """The moving average inside the supernet, where there is one."""
        return contextlib.nullcontext() if self.ema is None else self.ema.swapped_in(self.supernet)

    def settle(self, calibration: Iterable[Tensor]) -> Supernet:
        """The final supernet: averaged weights, statistics calibrated for the largest network, eval mode."""
        if self.ema is not None:
            self.ema.copy_to(self.supernet)
        calibrate(self.supernet, calibration)
        return self.supernet.eval()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state, for a checkpoint."""
        parts = {"supernet": self.supernet.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.ema is not None:
            parts["ema"] = self.ema.weights
        if self.teacher is not None:
            parts["teacher"] = self.teacher.state_dict()
        return parts

    def load(self, parts: dict[str, dict[str, Tensor]]) -> None:
        """The inverse of `tensors`."""
        self.supernet.load_state_dict(parts["supernet"])
        load_optimizer_tensors(self.optimizer, parts["optimizer"])
        if self.ema is not None:
            self.ema.load(parts["ema"])
        if "teacher" in parts:
            self.teacher = self._frozen_largest()
            self.teacher.load_state_dict(parts["teacher"])

    def _frozen_largest(self) -> nn.Module:
        """A copy of the largest network, on the device and in the memory layout of the supernet."""
        return self.supernet.extract(self.supernet.space.largest).requires_grad_(False).eval()
