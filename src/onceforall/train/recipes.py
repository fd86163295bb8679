"""The training recipes: lists of phases for one engine."""

from dataclasses import replace
from typing import cast

from ..errors import ConfigError
from ..space import SearchSpace
from .config import RecipeConfig
from .schedule import Objective, Phase, Recipe, Reduction

SubPhase = tuple[int | None, float]
"""How many values are open (None: all), and the part of the choice's share."""


def create_recipe(config: RecipeConfig, space: SearchSpace) -> Recipe:
    """The recipe `config.name` for a space. Raises ConfigError for an unknown name or an impossible value."""
    recipes = {"progressive_shrinking": progressive_shrinking, "sandwich": sandwich}
    if config.name not in recipes:
        raise ConfigError(f"recipe.name={config.name}: no such recipe; there are {', '.join(recipes)}")
    return recipes[config.name](config, space)


def progressive_shrinking(config: RecipeConfig, space: SearchSpace) -> Recipe:
    """Train the largest network, then open kernel sizes, depths and expand ratios in turn (Cai et al., ICLR 2020).

    The largest network at the end of its own phase teaches all later phases. Depths and expand ratios open in up to
    two steps, from the largest value down; channels are sorted by importance before each expand phase. A choice that
    the space does not have gets no phase, and its share goes to the others.

    Every phase restarts the learning rate, as in the paper, but from `shrink_learning_rate` of the first peak.
    """
    alone = Objective(label_smoothing=config.label_smoothing, reduction=cast(Reduction, config.loss_reduction))
    taught = replace(alone, distill="teacher", kd_ratio=config.kd_ratio, label_ratio=config.label_ratio)
    warmup = config.learning_rate_warmup
    phases = [Phase("full", config.full_share, objective=alone, learning_rate_warmup=warmup)]
    open_values: dict[str, int | None] = {"kernel_sizes": 1, "depths": 1, "expand_ratios": 1}

    def open_choice(choice: str, label: str, share: float, subnets: int, sub_phases: list[SubPhase]) -> None:
        for number, (values, part) in enumerate(sub_phases):
            open_values[choice] = values
            phase = Phase(
                name=f"{label} {number + 1}" if len(sub_phases) > 1 else label,
                share=share * part,
                sampling="random",
                subnets_per_step=subnets,
                objective=taught,
                learning_rate_factor=config.shrink_learning_rate,
                learning_rate_warmup=warmup,
                sort_channels=number if choice == "expand_ratios" else None,
                **open_values,
            )
            phases.append(phase)

    choices = {name: max(len(getattr(stage, name)) for stage in space.stages) for name in open_values}
    if choices["kernel_sizes"] > 1:
        open_choice("kernel_sizes", "kernel", config.kernel_share, config.kernel_subnets, [(None, 1.0)])
    if choices["depths"] > 1:
        open_choice("depths", "depth", config.depth_share, config.depth_subnets, _halves(choices["depths"]))
    if choices["expand_ratios"] > 1:
        expand = _halves(choices["expand_ratios"])
        open_choice("expand_ratios", "expand", config.expand_share, config.expand_subnets, expand)
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


def _halves(values: int) -> list[SubPhase]:
    """One sub-phase for two values; else a short one that opens the second largest, and the rest, as in the paper."""
    return [(None, 1.0)] if values == 2 else [(2, 0.25), (None, 0.75)]
