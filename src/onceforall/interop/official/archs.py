"""Architecture dictionaries of the official project, and its way of drawing them."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InvalidArch
from ...space import Arch, Block, SearchSpace

_BLOCKS_PER_STAGE = 4  # in every stage of the official MobileNetV3 supernets


def arch_from_dict(space: SearchSpace, described: Mapping[str, Any]) -> Arch:
    """An architecture from `{"ks": [...], "e": [...], "d": [...], "image_size": R}` (or `"r": [R]`).

    `ks` and `e` have one entry per block the supernet holds, also for blocks that do not run; `d` one per stage;
    single numbers stand for all. Without a size it is the largest of the space; published files name sizes beyond the
    ones a space trains at, so any size is taken.

    Raises:
        InvalidArch: a list of another length, or a value the space does not have.
    """
    depths = _expanded(described, "d", len(space.stages))
    slots = [stage.max_depth for stage in space.layout.stages]
    kernel_sizes = _expanded(described, "ks", sum(slots))
    expand_ratios = _expanded(described, "e", sum(slots))
    size = described.get("image_size", described.get("r", space.resolutions[-1]))
    resolution = size[0] if isinstance(size, Sequence) else size
    stages, first = [], 0
    for depth, available in zip(depths, slots, strict=True):
        pairs = zip(kernel_sizes[first : first + depth], expand_ratios[first : first + depth], strict=True)
        stages.append(tuple(Block(kernel_size, ratio) for kernel_size, ratio in pairs))
        first += available
    arch = Arch(int(resolution), tuple(stages))
    space.validate(arch, any_resolution=True)
    return arch


def _expanded(described: Mapping[str, Any], key: str, length: int) -> list[Any]:
    if key not in described:
        raise InvalidArch(f"the architecture dictionary has no {key!r}; it needs ks, e and d")
    value = described[key]
    values = list(value) if isinstance(value, Sequence) else [value] * length
    if len(values) != length:
        raise InvalidArch(f"{key!r} has {len(values)} entries; this space needs {length}")
    return values


def arch_to_dict(arch: Arch) -> dict[str, Any]:
    """The inverse of `arch_from_dict`; entries of blocks that do not run are 0, as the official encoders write them."""
    kernel_sizes: list[int] = []
    expand_ratios: list[float] = []
    for blocks in arch.stages:
        idle = [0] * (_BLOCKS_PER_STAGE - len(blocks))
        kernel_sizes += [block.kernel_size for block in blocks] + idle
        expand_ratios += [block.expand_ratio for block in blocks] + idle
    return {"ks": kernel_sizes, "e": expand_ratios, "d": list(arch.depths), "image_size": arch.resolution}


def sample_arch_dict(space: SearchSpace, seed: int) -> dict[str, list[Any]]:
    """The dictionary the official supernets draw for a seed: kernels, then expand ratios, then depths."""
    draw = random.Random(seed)
    slots = [
        choices
        for choices, layout in zip(space.stages, space.layout.stages, strict=True)
        for _ in range(layout.max_depth)
    ]
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
