"""The sub-networks that are evaluated while training, and what they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ConfigError, InvalidArch
from ..space import Arch, Block, SearchSpace
from .config import TrainConfig
from .schedule import Schedule

_WORDS = ("kernel_size", "expand_ratio", "depth", "width_mult")


def watched_archs(config: TrainConfig, schedule: Schedule, family: SearchSpace) -> list[dict[str, Arch]]:
    """Per phase the sub-networks to evaluate, by label: those it lists, or the corners and random ones of the space.

    The random ones never change; a phase that trains the largest network alone evaluates that one.

    Raises:
        InvalidArch, ConfigError: a listed network that is not in the family, or not described as one.
    """
    space = schedule.trained_space
    rng = np.random.default_rng([config.seed, schedule.total_steps])
    drawn = space.sample_many(config.evaluation.random_subnets, rng)
    corners = {"largest": space.largest, "smallest": space.smallest}
    corners |= {f"random{number}": arch for number, arch in enumerate(drawn, start=1)}
    found = []
    for phase in schedule.recipe.phases:
        listed = config.recipe.phases[phase.name].archs if config.recipe.name == "phases" else None
        if schedule.arch is not None:
            archs = {schedule.arch.name: schedule.arch}
        elif listed is not None:
            archs = {}
            for words in listed:
                arch = arch_from_words(family, words)
                archs[_label(arch)] = arch
        else:
            archs = {"largest": space.largest} if phase.sampling == "largest" else corners
        found.append(_at_resolutions(archs, config.evaluation.resolutions))
    return found


def arch_from_words(family: SearchSpace, words: Any) -> Arch:
    """An architecture from its JSON form, or from a mapping of kernel_size, expand_ratio, depth and width_mult.

    Each is one value for all stages that have a choice, or a list with one per stage; kernel_size and expand_ratio may
    hold a list for a stage, with one value per block; width_mult has one per elastic width. What is left out is the
    largest value.

    Raises:
        ConfigError: another form. InvalidArch: not in the family.
    """
    if not isinstance(words, Mapping):
        raise ConfigError(f"an architecture is a mapping of {', '.join(_WORDS)}, or its JSON form, not {words!r}")
    if "stages" in words:
        arch = Arch.from_dict({"resolution": family.resolutions[-1], **words})
    elif foreign := sorted(set(words) - set(_WORDS)):
        raise ConfigError(f"an architecture has no {foreign[0]!r}; it is a mapping of {', '.join(_WORDS)}")
    else:
        largest = family.largest
        count = len(largest.stages)
        depths = _spread("depth", words, largest.depths, count)
        kernels = _chosen("kernel_size", words, [stage.kernel_sizes for stage in family.stages])
        ratios = _chosen("expand_ratio", words, [stage.expand_ratios for stage in family.stages])
        stages = tuple(
            tuple(map(Block, _spread("", {"": k}, (), depth), _spread("", {"": e}, (), depth)))
            for depth, k, e in zip(depths, kernels, ratios, strict=True)
        )
        widths = _spread("width_mult", words, largest.width_mults, len(largest.width_mults))
        arch = Arch(family.resolutions[-1], stages, tuple(widths))
    family.validate(arch, any_resolution=True)
    return arch


def _chosen(word: str, words: Mapping[str, Any], allowed: Sequence[Sequence[Any]]) -> list[Any]:
    """One entry per stage; a single value is for the stages that have a choice, where any has one."""
    spread = _spread(word, words, [values[-1] for values in allowed], len(allowed))
    if isinstance(words.get(word), Sequence) or all(len(values) == 1 for values in allowed):
        return spread
    return [value if len(values) > 1 else values[0] for value, values in zip(spread, allowed, strict=True)]


def _spread(word: str, words: Mapping[str, Any], default: Sequence[Any], count: int) -> list[Any]:
    """One value per stage, block or width."""
    value = words.get(word, default)
    values = list(value) if isinstance(value, Sequence) else [value] * count
    if len(values) != count:
        raise InvalidArch(
            f"{word or 'a stage'} {value!r} has {len(values)} values; {count} are needed, or a single one"
        )
    return values


def _label(arch: Arch) -> str:
    """A readable name where the network is simple, such as k7-e6-d44444; else the one of its digest."""
    stages = arch.stages[1:] if arch.width_mults else arch.stages  # where widths are elastic the first is the stem's
    blocks = {block for stage in stages for block in stage}
    if len(blocks) != 1 or len(set(arch.width_mults)) > 1:
        return arch.name.partition("-")[2]
    (block,) = blocks
    width = f"-w{arch.width_mults[0]:g}" if arch.width_mults else ""
    return f"k{block.kernel_size}-e{block.expand_ratio:g}-d{''.join(map(str, arch.depths))}{width}"


def _at_resolutions(archs: dict[str, Arch], resolutions: Sequence[int] | None) -> dict[str, Arch]:
    if resolutions is None:
        return archs
    return {f"{label}@{size}": replace(arch, resolution=size) for label, arch in archs.items() for size in resolutions}
