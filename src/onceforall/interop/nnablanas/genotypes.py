"""Genotypes: lists of numbers that name one network, read strictly or as the original parser reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import ConfigError, InvalidArch
from ...space import Arch, Block, BottleneckLayout, MobileLayout, SearchSpace
from .bottleneck import arch_from_bottleneck_genotype, bottleneck_genotype_from_arch
from .operators import OP_CANDIDATES, op_name, parse_op_candidates

_BLOCKS = 4  # entries per stage
_SKIPPED = Block(3, 4)  # what the original parser gives a skipped position
Genotype = Sequence[float] | Mapping[str, Any]


def arch_from_genotype(
    space: SearchSpace,
    genotype: Genotype,
    op_candidates: str | Sequence[str] = OP_CANDIDATES,
    strict: bool = True,
    resolution: int | None = None,
) -> Arch:
    """The architecture a genotype names.

    For MobileNetV3 spaces: 20 numbers, four per stage. A number below n, the number of candidates, is the operator of
    a block; n skips it. Blocks run from the first of a stage on, so a stage is operators, then skips.
    For ResNet-50: `[depth, expand ratio, width multiplier]` for all parts alike, or a mapping with `d`, `e` and `w`.

    Args:
        op_candidates: what the numbers stand for; see `parse_op_candidates`. ResNet-50 has none.
        strict: refuse a genotype whose stages are not operators followed by skips. Otherwise read it as the original
            parser does, which knows no stages: it counts runs of operators through the whole list (a run ends at a
            skip if it is longer than one, or when it has four), so that a stage's odd pattern moves the depths of
            others; a skipped position that then runs has kernel 3 and ratio 4, and stages for which no run is left
            keep the depth of a new network, the largest.
        resolution: side of the image in pixels; None: the largest of the space. Any size is taken.

    Raises:
        InvalidArch: a genotype of another length, number or pattern (names the stage), one that makes the original
            parser fail (says how), or a network that is not in the space.
        ConfigError: an unknown operator, or a space that genotypes cannot describe.
    """
    if isinstance(genotype, str) or not isinstance(genotype, Sequence | Mapping):
        raise InvalidArch(f"a genotype of {space.name} is a list of numbers, not {genotype!r}")
    if isinstance(space.layout, BottleneckLayout):
        arch = arch_from_bottleneck_genotype(space, genotype)
    elif not isinstance(space.layout, MobileLayout) or [s.max_depth for s in space.layout.stages] != [_BLOCKS] * 5:
        raise ConfigError(f"a genotype names a network of an mbv3, compound or resnet50 space, not of {space.name}")
    elif isinstance(genotype, Mapping):
        raise InvalidArch(f"a genotype of {space.name} is a list of 20 numbers, not a mapping")
    else:
        candidates = parse_op_candidates(op_candidates)
        stages = _strict(genotype, candidates) if strict else _like_the_original(genotype, candidates, space)
        arch = Arch(space.resolutions[-1], stages)
    arch = arch if resolution is None else replace(arch, resolution=resolution)
    space.validate(arch, any_resolution=True)
    return arch


def genotype_from_arch(arch: Arch, op_candidates: str | Sequence[str] = OP_CANDIDATES) -> list[int] | dict[str, Any]:
    """The genotype of a network: 20 numbers, or for ResNet-50 the mapping with `d`, `e` and `w`.

    Raises:
        InvalidArch: a block that is not among the candidates, or a network of another family.
    """
    if arch.width_mults:
        return bottleneck_genotype_from_arch(arch)
    if len(arch.stages) != 5 or max(arch.depths) > _BLOCKS:
        raise InvalidArch(f"a genotype has five stages of up to four blocks, not depths {list(arch.depths)}")
    candidates = parse_op_candidates(op_candidates)
    numbers: list[int] = []
    for stage, blocks in enumerate(arch.stages, start=1):
        for block in blocks:
            if block not in candidates:
                named = ", ".join(map(op_name, candidates))
                raise InvalidArch(f"stage {stage} needs {op_name(block)!r}, but the op_candidates are {named}")
            numbers.append(candidates.index(block))
        numbers += [len(candidates)] * (_BLOCKS - len(blocks))
    return numbers


def _strict(genotype: Sequence[float], candidates: tuple[Block, ...]) -> tuple[tuple[Block, ...], ...]:
    skip = len(candidates)
    if len(genotype) != 5 * _BLOCKS:
        raise InvalidArch(f"a genotype has 20 numbers, four for each of five stages; this one has {len(genotype)}")
    stages = []
    for stage in range(5):
        numbers = list(genotype[stage * _BLOCKS : (stage + 1) * _BLOCKS])
        shown = f"stage {stage + 1} of the genotype, {numbers},"
        for number in numbers:
            if not _is_whole(number) or number not in range(skip + 1):
                raise InvalidArch(
                    f"{shown} holds {number}; with {skip} op_candidates the numbers are 0 to {skip - 1}, and {skip} "
                    "skips a block"
                )
        active = [number for number in numbers if number != skip]
        if not active or numbers[: len(active)] != active:
            raise InvalidArch(
                f"{shown} is no stage: it has to begin with operators, and skips ({skip}) may only follow them"
            )
        stages.append(tuple(candidates[int(number)] for number in active))
    return tuple(stages)


def _like_the_original(
    genotype: Sequence[float], candidates: tuple[Block, ...], space: SearchSpace
) -> tuple[tuple[Block, ...], ...]:
    if len(genotype) != 5 * _BLOCKS:
        raise InvalidArch(
            f"the original parser stops at an assertion: the genotype has {len(genotype)} numbers, not 20"
        )
    for number in genotype:
        if not _is_whole(number) or number < 0:
            raise InvalidArch(
                f"the genotype holds {number!r}; its numbers are whole, from 0 to {len(candidates)} (skip)"
            )
    operators: list[Block | None] = [*candidates, None]
    try:
        blocks = [operators[int(number)] for number in genotype]
    except IndexError as error:
        raise InvalidArch(
            f"the original parser stops with an index error: numbers go up to {len(candidates)} (skip), "
            f"this genotype has {max(genotype)}"
        ) from error
    depths = _runs(blocks)
    if len(depths) > 5:
        raise InvalidArch(
            f"the original parser stops with an index error: it reads {len(depths)} depths, {depths}, for five stages"
        )
    depths += [choices.depths[-1] for choices in space.stages[len(depths) :]]
    filled = [block or _SKIPPED for block in blocks]
    return tuple(
        tuple(filled[stage * _BLOCKS : stage * _BLOCKS + min(depth, space.stages[stage].depths[-1])])
        for stage, depth in enumerate(depths)
    )


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and number % 1 == 0


def _runs(blocks: Sequence[Block | None]) -> list[int]:
    """Depths as the original counts them over the whole list."""
    depths: list[int] = []
    run = 0
    for position, block in enumerate(blocks):
        if block is None:
            if run > 1:
                depths.append(run)
                run = 0
        elif run == _BLOCKS:
            depths.append(run)
            run = 1
        elif position == len(blocks) - 1:
            depths.append(run + 1)
        else:
            run += 1
    return depths
