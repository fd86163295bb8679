"""What a schedule costs, known before the first step."""

from dataclasses import dataclass, replace

import numpy as np

from ..cost import count_macs
from .phases import Phase
from .schedule import Schedule

_SAMPLED_STEPS = 24  # steps per phase whose architectures are counted to estimate the mean


@dataclass(frozen=True)
class PhaseCost:
    """Cost of one phase: steps, sub-network passes (one forward and backward on one batch), multiply-adds in all."""

    name: str
    steps: int
    passes: int
    macs: float


@dataclass(frozen=True)
class TrainingCost:
    """Cost of a schedule, phase by phase."""

    phases: tuple[PhaseCost, ...]
    starts: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(phase.steps for phase in self.phases)

    @property
    def passes(self) -> int:
        """Forward and backward passes of sub-networks in the whole run."""
        return sum(phase.passes for phase in self.phases)

    @property
    def macs(self) -> float:
        """Multiply-adds of the whole run."""
        return sum(phase.macs for phase in self.phases)

    def macs_before(self, step: int) -> float:
        """Multiply-adds of the first `step` steps."""
        done = 0.0
        for phase, start in zip(self.phases, self.starts, strict=True):
            done += phase.macs * min(max(step - start, 0), phase.steps) / phase.steps
        return done


def training_cost(schedule: Schedule) -> TrainingCost:
    """Count a schedule. Backward passes count as two forward passes; the mean architecture of a phase is sampled."""
    starts = schedule.starts
    costs = []
    for phase, first, last in zip(schedule.recipe.phases, starts[:-1], starts[1:], strict=True):
        steps = last - first
        sampled = np.linspace(first, last - 1, min(steps, _SAMPLED_STEPS)).astype(int).tolist()
        per_image = float(np.mean([_step_macs(schedule, phase, step) for step in sampled]))
        passes = len(schedule.plan(first).archs)
        costs.append(PhaseCost(phase.name, steps, steps * passes, per_image * steps * schedule.batch_size_of(phase)))
    return TrainingCost(tuple(costs), starts[:-1])


def _step_macs(schedule: Schedule, phase: Phase, step: int) -> float:
    plan = schedule.plan(step)
    macs = 3 * count_macs(schedule.space, list(plan.archs)).sum()
    if phase.objective.distill == "teacher":
        macs += count_macs(schedule.space, [replace(schedule.space.largest, resolution=plan.resolution)])[0]
    return float(macs)
