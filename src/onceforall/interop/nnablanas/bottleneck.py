"""Genotypes of ResNet-50: three numbers for all parts alike, or a mapping with one number for each."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InvalidArch
from ...space import Arch, Block, SearchSpace
from ...space.arch import whole

_OPTIONAL = 2  # blocks of a stage that depth 0 leaves out; also the depth at which the block of the stem runs
_FORM = (
    "{d: {input_stem1: depth, block: [4 depths]}, e: {block: [18 ratios]}, "
    "w: {input_stem1: width, input_stem2: width, block: [4 widths]}}"
)


def arch_from_bottleneck_genotype(space: SearchSpace, genotype: Sequence[float] | Mapping[str, Any]) -> Arch:
    """The ResNet-50 architecture of a genotype, at the largest resolution; see `arch_from_genotype`."""
    slots = [stage.max_depth for stage in space.layout.stages[1:]]
    if isinstance(genotype, Mapping):
        depths, ratios, widths = _from_mapping(genotype, sum(slots))
    elif len(genotype) == 3:
        depth, ratio, width = genotype
        depths, ratios, widths = [depth] * 5, [ratio] * sum(slots), [width] * 6
    else:
        raise InvalidArch(
            f"a genotype of {space.name} is [depth, expand ratio, width multiplier] or a mapping, "
            f"not a list of {len(genotype)}"
        )
    if odd := [value for value in (*ratios, *widths) if isinstance(value, bool)]:
        raise InvalidArch(f"the genotype holds something that is no number: {odd[0]}")
    try:
        ratios, widths = [whole(ratio) for ratio in ratios], [whole(width) for width in widths]
    except (TypeError, ValueError) as error:
        raise InvalidArch(f"the genotype holds something that is no number: {error}") from error
    for part, depth in zip(("the stem", *(f"stage {n}" for n in range(1, 5))), depths, strict=True):
        if isinstance(depth, bool) or depth not in range(_OPTIONAL + 1):
            raise InvalidArch(f"depth {depth} of {part} in the genotype is not 0, 1 or 2")
    stem = tuple(Block(3, 1) for _ in range(depths[0] == _OPTIONAL))
    stages = [stem]
    first = 0
    for depth, available in zip(depths[1:], slots, strict=True):
        active = available - _OPTIONAL + int(depth)
        stages.append(tuple(Block(3, ratio) for ratio in ratios[first : first + active]))
        first += available
    return Arch(space.resolutions[-1], tuple(stages), tuple(widths))


def bottleneck_genotype_from_arch(arch: Arch) -> dict[str, Any]:
    """The mapping with `d`, `e`, `w`; a block that does not run gets the ratio of the last one that does."""
    slots = (4, 4, 6, 4)
    if len(arch.stages) != 5 or len(arch.width_mults) != 6:
        raise InvalidArch("only ResNet-50 architectures, of five stages and six widths, have such a genotype")
    ratios: list[float] = []
    for blocks, available in zip(arch.stages[1:], slots, strict=True):
        ratios += [block.expand_ratio for block in blocks] + [blocks[-1].expand_ratio] * (available - len(blocks))
    depths = [len(blocks) - available + _OPTIONAL for blocks, available in zip(arch.stages[1:], slots, strict=True)]
    middle, stem, *widths = arch.width_mults
    return {
        "d": {"input_stem1": _OPTIONAL * len(arch.stages[0]), "block": depths},
        "e": {"block": ratios},
        "w": {"input_stem1": middle, "input_stem2": stem, "block": widths},
    }


def _from_mapping(genotype: Mapping[str, Any], blocks: int) -> tuple[list[float], list[float], list[float]]:
    depths = [_entry(genotype, "d", "input_stem1"), *_entry(genotype, "d", "block")]
    ratios = [*_entry(genotype, "e", "block")]
    stem = [_entry(genotype, "w", name) for name in ("input_stem1", "input_stem2")]
    widths = [*stem, *_entry(genotype, "w", "block")]
    for what, values, length in (("d", depths, 5), ("e", ratios, blocks), ("w", widths, 6)):
        if len(values) != length:
            raise InvalidArch(f"{what!r} of the genotype has {len(values)} numbers, not {length}; its form is {_FORM}")
    return depths, ratios, widths


def _entry(genotype: Mapping[str, Any], part: str, name: str) -> Any:
    """One entry of a genotype: a list under `block`, a single value under any other name."""
    entries = genotype.get(part)
    if not isinstance(entries, Mapping) or name not in entries:
        raise InvalidArch(f"the genotype has no {name!r} in {part!r}; its form is {_FORM}")
    if (name == "block") != (isinstance(entries[name], Sequence) and not isinstance(entries[name], str)):
        needed = "a list" if name == "block" else "one number"
        raise InvalidArch(f"{part}.{name} of the genotype is {entries[name]}, not {needed}; its form is {_FORM}")
    return entries[name]
