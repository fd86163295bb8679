"""The families: which networks exist, by name."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from .layouts import BottleneckLayout, KdwLayout, MobileLayout, ResidualLayout, StageLayout, make_divisible
from .space import SearchSpace, StageChoices

_WITH_WIDTH = re.compile(r"(\w+?)_w(\d+(?:\.\d+)?)")
_ALIASES = {"compound": "compound_w1.0", "compound_elastic": "compound_elastic_w1.0"}
EXPAND_OF_DEPTH: dict[float, int] = {2: 3, 3: 4, 4: 6}  # CompOFA's "simple" heuristic: deep stages are wide


def list_spaces() -> list[str]:
    """Names that `create_space` takes; any width multiplier is allowed where a name ends in `_w<multiplier>`."""
    return [
        "mbv3_w1.0",
        "mbv3_w1.2",
        "proxyless_w1.3",
        "resnet50",
        "compound_w1.0",
        "compound_elastic_w1.0",
        "mbv3_small",
        "resnet_small",
        "cifar_kdw",
    ]


def create_space(name: str, num_classes: int = 1000, in_chans: int = 3, **options: Any) -> SearchSpace:
    """The search space of a family.

    Args:
        name: one of `list_spaces()`, with any multiplier after `_w`.
        num_classes: outputs of the classifier.
        in_chans: channels of the input image.
        options: `resolutions` (any input sizes in pixels); `kernel_sizes`, `expand_ratios`, `depths`, `width_mults` to
            keep only some values of the family; `compound=True` to tie the expand ratio of every stage to its depth.
            None means the family's own.

    Raises:
        ConfigError: an unknown name or option, a value the family does not have, or no class or channel.
    """
    for what, count in (("num_classes", num_classes), ("in_chans", in_chans)):
        if count < 1:
            raise ConfigError(f"{what}={count}: must be 1 or greater")
    space = _family(_ALIASES.get(name, name), num_classes, in_chans)
    known = {"resolutions", "kernel_sizes", "expand_ratios", "depths", "width_mults", "compound"}
    if unknown := sorted(set(options) - known):
        raise ConfigError(f"unknown option {unknown[0]!r} of space {name}; the options are {', '.join(sorted(known))}")
    resolutions, compound = options.pop("resolutions", None), options.pop("compound", None)
    space = space.restrict(**options)
    if compound:
        space = compounded(space)
    return space if resolutions is None else _with_resolutions(space, resolutions)


def _family(name: str, num_classes: int, in_chans: int) -> SearchSpace:
    fixed = {
        "mbv3_small": mobilenet_v3_small_images,
        "resnet_small": resnet_small_images,
        "resnet50": resnet50,
        "cifar_kdw": cifar_kdw,
    }
    if name in fixed:
        return fixed[name](num_classes, in_chans)
    match = _WITH_WIDTH.fullmatch(name)
    families = {
        "mbv3": mobilenet_v3,
        "proxyless": proxyless,
        "compound": compound_fixed_kernels,
        "compound_elastic": compound_elastic_kernels,
    }
    if match is None or match[1] not in families:
        any_width = ", ".join(f"{family}_w<multiplier>" for family in families)
        raise ConfigError(f"no space named {name!r}; there are {', '.join(list_spaces())}; any width: {any_width}")
    if (width_mult := float(match[2])) <= 0:
        raise ConfigError(f"width multiplier {width_mult} of {name} must be positive")
    return families[match[1]](name, width_mult, num_classes, in_chans)


def _with_resolutions(space: SearchSpace, resolutions: Sequence[int]) -> SearchSpace:
    """The same networks at any input sizes: weights do not depend on the resolution."""
    sizes = tuple(sorted(set(resolutions)))
    smallest = 8
    if not sizes or any(int(size) != size or size < smallest for size in sizes):
        raise ConfigError(f"resolutions must be whole numbers of pixels from {smallest} up, not {list(resolutions)}")
    return replace(space, resolutions=tuple(int(size) for size in sizes))


def compounded(space: SearchSpace) -> SearchSpace:
    """The networks of a space whose depth implies the expand ratio, stage by stage (CompOFA, Sahni et al., ICLR 2021).

    Stages of depth 2, 3, 4 have ratio 3, 4, 6, or the smallest ratio there is when that is larger. Raises ConfigError
    for a space of other depths or ratios.
    """
    stages = []
    for choices in space.stages:
        ratios = tuple(max(EXPAND_OF_DEPTH.get(d, 0), choices.expand_ratios[0]) for d in choices.depths)
        if not set(choices.depths) <= set(EXPAND_OF_DEPTH) or not set(ratios) <= set(choices.expand_ratios):
            raise ConfigError(f"compound=True needs depths 2, 3, 4 and ratios 3, 4, 6; space {space.name} has others")
        stages.append(replace(choices, expand_of_depth=ratios))
    return replace(space, stages=tuple(stages))


def mobilenet_v3(name: str, width_mult: float, num_classes: int, in_chans: int) -> SearchSpace:
    """The Once-for-All MobileNetV3 space (Cai et al., ICLR 2020): 2.18e19 networks per resolution.

    Kernel sizes 3, 5, 7 and expand ratios 3, 4, 6 per block, depths 2, 3, 4 in each of five stages; images of
    128 to 224 px in steps of 4.
    """
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


def compound_elastic_kernels(name: str, width_mult: float, num_classes: int, in_chans: int) -> SearchSpace:
    """CompOFA with elastic kernels: depth implies the expand ratio, and smaller kernels need no matrices."""
    space = compounded(mobilenet_v3(name, width_mult, num_classes, in_chans))
    assert isinstance(space.layout, MobileLayout)
    return replace(space, layout=replace(space.layout, kernel_transforms=False))


def compound_fixed_kernels(name: str, width_mult: float, num_classes: int, in_chans: int) -> SearchSpace:
    """CompOFA: 243 networks per resolution; kernels 3, 5, 3, 3, 5 by stage are the plain centre of stored 7x7 ones."""
    space = compound_elastic_kernels(name, width_mult, num_classes, in_chans)
    kernels = (3, 5, 3, 3, 5)
    stages = tuple(replace(c, kernel_sizes=(kernel,)) for c, kernel in zip(space.stages, kernels, strict=True))
    return replace(space, stages=stages)


def proxyless(name: str, width_mult: float, num_classes: int, in_chans: int) -> SearchSpace:
    """The Once-for-All ProxylessNAS space: inverted bottlenecks with relu6 and no squeeze-excite in six stages.

    Kernel sizes 3, 5, 7 and expand ratios 3, 4, 6 per block; depths 2, 3, 4 in five stages, the sixth has one block.
    """
    stem, first, *widths, mix = (make_divisible(base * width_mult) for base in (32, 16, 24, 40, 80, 96, 192, 320, 1280))
    strides, depths = (2, 2, 2, 1, 2, 1), (4, 4, 4, 4, 4, 1)
    layout = MobileLayout(
        in_chans=in_chans,
        num_classes=num_classes,
        stem_width=stem,
        stem_stride=2,
        stages=tuple(
            StageLayout(width, stride, depth, "relu6")
            for width, stride, depth in zip(widths, strides, depths, strict=True)
        ),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(3, 4, 6),
        bn_eps=1e-3,
        first_width=first,
        stem_activation="relu6",
        first_activation="relu6",
        expand_width=mix,
        mix_width=0,
        head_activation="relu6",
        first_shortcut=False,
    )
    stages = tuple(StageChoices((3, 5, 7), (3, 4, 6), (2, 3, 4) if depth == 4 else (1,)) for depth in depths)
    return SearchSpace(name, layout, stages, tuple(range(128, 225, 4)))


def resnet50(num_classes: int, in_chans: int) -> SearchSpace:
    """The Once-for-All ResNet-50-D space: elastic depth, expand ratio and widths, and a stem block that can be skipped.

    Stages of 2 to 4, 2 to 4, 4 to 6 and 2 to 4 bottlenecks with ratios 0.2, 0.25, 0.35 of their output width; six
    width multipliers 0.65, 0.8, 1 (`Arch.width_mults`: stem middle, stem, four stages). The first two multipliers of
    the stem's middle give the same 24 channels, so such pairs of architectures are the same network.
    """
    ratios, mults = (0.2, 0.25, 0.35), (0.65, 0.8, 1)
    stem_block = StageLayout(32, 1, 1)
    bottlenecks = zip((256, 512, 1024, 2048), (1, 2, 2, 2), (4, 4, 6, 4), strict=True)
    layout = BottleneckLayout(
        in_chans=in_chans,
        num_classes=num_classes,
        stem_width=64,
        stem_stride=2,
        stages=(stem_block, *(StageLayout(width, stride, depth) for width, stride, depth in bottlenecks)),
        kernel_sizes=(3,),
        expand_ratios=ratios,
        width_mults=mults,
    )
    stages = [StageChoices((3,), (1,), (0, 1))]
    stages += [StageChoices((3,), ratios, tuple(range(s.max_depth - 2, s.max_depth + 1))) for s in layout.stages[1:]]
    return SearchSpace("resnet50", layout, tuple(stages), tuple(range(128, 257, 16)), (mults,) * 6)


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


def cifar_kdw(num_classes: int, in_chans: int) -> SearchSpace:
    """The eight networks (kernel size, depth, width) of the CIFAR-10 re-implementation of Once-for-All.

    Kernels 5 or 7, two or three blocks, every block 2 or 4 times as wide as its input, all blocks alike. The published
    MACs follow a closed form whose terms are those of one batch of two images: blocks that read 8 channels at 8x8
    positions and have as many channels in the middle as at the end, squeeze-and-excite with a quarter of them, and
    a final 1x1 convolution of 1024 channels. The rest is one constant, 98 % of the smaller networks; the layers
    behind it are not known. Since a stem is all that is left of the published list of parts, it is five plain 3x3
    convolutions whose MACs agree with that constant within the rounding of the published table.
    """
    choices = StageChoices((5, 7), (2, 4), (2, 3), alike=True)
    layout = KdwLayout(
        in_chans=in_chans,
        num_classes=num_classes,
        stem_width=8,
        stem_stride=4,
        stages=(StageLayout(8 * 4**3, 1, 3, "hard_swish", True),),
        kernel_sizes=choices.kernel_sizes,
        expand_ratios=choices.expand_ratios,
        stem_widths=(144, 144, 144, 480),
        stem_strides=(2, 1, 1, 2),
    )
    return SearchSpace("cifar_kdw", layout, (choices,), (32,))
