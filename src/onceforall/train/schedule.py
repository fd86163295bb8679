"""Training as data: what happens in every step follows from the seed and the step, and from nothing else."""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from .sampler import Sampling, draw_archs

Distill = Literal["none", "teacher", "inplace"]
Reduction = Literal["mean", "sum"]
Cosine = Literal["phase", "run"]


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{what}={value}: must be one of {', '.join(choices)}")


def _check_range(what: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{what}={value}: must be from {least:g} to {most:g}")


@dataclass(frozen=True)
class Objective:
    """What the sub-networks of one step learn from.

    Attributes:
        distill: "none": labels only; "teacher": also the soft output of a frozen network; "inplace": the first
            sub-network of the step learns from labels, its output teaches the others.
        kd_ratio: weight of the loss against the teacher, for sub-networks that have one.
        label_ratio: weight of the loss against the labels, for sub-networks that have a teacher (1 for others).
        label_smoothing: weight of the uniform distribution in the label targets.
        reduction: "sum" adds the weighted losses of a step, as Once-for-All does, so that its length grows with the
            number of sub-networks; "mean" divides by the sum of all weights, so that one learning rate fits all phases.
    """

    distill: Distill = "none"
    kd_ratio: float = 1.0
    label_ratio: float = 1.0
    label_smoothing: float = 0.1
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        _check_choice("distill", self.distill, ("none", "teacher", "inplace"))
        _check_choice("loss_reduction", self.reduction, ("mean", "sum"))
        _check_range("label_smoothing", self.label_smoothing, 0, 1)
        _check_range("kd_ratio", self.kd_ratio, 0, math.inf)
        _check_range("label_ratio", self.label_ratio, 0, math.inf)
        if self.distill != "none" and self.kd_ratio + self.label_ratio == 0:
            raise ConfigError("kd_ratio and label_ratio are both 0, so nothing would be learned; make one positive")

    def total_weight(self, subnets: int) -> float:
        """Sum of the weights of all losses in a step with this many sub-networks."""
        taught = {"none": 0, "teacher": subnets, "inplace": subnets - 1}[self.distill]
        return subnets - taught + taught * (self.kd_ratio + self.label_ratio)

    def scale(self, subnets: int) -> float:
        """What every weighted loss of a step with this many sub-networks is multiplied by."""
        return 1.0 if self.reduction == "sum" else 1.0 / self.total_weight(subnets)


@dataclass(frozen=True)
class Phase:
    """One part of a schedule.

    Attributes:
        name: as it appears in metrics and on the terminal.
        share: length relative to the other phases; any positive unit, for instance epochs.
        sampling: "largest": the largest network alone; "random": subnets_per_step random ones; "sandwich": the
            largest, the smallest, and subnets_per_step - 2 random ones.
        subnets_per_step: forward and backward passes per step.
        kernel_sizes, expand_ratios, depths: how many values of every stage are open, from the largest; None: all.
        objective: what the sub-networks learn from.
        learning_rate_factor: peak learning rate relative to that of the run.
        learning_rate_warmup: share of this phase in which the rate rises linearly, where a cosine begins.
        sort_channels: sort channels by importance before the phase, keeping earlier expand phases intact: the number
            of expand ratios, minus one, that have been trained so far. None: leave them.
    """

    name: str
    share: float
    sampling: Sampling = "largest"
    subnets_per_step: int = 1
    kernel_sizes: int | None = None
    expand_ratios: int | None = None
    depths: int | None = None
    objective: Objective = Objective()
    learning_rate_factor: float = 1.0
    learning_rate_warmup: float = 0.0
    sort_channels: int | None = None

    def __post_init__(self) -> None:
        _check_choice("sampling", self.sampling, ("largest", "random", "sandwich"))
        _check_range("learning_rate_warmup", self.learning_rate_warmup, 0, 1)
        least = 2 if self.sampling == "sandwich" else 1
        if self.subnets_per_step < least:
            raise ConfigError(f"phase {self.name}: {self.sampling} needs at least {least} sub-networks per step")
        if not (self.share > 0 and math.isfinite(self.share)):
            raise ConfigError(f"phase {self.name}: its share must be positive, not {self.share}")

    def open_space(self, space: SearchSpace) -> SearchSpace:
        """The part of `space` this phase draws from."""

        def largest(values: tuple, count: int | None) -> tuple:
            return values if count is None else values[-count:]

        stages = tuple(
            replace(
                stage,
                kernel_sizes=largest(stage.kernel_sizes, self.kernel_sizes),
                expand_ratios=largest(stage.expand_ratios, self.expand_ratios),
                depths=largest(stage.depths, self.depths),
            )
            for stage in space.stages
        )
        return replace(space, stages=stages)


@dataclass(frozen=True)
class Recipe:
    """A named list of phases. `cosine`: one learning-rate cosine per "phase" or one per "run"."""

    name: str
    phases: tuple[Phase, ...]
    cosine: Cosine

    def begins_afresh(self, index: int) -> bool:
        """Whether momentum and moving averages of earlier steps no longer fit when a phase begins."""
        return index == 0 or self.cosine == "phase" or self.phases[index].sort_channels is not None


@dataclass(frozen=True)
class StepPlan:
    """What one step does.

    Attributes:
        step: counted from 0 over the whole run.
        updates: steps since momentum and moving averages last began afresh (see `Recipe.begins_afresh`).
        begins_phase, ends_phase: whether this is the first, the last step of its phase.
        archs: the sub-networks to train, all at `resolution` pixels.
    """

    step: int
    updates: int
    phase: Phase
    begins_phase: bool
    ends_phase: bool
    archs: tuple[Arch, ...]
    resolution: int
    learning_rate: float


@dataclass(frozen=True)
class Schedule:
    """A recipe laid over a number of steps.

    Attributes:
        steps_per_epoch: steps in one pass over the training images.
        epochs: passes over the training images, all phases together.
        base_learning_rate: peak learning rate at 256 images per step; the rate used is proportional to the batch
            (Goyal et al., 2017), so that nobody edits it when the batch changes.
        seed: every random choice is a function of (seed, step).
    """

    recipe: Recipe
    space: SearchSpace
    steps_per_epoch: int
    epochs: float
    base_learning_rate: float
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: must be 0 or greater")
        if self.total_steps < len(self.recipe.phases):
            raise ConfigError(
                f"epochs={self.epochs:g} gives {self.total_steps} steps, fewer than the {len(self.recipe.phases)} "
                f"phases of {self.recipe.name}; train for more epochs or with a smaller batch_size"
            )

    @cached_property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return round(self.epochs * self.steps_per_epoch)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate at the top of the cosine, before a phase's own factor."""
        return self.base_learning_rate * self.batch_size / 256

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First step of every phase, then the total: every phase has at least one step."""
        shares = np.array([phase.share for phase in self.recipe.phases])
        ideal = np.round(np.cumsum(shares) / shares.sum() * self.total_steps).astype(int).tolist()
        starts = [0]
        for index, end in enumerate(ideal, start=1):
            phases_after = len(shares) - index
            starts.append(min(max(end, starts[-1] + 1), self.total_steps - phases_after))
        return tuple(starts)

    @cached_property
    def _open_spaces(self) -> tuple[SearchSpace, ...]:
        return tuple(phase.open_space(self.space) for phase in self.recipe.phases)

    @cached_property
    def _fresh_starts(self) -> tuple[int, ...]:
        """Per phase the step at which momentum last began afresh."""
        starts: list[int] = []
        for index in range(len(self.recipe.phases)):
            starts.append(self.starts[index] if self.recipe.begins_afresh(index) else starts[-1])
        return tuple(starts)

    def phase_index(self, step: int) -> int:
        """Index of the phase that a step belongs to."""
        if not 0 <= step < self.total_steps:
            raise IndexError(f"step {step} is not one of the {self.total_steps} steps of the schedule")
        return bisect_right(self.starts, step) - 1

    def resolution(self, step: int) -> int:
        """Side in pixels of the images of a step: one size per step, drawn uniformly."""
        return self._draw_resolution(self._generator(step))

    def plan(self, step: int) -> StepPlan:
        """Everything about one step."""
        index = self.phase_index(step)
        phase = self.recipe.phases[index]
        rng = self._generator(step)
        resolution = self._draw_resolution(rng)
        archs = draw_archs(self._open_spaces[index], phase.sampling, phase.subnets_per_step, resolution, rng)
        return StepPlan(
            step=step,
            updates=step - self._fresh_starts[index],
            phase=phase,
            begins_phase=step == self.starts[index],
            ends_phase=step + 1 == self.starts[index + 1],
            archs=archs,
            resolution=resolution,
            learning_rate=self.learning_rate(step),
        )

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine down to 0, over its phase or the whole run."""
        index = self.phase_index(step)
        phase = self.recipe.phases[index]
        first, last = (index, index) if self.recipe.cosine == "phase" else (0, len(self.recipe.phases) - 1)
        begin, end = self.starts[first], self.starts[last + 1]
        warmup = round(self.recipe.phases[first].learning_rate_warmup * (self.starts[first + 1] - begin))
        peak = self.peak_learning_rate * phase.learning_rate_factor
        return cosine_learning_rate(step - begin, end - begin, peak, warmup_steps=warmup)

    def _generator(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, step])

    def _draw_resolution(self, rng: np.random.Generator) -> int:
        return self.space.resolutions[rng.integers(len(self.space.resolutions))]


def cosine_learning_rate(
    step: int, total_steps: int, peak: float, *, warmup_steps: int = 0, warmup_start: float = 0.0
) -> float:
    """Linear warm-up from `warmup_start`, reaching `peak` at step `warmup_steps - 1`, then half a cosine to 0.

    Step t of W warm-up steps has `warmup_start + (t + 1) / W * (peak - warmup_start)`; afterwards, with t counted from
    the end of the warm-up, `peak / 2 * (1 + cos(pi * t / (total_steps - W)))`. This is the per-iteration rule of
    Once-for-All (Cai et al., ICLR 2020), whose warm-up starts at the rate of a single worker.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps * (peak - warmup_start) + warmup_start
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps)))
