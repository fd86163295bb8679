"""Architecture dictionaries of the official project, and its way of drawing them."""

import random
from collections.abc import Mapping, Sequence
from numbers import Real
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
    Whole numbers may be written as 3.0.

    Raises:
        InvalidArch: a list of another length, a value of another kind, or one the space does not have.
    """
    size = next((key for key in ("image_size", "r") if key in described), None)
    resolution = space.resolutions[-1] if size is None else _counts(described, size, 1)[0]
    if isinstance(space.layout, BottleneckLayout):
        arch = _resnet_from_dict(space.layout, described, resolution)
    else:
        depths = _counts(described, "d", len(space.stages))
        slots = [stage.max_depth for stage in space.layout.stages]
        kernel_sizes = _counts(described, "ks", sum(slots))
        expand_ratios = _numbers(described, "e", sum(slots))
        blocks = [Block(k, e) for k, e in zip(kernel_sizes, expand_ratios, strict=True)]
        arch = Arch(resolution, _cut(blocks, slots, depths))
    space.validate(arch, any_resolution=True)
    return arch


def _resnet_from_dict(layout: BottleneckLayout, described: Mapping[str, Any], resolution: int) -> Arch:
    slots = [stage.max_depth for stage in layout.stages[1:]]
    stem, *extra = _counts(described, "d", 1 + len(slots))
    if stem > _EXTRA_DEPTH:
        raise InvalidArch(f"'d' begins with {stem}; the stem takes 2 (its block runs), or 0 or 1 (it does not)")
    ratios = _numbers(described, "e", sum(slots))
    indices = _numbers(described, "w", len(layout.width_names))
    if foreign := [index for index in indices if index not in (0, 1, 2)]:
        raise InvalidArch(f"'w' holds {foreign[0]}; width multipliers are given by index: 0, 1, 2 for 0.65, 0.8, 1")
    widths = tuple(layout.width_mults[int(index)] for index in indices)
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


def _counts(described: Mapping[str, Any], key: str, length: int) -> list[int]:
    numbers = _numbers(described, key, length)
    if foreign := [number for number in numbers if not isinstance(number, int) or number < 0]:
        raise InvalidArch(f"{key!r} holds {foreign[0]}; it takes whole numbers from 0 up")
    return [int(number) for number in numbers]


def _numbers(described: Mapping[str, Any], key: str, length: int) -> list[float]:
    """The entries of `key`, whole ones as ints; a single number stands for all."""
    if key not in described:
        raise InvalidArch(f"the architecture dictionary has no {key!r}; it needs ks, e and d (ResNet50: e, d and w)")
    value = described[key]
    values: list[Any] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * length
    if len(values) != length:
        raise InvalidArch(f"{key!r} has {len(values)} entries; this space needs {length}")
    if foreign := [value for value in values if isinstance(value, bool) or not isinstance(value, Real)]:
        raise InvalidArch(f"{key!r} holds {foreign[0]!r}, which is no number")
    return [whole(value) for value in values]


def arch_to_dict(arch: Arch) -> dict[str, Any]:
    """The inverse of `arch_from_dict` for the official spaces: MobileNetV3, ProxylessNAS, ResNet50, and parts of them.

    Entries of blocks that do not run are 0, as the official encoders write them.

    Raises:
        InvalidArch: other numbers of stages or blocks than these spaces have.
    """
    mobile = (_BLOCKS_PER_STAGE,) * 5 + (1,) * (len(arch.stages) == 6)
    slots = (1, *_RESNET_STAGES) if arch.width_mults else mobile
    if len(arch.stages) != len(slots) or any(depth > slot for depth, slot in zip(arch.depths, slots, strict=True)):
        raise InvalidArch(
            f"the official project has no space of stages of {', '.join(map(str, arch.depths))} blocks; "
            "its dictionaries describe networks of mbv3_w..., compound_w..., proxyless_w... and resnet50"
        )
    if arch.width_mults:
        stem, *stages = arch.stages
        extra = [len(blocks) - slot + _EXTRA_DEPTH for blocks, slot in zip(stages, _RESNET_STAGES, strict=True)]
        return {
            "d": [_EXTRA_DEPTH if stem else 0, *extra],
            "e": _filled([[block.expand_ratio for block in blocks] for blocks in stages], _RESNET_STAGES),
            "w": [_RESNET_WIDTHS.index(width) for width in arch.width_mults],
            "image_size": arch.resolution,
        }
    return {
        "ks": _filled([[block.kernel_size for block in blocks] for blocks in arch.stages], mobile),
        "e": _filled([[block.expand_ratio for block in blocks] for blocks in arch.stages], mobile),
        "d": list(arch.depths),
        "image_size": arch.resolution,
    }


def _filled(stages: Sequence[Sequence[Any]], slots: Sequence[int]) -> list[Any]:
    """All stages in a row, each made as long as its slots with zeros."""
    return [value for row, slot in zip(stages, slots, strict=True) for value in [*row, *[0] * (slot - len(row))]]


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
    first = -(-min(listed) // step) * step  # rounded up
    return list(range(first, max(listed) + 1, step))
