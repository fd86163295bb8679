"""Phases and recipes: what is trained, in which order, from what; values without behaviour of their own."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import ConfigError
from ..space import SearchSpace
from .sampler import Sampling

Distill = Literal["none", "teacher", "inplace"]
Reduction = Literal["mean", "sum"]
Cosine = Literal["phase", "run"]
Trains = Literal["all", "kernel_transforms"]

CHOICES = ("kernel_sizes", "expand_ratios", "depths", "width_mults")
"""What a phase can open value by value."""


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
        share: length relative to the other phases, counted in passes over the training images.
        sampling: "largest": the largest network alone; "random": subnets_per_step random ones; "sandwich": the
            largest, the smallest, and subnets_per_step - 2 random ones.
        subnets_per_step: forward and backward passes per step.
        kernel_sizes, expand_ratios, depths: how many values of every stage are open, from the largest; None: all.
        width_mults: the same for every elastic width.
        objective: what the sub-networks learn from.
        batch_size: images per step; None: as the run.
        micro_batch_size: images of one process that pass at once; None: all of a step.
        learning_rate: peak learning rate; None: that of the run, proportional to the batch, times the factor.
        learning_rate_factor: peak learning rate relative to that of the run.
        learning_rate_warmup: share of this phase in which the rate rises linearly, where a cosine begins.
        warmup_learning_rate: where that rise begins.
        sort_channels: sort channels by importance before the phase, keeping earlier expand phases intact: the number
            of expand ratios, minus one, that have been trained so far. None: leave them.
        trains: "all" weights, or the "kernel_transforms" alone.
    """

    name: str
    share: float
    sampling: Sampling = "largest"
    subnets_per_step: int = 1
    kernel_sizes: int | None = None
    expand_ratios: int | None = None
    depths: int | None = None
    width_mults: int | None = None
    objective: Objective = Objective()
    batch_size: int | None = None
    micro_batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_factor: float = 1.0
    learning_rate_warmup: float = 0.0
    warmup_learning_rate: float = 0.0
    sort_channels: int | None = None
    trains: Trains = "all"

    def __post_init__(self) -> None:
        _check_choice("sampling", self.sampling, ("largest", "random", "sandwich"))
        _check_choice("trains", self.trains, ("all", "kernel_transforms"))
        _check_range("learning_rate_warmup", self.learning_rate_warmup, 0, 1)
        _check_range("warmup_learning_rate", self.warmup_learning_rate, 0, math.inf)
        least = 2 if self.sampling == "sandwich" else 1
        if self.subnets_per_step < least:
            raise ConfigError(f"phase {self.name}: {self.sampling} needs at least {least} sub-networks per step")
        if not (self.share > 0 and math.isfinite(self.share)):
            raise ConfigError(f"phase {self.name}: its share must be positive, not {self.share}")
        for what in (*CHOICES, "batch_size", "micro_batch_size", "learning_rate"):
            value = getattr(self, what)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"phase {self.name}: {what} must be positive, not {value}")

    def open_space(self, space: SearchSpace) -> SearchSpace:
        """The part of `space` this phase draws from. Where depths imply the expand ratios, only depths open."""

        def largest(values: tuple, count: int | None) -> tuple:
            return values if count is None else values[-count:]

        stages = tuple(
            replace(
                stage,
                kernel_sizes=largest(stage.kernel_sizes, self.kernel_sizes),
                expand_ratios=largest(stage.expand_ratios, None if stage.expand_of_depth else self.expand_ratios),
                depths=largest(stage.depths, self.depths),
                expand_of_depth=largest(stage.expand_of_depth, self.depths),
            )
            for stage in space.stages
        )
        widths = tuple(largest(allowed, self.width_mults) for allowed in space.widths)
        return replace(space, stages=stages, widths=widths)


@dataclass(frozen=True)
class Recipe:
    """A named list of phases. `cosine`: one learning-rate cosine per "phase" or one per "run"."""

    name: str
    phases: tuple[Phase, ...]
    cosine: Cosine

    def begins_afresh(self, index: int) -> bool:
        """Whether momentum and moving averages of earlier steps no longer fit when a phase begins."""
        return index == 0 or self.cosine == "phase" or self.phases[index].sort_channels is not None

    def trained_space(self, space: SearchSpace) -> SearchSpace:
        """The part of `space` that some phase trains."""

        def most(choice: str) -> int | None:
            counts = [1 if phase.sampling == "largest" else getattr(phase, choice) for phase in self.phases]
            return None if None in counts else max(counts)

        opened: dict[str, Any] = {choice: most(choice) for choice in CHOICES}
        return Phase("all", 1, **opened).open_space(space)
