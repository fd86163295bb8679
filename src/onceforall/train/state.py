"""Everything that changes while training: weights, optimiser, moving average, teacher."""

import contextlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..elastic import calibrate
from ..space import SearchSpace
from ..supernets import Supernet
from .config import TrainConfig
from .distributed import World
from .ema import ExponentialMovingAverage
from .optimizer import create_optimizer, forget, load_optimizer_tensors, optimizer_tensors, set_learning_rate
from .schedule import StepPlan
from .step import forward, micro_batches, train_step


class TrainingState:
    """What steps change and checkpoints hold.

    Attributes:
        supernet: in train mode.
        teacher: a frozen network: the one given, or the largest at the end of its own phase; None before it is needed.

    Args:
        space: whose largest network teaches when no teacher is given.
        make_teacher: reads the network that teaches.
    """

    def __init__(
        self,
        supernet: Supernet,
        config: TrainConfig,
        space: SearchSpace,
        make_teacher: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.supernet = supernet.train()
        self.space = space
        self.optimizer = create_optimizer(supernet, config.optimizer)
        self.ema = None if config.ema_decay is None else ExponentialMovingAverage(supernet, config.ema_decay)
        self.teacher: nn.Module | None = None
        self._make_teacher = make_teacher or self._largest
        self._teacher_sees_batches = config.recipe.teacher_statistics == "batch"
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
                self.teacher = self._frozen_teacher()
            if not self._teacher_sees_batches:
                calibrate(self.teacher, calibration)
        if plan.phase.sort_channels is not None:
            self.supernet.sort_channels(plan.phase.sort_channels, self.space)
        if plan.updates == 0:
            forget(self.optimizer)
            if self.ema is not None:
                self.ema.restart(self.supernet)

    def step(self, plan: StepPlan, images_NCHW: Tensor, labels_N: Tensor, world: World) -> Tensor:
        """One update as planned; returns the loss of every sub-network, shape (len(plan.archs),)."""
        set_learning_rate(self.optimizer, plan.learning_rate)
        teacher_logits_NC = None
        if plan.phase.objective.distill == "teacher":
            teacher_logits_NC = self._taught(images_NCHW, plan.phase.micro_batch_size)
        losses = train_step(
            self.supernet,
            self.optimizer,
            images_NCHW,
            labels_N,
            plan.archs,
            plan.phase.objective,
            teacher_logits_NC=teacher_logits_NC,
            autocast_dtype=self._autocast_dtype,
            micro_batch_size=plan.phase.micro_batch_size,
            clip_gradient_norm=self._clip_gradient_norm,
            average_gradients=world.average_gradients if world.size > 1 else None,
            only={"all": None, "kernel_transforms": ".transforms."}[plan.phase.trains],
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
            self.teacher = self._frozen_teacher()
            self.teacher.load_state_dict(parts["teacher"])

    def _largest(self) -> nn.Module:
        """A copy of the largest network, on the device and in the memory layout of the supernet."""
        return self.supernet.extract(self.space.largest)

    def _frozen_teacher(self) -> nn.Module:
        """The teacher without gradients, without dropout, and with batch norm as the settings say."""
        teacher = self._make_teacher().requires_grad_(False).eval()
        for layer in teacher.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train(self._teacher_sees_batches)
        return teacher

    @torch.no_grad()
    def _taught(self, images_NCHW: Tensor, micro_batch_size: int | None) -> Tensor:
        """What the teacher says; it sees the micro-batches that its pupils see."""
        assert self.teacher is not None
        return torch.cat(
            [
                forward(self.teacher, images, autocast_dtype=self._autocast_dtype)
                for images in micro_batches(images_NCHW, micro_batch_size)
            ]
        )
