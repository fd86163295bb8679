"""Training as data: what happens in every step follows from the seed and the step, and from nothing else."""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from .phases import Phase, Recipe
from .sampler import draw_archs


@dataclass(frozen=True)
class StepPlan:
    """What one step does.

    Attributes:
        step: counted from 0 over the whole run.
        updates: steps since momentum and moving averages last began afresh (see `Recipe.begins_afresh`).
        begins_phase, ends_phase: whether this is the first, the last step of its phase.
        archs: the sub-networks to train, all at `resolution` pixels.
        batch_size: images, all processes together.
    """

    step: int
    updates: int
    phase: Phase
    begins_phase: bool
    ends_phase: bool
    archs: tuple[Arch, ...]
    resolution: int
    learning_rate: float
    batch_size: int


@dataclass(frozen=True)
class Schedule:
    """A recipe laid over a number of steps.

    Attributes:
        steps_per_epoch: steps of `batch_size` images in one pass over the training images.
        epochs: passes over the training images, all phases together.
        base_learning_rate: peak learning rate at 256 images per step; the rate used is proportional to the batch
            (Goyal et al., 2017), so that nobody edits it when the batch changes.
        batch_size: images per step; the batch sizes of phases that have their own are multiples of it.
        seed: every random choice is a function of (seed, step).
        arch: train this one sub-network in every phase, instead of what the phases would draw.
    """

    recipe: Recipe
    space: SearchSpace
    steps_per_epoch: int
    epochs: float
    base_learning_rate: float
    batch_size: int
    seed: int
    arch: Arch | None = None

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
        return round(self._ends[-1])

    @property
    def peak_learning_rate(self) -> float:
        """The largest learning rate of the run."""
        return max(map(self._peak, self.recipe.phases))

    def _peak(self, phase: Phase) -> float:
        """The learning rate at the top of a phase's cosine."""
        if phase.learning_rate is not None:
            return phase.learning_rate
        return self.base_learning_rate * self.batch_size_of(phase) / 256 * phase.learning_rate_factor

    def batch_size_of(self, phase: Phase) -> int:
        """Images per step of a phase."""
        return phase.batch_size or self.batch_size

    @cached_property
    def _ends(self) -> np.ndarray:
        """Steps of a run, phases laid end to end, before rounding."""
        shares = np.array([phase.share for phase in self.recipe.phases])
        per_epoch = [
            max(1, self.steps_per_epoch * self.batch_size // self.batch_size_of(p)) for p in self.recipe.phases
        ]
        if len(set(per_epoch)) == 1:
            return np.cumsum(shares) / shares.sum() * round(self.epochs * per_epoch[0])
        return np.cumsum(shares / shares.sum() * self.epochs * per_epoch)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First step of every phase, then the total: every phase has at least one step."""
        ideal = np.round(self._ends).astype(int).tolist()
        starts = [0]
        for index, end in enumerate(ideal, start=1):
            phases_after = len(self.recipe.phases) - index
            starts.append(min(max(end, starts[-1] + 1), self.total_steps - phases_after))
        return tuple(starts)

    @cached_property
    def trained_space(self) -> SearchSpace:
        """What the phases train; the whole space when it is one sub-network alone."""
        return self.space if self.arch is not None else self.recipe.trained_space(self.space)

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
        if self.arch is None:
            archs = draw_archs(self._open_spaces[index], phase.sampling, phase.subnets_per_step, resolution, rng)
        else:
            archs = (replace(self.arch, resolution=resolution),)
        return StepPlan(
            step=step,
            updates=step - self._fresh_starts[index],
            phase=phase,
            begins_phase=step == self.starts[index],
            ends_phase=step + 1 == self.starts[index + 1],
            archs=archs,
            resolution=resolution,
            learning_rate=self.learning_rate(step),
            batch_size=self.batch_size_of(phase),
        )

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine down to 0, over its phase or the whole run."""
        index = self.phase_index(step)
        phase = self.recipe.phases[index]
        first, last = (index, index) if self.recipe.cosine == "phase" else (0, len(self.recipe.phases) - 1)
        begin, end = self.starts[first], self.starts[last + 1]
        rising = self.recipe.phases[first]
        warmup = round(rising.learning_rate_warmup * (self.starts[first + 1] - begin))
        return cosine_learning_rate(
            step - begin,
            end - begin,
            self._peak(phase),
            warmup_steps=warmup,
            warmup_start=rising.warmup_learning_rate,
        )

    def segments(self, start: int) -> list[tuple[int, int, int]]:
        """(batch size, first step, end) of stretches of equal batch size, from step `start` on."""
        stretches: list[tuple[int, int, int]] = []
        for phase, first, end in zip(self.recipe.phases, self.starts[:-1], self.starts[1:], strict=True):
            size = self.batch_size_of(phase)
            if stretches and stretches[-1][0] == size:
                first = stretches.pop()[1]
            stretches.append((size, first, end))
        return [(size, max(first, start), end) for size, first, end in stretches if end > start]

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
