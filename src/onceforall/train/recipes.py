"""The training recipes: lists of phases for one engine."""

from dataclasses import replace
from typing import Any, cast

from ..errors import ConfigError
from ..space import SearchSpace
from .config import PhaseConfig, RecipeConfig
from .phases import Distill, Objective, Phase, Recipe, Reduction, Trains
from .sampler import Sampling

SubPhase = tuple[int | None, float]
"""How many values are open (None: all), and the part of the choice's share."""


def create_recipe(config: RecipeConfig, space: SearchSpace) -> Recipe:
    """The recipe `config.name` for a space. Raises ConfigError for an unknown name or an impossible value."""
    recipes = {"progressive_shrinking": progressive_shrinking, "sandwich": sandwich, "phases": listed_phases}
    if config.name not in recipes:
        raise ConfigError(f"recipe.name={config.name}: no such recipe; there are {', '.join(recipes)}")
    return recipes[config.name](config, space)


def progressive_shrinking(config: RecipeConfig, space: SearchSpace) -> Recipe:
    """Train the largest network, then open kernel sizes, depths and expand ratios in turn (Cai et al., ICLR 2020).

    The largest network at the end of its own phase teaches all later phases. Depths, expand ratios and last widths
    open in up to two steps, from the largest value down; channels are sorted by importance before each step that opens
    a ratio or width. A choice that the space does not have gets no phase, and its share goes to the others. Where
    depths imply the expand ratios both open together, in phases called compound (CompOFA, Sahni et al., ICLR 2021).

    Every phase restarts the learning rate, as in the paper, but from `shrink_learning_rate` of the first peak.
    """
    alone = Objective(label_smoothing=config.label_smoothing, reduction=cast(Reduction, config.loss_reduction))
    taught = replace(alone, distill="teacher", kd_ratio=config.kd_ratio, label_ratio=config.label_ratio)
    warmup = config.learning_rate_warmup
    phases = [Phase("full", config.full_share, objective=alone, learning_rate_warmup=warmup)]
    open_values: dict[str, Any] = {"kernel_sizes": 1, "depths": 1, "expand_ratios": 1, "width_mults": 1}
    compound = any(stage.expand_of_depth for stage in space.stages)
    ratios = 1 if compound else max(len(stage.expand_ratios) for stage in space.stages)
    kernels = max(len(stage.kernel_sizes) for stage in space.stages)
    depths = _halves(max(len(stage.depths) for stage in space.stages))
    widths = _halves(max(map(len, space.widths), default=1))
    openings: list[tuple[str, str, float, int, list[SubPhase]]] = [
        ("kernel_sizes", "kernel", config.kernel_share, config.kernel_subnets, [(None, 1.0)] * (kernels > 1)),
        ("depths", "compound", config.depth_share + config.expand_share, config.expand_subnets, depths)
        if compound
        else ("depths", "depth", config.depth_share, config.depth_subnets, depths),
        ("expand_ratios", "expand", config.expand_share, config.expand_subnets, _halves(ratios)),
        ("width_mults", "width", config.width_share, config.width_subnets, widths),
    ]
    for choice, label, share, subnets, sub_phases in openings:
        for number, (values, part) in enumerate(sub_phases):
            open_values[choice] = values
            sort = {"expand": number, "compound": number, "width": ratios - 1}.get(label)
            phases.append(
                Phase(
                    name=f"{label} {number + 1}" if len(sub_phases) > 1 else label,
                    share=share * part,
                    sampling="random",
                    subnets_per_step=subnets,
                    objective=taught,
                    learning_rate_factor=config.shrink_learning_rate,
                    learning_rate_warmup=warmup,
                    sort_channels=sort,
                    **open_values,
                )
            )
    return Recipe("progressive_shrinking", tuple(phases), cosine="phase")


def sandwich(config: RecipeConfig, space: SearchSpace) -> Recipe:
    """Largest, smallest and random networks in every step; the largest teaches the others (Yu et al., ECCV 2020).

    The largest network trains alone for the first `warmup_share` of the run: a network that has learned something
    first makes a better teacher, and its steps cost a fraction of the later ones (Kundu et al., ECCV 2024, delay the
    small networks to half of the run). One learning-rate cosine spans the whole run, whatever the space.
    """
    if not 0 <= config.warmup_share < 1:
        raise ConfigError(f"recipe.warmup_share={config.warmup_share:g}: must be at least 0 and less than 1")
    if config.random_subnets < 0:
        raise ConfigError(f"recipe.random_subnets={config.random_subnets}: must be 0 or greater")
    alone = Objective(label_smoothing=config.label_smoothing, reduction=cast(Reduction, config.loss_reduction))
    taught = replace(alone, distill="inplace", kd_ratio=config.kd_ratio, label_ratio=config.label_ratio)
    phases = (
        Phase(
            "sandwich",
            1 - config.warmup_share,
            sampling="sandwich",
            subnets_per_step=2 + config.random_subnets,
            objective=taught,
            learning_rate_warmup=0.0 if config.warmup_share else config.learning_rate_warmup,
        ),
    )
    if config.warmup_share:
        rising = config.learning_rate_warmup
        phases = (Phase("largest", config.warmup_share, objective=alone, learning_rate_warmup=rising), *phases)
    return Recipe("sandwich", phases, cosine="run")


def listed_phases(config: RecipeConfig, space: SearchSpace) -> Recipe:
    """The phases of `config.phases`, in their order; each has a learning-rate cosine of its own.

    Raises ConfigError where there are none, or one holds an impossible value.
    """
    if not config.phases:
        raise ConfigError("recipe.name=phases needs recipe.phases, by name, such as recipe.phases.kernel.epochs=125")
    return Recipe("phases", tuple(_listed(name, phase, config) for name, phase in config.phases.items()), "phase")


def _listed(name: str, phase: PhaseConfig, config: RecipeConfig) -> Phase:
    if not 0 <= phase.warmup_epochs <= phase.epochs:
        raise ConfigError(
            f"recipe.phases.{name}.warmup_epochs={phase.warmup_epochs:g}: must be from 0 to its {phase.epochs:g} epochs"
        )
    objective = Objective(
        distill=cast(Distill, phase.distill),
        kd_ratio=config.kd_ratio,
        label_ratio=config.label_ratio,
        label_smoothing=config.label_smoothing,
        reduction=cast(Reduction, config.loss_reduction),
    )
    return Phase(
        name,
        share=phase.epochs,
        sampling=cast(Sampling, phase.sampling),
        subnets_per_step=phase.subnets,
        kernel_sizes=phase.kernel_sizes,
        expand_ratios=phase.expand_ratios,
        depths=phase.depths,
        width_mults=phase.width_mults,
        objective=objective,
        batch_size=phase.batch_size,
        micro_batch_size=phase.micro_batch_size,
        learning_rate=phase.learning_rate,
        learning_rate_factor=phase.learning_rate_factor,
        learning_rate_warmup=phase.warmup_epochs / phase.epochs if phase.epochs else 0.0,
        warmup_learning_rate=phase.warmup_learning_rate,
        sort_channels=phase.sort_channels,
        trains=cast(Trains, phase.trains),
    )


def _halves(values: int) -> list[SubPhase]:
    """No step for one value, one for two; else a short one that opens the second largest, then the rest (the paper)."""
    return {1: [], 2: [(None, 1.0)]}.get(values, [(2, 0.25), (None, 0.75)])
