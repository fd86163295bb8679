"""Architecture dictionaries of the official project, and its way of drawing them."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InvalidArch
from ...space import Arch, Block, BottleneckLayout, SearchSpace
from ...space.arch import whole

_BLOCKS_PER_STAGE = 4  # of the official mobile supernets; the sixth stage of ProxylessNAS has one
_EXTRA_DEPTH = 2  # of ResNet50: a stage of at most n blocks has n - 2 that always run, and `d` counts the others
_RESNET_STAGES = (4, 4, 6, 4)
_RESNET_WIDTHS = (0.65, 0.8, 1)


def arch_from_dict(space: SearchSpace, described: Mapping[str, Any]) -> Arch:
    """An architecture from `{"ks": [...], "e": [...], "d": [...], "image_size": R}` (or `"r": [R]`).

    `ks` and `e` have one entry per block the supernet holds, also for blocks that do not run; `d` one per stage;
    single numbers stand for all. ResNet50 has no `ks`, one `d` for the stem and one per stage (blocks beyond those
    that always run), and `w`: indices of six width multipliers. Its stem block runs only for the largest `d`. Without
    a size it is the largest of the space; published files name sizes beyond those a space trains at, so any is taken.

    Raises:
        InvalidArch: a list of another length, or a value the space does not have.
    """
    size = described.get("image_size", described.get("r", space.resolutions[-1]))
    resolution = int(size[0] if isinstance(size, Sequence) else size)
    if isinstance(space.layout, BottleneckLayout):
        arch = _resnet_from_dict(space.layout, described, resolution)
    else:
        depths = _expanded(described, "d", len(space.stages))
        slots = [stage.max_depth for stage in space.layout.stages]
        kernel_sizes = _expanded(described, "ks", sum(slots))
        expand_ratios = _expanded(described, "e", sum(slots))
        blocks = [Block(k, whole(e)) for k, e in zip(kernel_sizes, expand_ratios, strict=True)]
        arch = Arch(resolution, _cut(blocks, slots, depths))
    space.validate(arch, any_resolution=True)
    return arch


def _resnet_from_dict(layout: BottleneckLayout, described: Mapping[str, Any], resolution: int) -> Arch:
    slots = [stage.max_depth for stage in layout.stages[1:]]
    stem, *extra = _expanded(described, "d", 1 + len(slots))
    ratios = _expanded(described, "e", sum(slots))
    if foreign := [index for index in _expanded(described, "w", len(layout.width_names)) if index not in (0, 1, 2)]:
        raise InvalidArch(f"'w' holds {foreign[0]}; width multipliers are given by index: 0, 1, 2 for 0.65, 0.8, 1")
    widths = tuple(layout.width_mults[index] for index in _expanded(described, "w", len(layout.width_names)))
    stem_block = (Block(3, 1),) if stem == _EXTRA_DEPTH else ()
    depths = [slot - _EXTRA_DEPTH + more for slot, more in zip(slots, extra, strict=True)]
    return Arch(resolution, (stem_block, *_cut([Block(3, ratio) for ratio in ratios], slots, depths)), widths)


def _cut(blocks: Sequence[Block], slots: Sequence[int], depths: Sequence[int]) -> tuple[tuple[Block, ...], ...]:
    """The first `depth` blocks of every stage out of a row that has entries for all of them."""
    stages, first = [], 0
    for number, (slot, depth) in enumerate(zip(slots, depths, strict=True), start=1):
        if depth > slot > 1:  # the official encoders draw depths for stages of one block, too
            raise InvalidArch(f"'d' asks for {depth} blocks in stage {number}; it has {slot}")
        stages.append(tuple(blocks[first : first + min(depth, slot)]))
        first += slot
    return tuple(stages)


def _expanded(described: Mapping[str, Any], key: str, length: int) -> list[Any]:
    if key not in described:
        raise InvalidArch(f"the architecture dictionary has no {key!r}; it needs ks, e and d (ResNet50: e, d and w)")
    value = described[key]
    values = list(value) if isinstance(value, Sequence) else [value] * length
    if len(values) != length:
        raise InvalidArch(f"{key!r} has {len(values)} entries; this space needs {length}")
    return values


def arch_to_dict(arch: Arch) -> dict[str, Any]:
    """The inverse of `arch_from_dict`; entries of blocks that do not run are 0, as the official encoders write them."""
    if arch.width_mults:
        stem, *stages = arch.stages
        slots = zip(stages, _RESNET_STAGES, strict=True)
        depths = [len(blocks) - slot + _EXTRA_DEPTH for blocks, slot in slots]
        return {
            "d": [_EXTRA_DEPTH if stem else 0, *depths],
            "e": _filled([[block.expand_ratio for block in blocks] for blocks in stages], _RESNET_STAGES),
            "w": [_RESNET_WIDTHS.index(width) for width in arch.width_mults],
            "image_size": arch.resolution,
        }
    mobile = [_BLOCKS_PER_STAGE] * 5 + [1] * (len(arch.stages) - 5)
    return {
        "ks": _filled([[block.kernel_size for block in blocks] for blocks in arch.stages], mobile),
        "e": _filled([[block.expand_ratio for block in blocks] for blocks in arch.stages], mobile),
        "d": list(arch.depths),
        "image_size": arch.resolution,
    }


def _filled(stages: Sequence[Sequence[Any]], slots: Sequence[int]) -> list[Any]:
    """All stages in a row, each made as long as its slots with zeros."""
    return [value for row, slot in zip(stages, slots, strict=False) for value in [*row, *[0] * (slot - len(row))]]


def sample_arch_dict(space: SearchSpace, seed: int) -> dict[str, list[Any]]:
    """The dictionary the official supernets draw for a seed: (kernels,) expand ratios, depths, (widths)."""
    draw = random.Random(seed)
    stages = list(zip(space.stages, space.layout.stages, strict=True))
    if isinstance(space.layout, BottleneckLayout):
        slots = [choices for choices, layout in stages[1:] for _ in range(layout.max_depth)]
        ratios = [draw.choice(choices.expand_ratios) for choices in slots]
        stem = draw.choice(space.stages[0].depths[::-1])  # the official list begins with the largest
        extra = [draw.choice(choices.depths) - layout.max_depth + _EXTRA_DEPTH for choices, layout in stages[1:]]
        mults = space.layout.width_mults
        widths = [draw.choice([mults.index(width) for width in allowed]) for allowed in space.widths]
        return {"d": [_EXTRA_DEPTH * stem, *extra], "e": ratios, "w": widths}
    slots = [choices for choices, layout in stages for _ in range(layout.max_depth)]
    return {
        "ks": [draw.choice(choices.kernel_sizes) for choices in slots],
        "e": [draw.choice(choices.expand_ratios) for choices in slots],
        "d": [draw.choice(choices.depths) for choices in space.stages],
    }


def sample_arch(space: SearchSpace, seed: int) -> Arch:
    """The architecture the official training draws for a seed, at the space's largest resolution."""
    return arch_from_dict(space, sample_arch_dict(space, seed))


def subnet_seed(step: int, index: int) -> int:
    """The seed of sub-network `index` of a training step (step counts over all epochs): its decimal digits in a row."""
    return int(f"{step}{index:03d}000")


def sample_resolution(resolutions: Sequence[int], epoch: int, batch: int) -> int:
    """The image size the official loader draws for a batch: one of `resolutions`, seeded by batch and epoch."""
    return random.Random(int(f"{batch}{epoch:03d}")).choices(list(resolutions))[0]


def continuous_resolutions(listed: Sequence[int], step: int = 4) -> list[int]:
    """Every multiple of `step` between the smallest and the largest listed size: the official continuous mode."""
    return list(range(min(listed), max(listed) + 1, step))
