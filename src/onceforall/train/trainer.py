"""Training of a supernet: `Trainer.train` says from top to bottom what happens."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from ..data import load_data
from ..errors import RunError
from ..space import Arch
from ..supernets import Supernet
from . import setup
from .budget import training_cost
from .checkpoint import Checkpoint, check_same_run, load_newest_checkpoint, run_lock, save_checkpoint, to_device
from .config import TrainConfig
from .distributed import World, init_distributed, resolve_device
from .evaluate import Evaluation, Part, evaluate_archs
from .metrics import MetricsLog
from .optimizer import base_learning_rate
from .progress import TrainingProgress, say
from .schedule import StepPlan
from .start import SingleNetwork, Start, default_start
from .state import TrainingState
from .watched import watched_archs


def train(
    config: TrainConfig,
    run: str | Path,
    *,
    start: Start | None = None,
    console: Console | None = None,
    ready: Callable[[], None] | None = None,
) -> Supernet:
    """Train a supernet in a run folder, or continue what an interrupted `train` left there.

    Writes metrics.jsonl, tensorboard/, checkpoint/, and at the end supernet.safetensors and supernet.json, with
    batch-norm statistics calibrated for the largest network. Killed at any moment and called again, it ends with
    weights bit-identical to those of an uninterrupted run (on the CPU of one machine, same number of threads).

    Args:
        config: the settings; those the weights depend on must be the same when a run continues.
        run: the run folder, created when missing.
        start: what `config.weights`, `config.recipe.teacher` and `config.genotype` stand for; None: the first two are
            saved supernets, and there is no third.
        console: where progress is shown; None: the terminal.
        ready: called by the first process before the first step, once settings and images fit what is in the folder.

    Returns:
        The trained supernet in eval mode, on the device it was trained on; of a single sub-network a `SingleNetwork`.

    Raises:
        ConfigError, DataError: settings or images that cannot be used.
        RunError: the folder holds another run, another process is training in it, or training diverged.
        StorageError: the disk is full; the newest checkpoint is intact.
    """
    with contextlib.closing(init_distributed(config.device)) as world, contextlib.ExitStack() as held:
        trainer = Trainer(config, Path(run), world, console or Console(), start or default_start(config))
        world.from_main(lambda: held.enter_context(run_lock(trainer.run / "checkpoint")))
        return trainer.train(ready)


class Trainer:
    """One training process; see `train`."""

    def __init__(
        self, config: TrainConfig, run: Path, world: World, console: Console, start: Start | None = None
    ) -> None:
        setup.check_config(config, world)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.config, self.run, self.world = config, run, world
        self.begin_from = start = start or Start()
        self.console = console if world.is_main else Console(quiet=True)
        self.device = resolve_device(config.device, world)
        self.source = load_data(config.data, device=self.device)
        self.space = setup.build_space(config, self.source)
        self.schedule = setup.build_schedule(config, self.source, self.space, start.arch)
        self.cost = training_cost(self.schedule)
        supernet = setup.build_supernet(config, self.space, self.device)
        self.watched = watched_archs(config, self.schedule, supernet.space)
        if start.arch is not None:
            supernet = self.single_network(supernet, start.arch)
        self.state = TrainingState(supernet, config, self.space, start.teacher and (lambda: self.given_teacher))
        self.start = 0
        self._elapsed_before = 0.0
        self._began = self._mark = self._checkpointed = time.perf_counter()
        self._interval: list[tuple[Tensor, float]] = []
        self._corrupt: set[str] = set()
        self._met_corrupt: list[tuple[str, str]] = []

    def train(self, ready: Callable[[], None] | None = None) -> Supernet:
        """Do all steps that are not done yet."""
        self.restore()
        if ready is not None and self.world.is_main:
            ready()
        self.say(self.source.summary)
        with self.metrics, self.progress:
            batches = setup.training_batches(
                self.config, self.source, self.schedule, self.start, self.device, self.world, self.on_corrupt
            )
            if self.start == 0 and self.config.evaluation.at_start:
                self.evaluate(self.schedule.plan(0), "test", done=0)
            for step in range(self.start, self.schedule.total_steps):
                plan = self.schedule.plan(step)
                if plan.begins_phase:
                    self.begin_phase(plan)
                images_NCHW, labels_N = next(batches)
                torch.manual_seed(self.dropout_seed(step))
                losses = self.state.step(plan, images_NCHW, labels_N, self.world)
                line_written = self.log(plan, losses)
                if self.evaluation_due(plan):
                    self.evaluate(plan, self.part, done=step + 1)
                if line_written and self.checkpoint_due(plan):
                    self.checkpoint(step + 1)
            return self.finish()

    def begin_phase(self, plan: StepPlan) -> None:
        """Say so, then change what the phase needs changed."""
        self.say(f"phase {plan.phase.name} begins after step {plan.step:,}")
        self.metrics.write("phase", plan.step, phase=plan.phase.name, event="start")
        self.state.begin_phase(
            plan,
            setup.calibration(self.config, self.source, self.space.resolutions, self.device, self.on_corrupt),
        )
        self._mark = time.perf_counter()

    def evaluate(self, plan: StepPlan, part: Part, done: int) -> None:
        """Measure the watched sub-networks of this phase after `done` steps, shared out among the ranks."""
        settings = self.config.evaluation
        watched = self.watched[self.schedule.phase_index(plan.step)]
        mine = list(watched)[self.world.rank :: self.world.size]
        with self.state.averaged_weights():
            measured = evaluate_archs(
                self.state.supernet,
                [watched[label] for label in mine],
                self.source,
                part=part,
                calibration_images=settings.calibration_images,
                batch_size=settings.batch_size,
                limit=settings.images,
                seed=self.config.seed,
                workers=self.config.data.workers,
                on_corrupt=self.on_corrupt,
            )
        named: dict[str, Evaluation] = {}
        for found in self.world.gather(dict(zip(mine, measured, strict=True))):
            named |= found
        for label in watched:
            values = dataclasses.asdict(named[label]) | {"arch": named[label].arch.to_dict()}
            self.write(plan, "eval", done, label=label, part=part, **values)
        self.say(f"step {done:,}: " + "  ".join(f"{label} {100 * named[label].top1:.2f} %" for label in watched))
        self._mark = time.perf_counter()

    def finish(self) -> Supernet:
        """Leave the final weights, calibrated for the largest network, in the run folder."""
        resolutions = self.space.resolutions[-1:]
        images = setup.calibration(self.config, self.source, resolutions, self.device, self.on_corrupt)
        self.state.supernet.space = self.schedule.trained_space
        supernet = self.state.settle(images)
        self.report_corrupt()
        metadata = setup.description(self.config, self.source, self.schedule)
        self.world.from_main(lambda: supernet.save(self.run / "supernet", metadata))
        made = "supernet" if self.schedule.arch is None else f"finetune/{self.schedule.arch.name}"
        self.say(f"{self.schedule.total_steps:,} steps done; weights: {self.run / made}.safetensors")
        return supernet

    def restore(self) -> None:
        """Continue from the newest checkpoint if there is one, and open the logs where it left them."""
        folder = self.run / "checkpoint"
        checkpoint = self.world.from_main(lambda: load_newest_checkpoint(folder, self.say))
        start, metrics_bytes = 0, 0
        if checkpoint is not None:
            check_same_run(self.run, checkpoint.metadata["identity"], self.identity())
            self.state.load({name: to_device(tensors, self.device) for name, tensors in checkpoint.parts.items()})
            start, metrics_bytes = checkpoint.step, checkpoint.metadata["metrics_bytes"]
            self._elapsed_before = checkpoint.metadata["elapsed_s"]
        else:
            if self.begin_from.load is not None and self.begin_from.arch is None:
                self.begin_from.load(self.state.supernet)
            if self.begin_from.teacher is not None:
                _ = self.given_teacher  # a wrong file is to stop the run before it begins
        writes_to = self.run if self.world.is_main else None
        self.metrics = MetricsLog(writes_to, keep_bytes=metrics_bytes, step=start, tensorboard=self.config.tensorboard)
        self.progress = TrainingProgress(self.cost, start, self.console)
        self.start = start
        if start == 0:
            for image in self.source.corrupt:
                self.metrics.write("corrupt_image", 0, name=image.name, reason=image.reason)
        self._corrupt = {line["name"] for line in self.metrics.lines("corrupt_image")}

    def checkpoint(self, step: int) -> None:
        """Write everything the run needs to go on after `step` completed steps."""
        self.world.average_norm_statistics(self.state.supernet)
        self.world.from_main(lambda: self._save(step))
        self._mark = self._checkpointed = time.perf_counter()

    def _save(self, step: int) -> None:
        metadata = {"identity": self.identity(), "metrics_bytes": self.metrics.sync(), "elapsed_s": self.elapsed()}
        save_checkpoint(self.run / "checkpoint", Checkpoint(step, self.state.tensors(), metadata))

    def checkpoint_due(self, plan: StepPlan) -> bool:
        """Whether a checkpoint is written after this step: at the end of a phase, or when the clock says so."""
        minutes = (time.perf_counter() - self._checkpointed) / 60
        return plan.ends_phase or self.world.agree(minutes >= self.config.checkpoint_minutes)

    @property
    def part(self) -> Part:
        """The images that sub-networks are measured on."""
        return cast(Part, self.config.evaluation.part)

    def single_network(self, supernet: Supernet, arch: Arch) -> Supernet:
        """The network of `arch` alone, with the weights the run begins from."""
        if self.begin_from.load is not None:
            self.begin_from.load(supernet)
        return SingleNetwork(supernet, arch)

    @cached_property
    def given_teacher(self) -> nn.Module:
        """The teacher of another file, on this device."""
        assert self.begin_from.teacher is not None
        made = self.begin_from.teacher(self.state.supernet)
        return made.to(device=self.device, memory_format=setup.memory_format(self.config))  # pyright: ignore[reportCallIssue]

    def evaluation_due(self, plan: StepPlan) -> bool:
        """Whether sub-networks are measured after this step: every so many epochs and at the end of a phase."""
        every = self.config.evaluation.every_epochs
        if len(self.source.test if self.part == "test" else self.source.holdout) == 0:
            return False
        if every is None:
            return plan.step + 1 == self.schedule.total_steps
        return plan.ends_phase or (plan.step + 1) % max(1, round(every * self.schedule.steps_per_epoch)) == 0

    def log(self, plan: StepPlan, losses: Tensor) -> bool:
        """Count a step; every few steps and at the end of a phase write a line, and return True.

        Only then is the loss fetched from the device, and only then may a checkpoint follow, so that no line ever
        spans an interruption.
        """
        now = time.perf_counter()
        self.progress.step(plan, now - self._mark)
        # Per unit of weight, so that the curve does not jump where a phase adds a second loss.
        loss_per_weight = losses.sum() / plan.phase.objective.total_weight(len(losses))
        self._interval.append((loss_per_weight, now - self._mark))
        self._mark = now
        if (plan.step + 1) % self.config.log_every_steps and not plan.ends_phase:
            return False
        self.report_corrupt()
        loss = float(torch.stack([loss for loss, _ in self._interval]).mean())
        speed = len(self._interval) * plan.batch_size / sum(seconds for _, seconds in self._interval)
        self._interval.clear()
        if not math.isfinite(loss):
            name, rate = "optimizer.base_learning_rate", base_learning_rate(self.config.optimizer)
            if plan.phase.learning_rate is not None:
                name, rate = f"recipe.phases.{plan.phase.name}.learning_rate", plan.phase.learning_rate
            raise RunError(
                f"training diverged before step {plan.step + 1} (loss {loss}); start a new run with a lower "
                f"{name} than {rate:g}"
            )
        numbers = {"loss": loss, "learning_rate": plan.learning_rate, "resolution": plan.resolution}
        self.write(plan, "train", plan.step + 1, **numbers, images_per_second=round(speed, 1))
        if plan.ends_phase:
            self.write(plan, "phase", plan.step + 1, event="end")
        self.progress.numbers(plan, loss, speed)
        return True

    def write(self, plan: StepPlan, kind: str, done: int, **values: Any) -> None:
        """A line of metrics about the run after `done` steps."""
        self.metrics.write(kind, done, phase=plan.phase.name, **values, elapsed_s=self.elapsed())

    def on_corrupt(self, name: str, reason: str) -> None:
        """Remember an image that cannot be read; one process alone reports it at once."""
        self._met_corrupt.append((name, reason))
        if self.world.size == 1:
            self.report_corrupt()

    def report_corrupt(self) -> None:
        """Report the images that ranks could not read since the last time, each once a run; all ranks must call."""
        for name, reason in chain.from_iterable(self.world.gather(self._met_corrupt)):
            if name not in self._corrupt:
                self._corrupt.add(name)
                self.metrics.write("corrupt_image", 0, name=name, reason=reason)
                self.say(f"left out {name}: {reason} ({len(self._corrupt)} images so far)")
        self._met_corrupt.clear()

    def say(self, text: str) -> None:
        """Print one line; only rank 0 talks."""
        say(self.console, text)

    def elapsed(self) -> float:
        """Seconds of this run, those of earlier processes up to their checkpoint included."""
        return round(self._elapsed_before + time.perf_counter() - self._began, 2)

    def identity(self) -> dict[str, Any]:
        """What must be equal when a run continues."""
        return setup.identity(self.config, self.source, self.space)

    def dropout_seed(self, step: int) -> int:
        """Seed of everything torch itself draws in a step."""
        words = np.random.SeedSequence([self.config.seed, step, self.world.rank]).generate_state(1, np.uint64)
        return int(words[0])
