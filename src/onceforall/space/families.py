"""The families: which networks exist, by name."""

import re
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError
from .layouts import MobileLayout, ResidualLayout, StageLayout, make_divisible
from .space import SearchSpace, StageChoices

_MOBILENET_V3 = re.compile(r"mbv3_w(\d+(?:\.\d+)?)")


def list_spaces() -> list[str]:
    """Names that `create_space` takes; any width multiplier is allowed in `mbv3_w<multiplier>`."""
    return ["mbv3_w1.0", "mbv3_w1.2", "mbv3_small", "resnet_small"]


def create_space(name: str, num_classes: int = 1000, in_chans: int = 3, **options: Any) -> SearchSpace:
    """The search space of a family.

    Args:
        name: one of `list_spaces()`, or `mbv3_w<multiplier>` with any multiplier.
        num_classes: outputs of the classifier.
        in_chans: channels of the input image.
        options: `resolutions` (any input sizes in pixels), and `kernel_sizes`, `expand_ratios`, `depths` to keep only
            some values of the family. None means the family's own.

    Raises:
        ConfigError: an unknown name or option, or a value the family does not have.
    """
    if name == "mbv3_small":
        space = mobilenet_v3_small_images(num_classes, in_chans)
    elif name == "resnet_small":
        space = resnet_small_images(num_classes, in_chans)
    elif match := _MOBILENET_V3.fullmatch(name):
        space = mobilenet_v3(name, float(match[1]), num_classes, in_chans)
    else:
        raise ConfigError(f"no space named {name!r}; there are {', '.join(list_spaces())} and mbv3_w<multiplier>")
    known = {"resolutions", "kernel_sizes", "expand_ratios", "depths"}
    if unknown := sorted(set(options) - known):
        raise ConfigError(f"unknown option {unknown[0]!r} of space {name}; the options are {', '.join(sorted(known))}")
    resolutions = options.pop("resolutions", None)
    space = space.restrict(**options)
    return space if resolutions is None else _with_resolutions(space, resolutions)


def _with_resolutions(space: SearchSpace, resolutions: Sequence[int]) -> SearchSpace:
    """The same networks at any input sizes: weights do not depend on the resolution."""
    sizes = tuple(sorted(set(resolutions)))
    smallest = 8
    if not sizes or any(int(size) != size or size < smallest for size in sizes):
        raise ConfigError(f"resolutions must be whole numbers of pixels from {smallest} up, not {list(resolutions)}")
    return SearchSpace(space.name, space.layout, space.stages, tuple(int(size) for size in sizes))


def mobilenet_v3(name: str, width_mult: float, num_classes: int, in_chans: int) -> SearchSpace:
    """The Once-for-All MobileNetV3 space (Cai et al., ICLR 2020): 2.18e19 networks per resolution.

    Kernel sizes 3, 5, 7 and expand ratios 3, 4, 6 per block, depths 2, 3, 4 in each of five stages; images of
    128 to 224 px in steps of 4.
    """
    if width_mult <= 0:
        raise ConfigError(f"width multiplier {width_mult} of {name} must be positive")
    stem, first, *widths, expand, mix = (
        make_divisible(base * width_mult) for base in (16, 16, 24, 40, 80, 112, 160, 960, 1280)
    )
    strides = (2, 2, 2, 1, 2)
    activations = ("relu", "relu", "hard_swish", "hard_swish", "hard_swish")
    squeezes = (False, True, False, True, True)
    layout = MobileLayout(
        in_chans=in_chans,
        num_classes=num_classes,
        stem_width=stem,
        stem_stride=2,
        stages=tuple(
            StageLayout(width, stride, 4, activation, squeeze)
            for width, stride, activation, squeeze in zip(widths, strides, activations, squeezes, strict=True)
        ),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(3, 4, 6),
        first_width=first,
        expand_width=expand,
        mix_width=mix,
    )
    return SearchSpace(name, layout, (StageChoices((3, 5, 7), (3, 4, 6), (2, 3, 4)),) * 5, tuple(range(128, 225, 4)))


def mobilenet_v3_small_images(num_classes: int, in_chans: int) -> SearchSpace:
    """MobileNetV3 blocks for images of 32 to 64 px: 17,173,512 networks per resolution.

    The stem keeps the resolution (stride 1) and only three stages halve it, so that a 32 px image still has 4x4
    positions in the last stage. Kernels of 7 would be wider than that map, so the largest is 5. Widths 24, 48, 96 with
    expand ratios up to 4 instead of 6: on a CPU the depth-wise part is memory bound, and fewer middle channels train
    1.7 times as many images per second as the usual ratios at the same MACs.
    """
    layout = MobileLayout(
        in_chans=in_chans,
        num_classes=num_classes,
        stem_width=16,
        stem_stride=1,
        stages=(
            StageLayout(24, 2, 3, "relu", False),
            StageLayout(48, 2, 3, "hard_swish", True),
            StageLayout(96, 2, 3, "hard_swish", True),
        ),
        kernel_sizes=(3, 5),
        expand_ratios=(2, 3, 4),
        first_width=16,
        expand_width=384,
        mix_width=512,
    )
    return SearchSpace("mbv3_small", layout, (StageChoices((3, 5), (2, 3, 4), (1, 2, 3)),) * 3, (32,))


def resnet_small_images(num_classes: int, in_chans: int) -> SearchSpace:
    """Dense 3x3 residual blocks with elastic middle width and depth, for images of 16 to 64 px.

    Two full 3x3 convolutions a block run as large matrix products: on a CPU they train at 97 % of the peak of its
    matrix multiply, 3.7 times as many images per second as inverted bottlenecks of equal MACs. Every stage halves the
    map after a stem that keeps it, so most work is done at 16x16 and below while a 32 px image ends at 4x4.
    """
    layout = ResidualLayout(
        in_chans=in_chans,
        num_classes=num_classes,
        stem_width=32,
        stem_stride=1,
        stages=(StageLayout(32, 2, 2), StageLayout(64, 2, 2), StageLayout(128, 2, 2)),
        kernel_sizes=(3,),
        expand_ratios=(0.5, 0.75, 1),
    )
    return SearchSpace("resnet_small", layout, (StageChoices((3,), (0.5, 0.75, 1), (1, 2)),) * 3, (32,))
