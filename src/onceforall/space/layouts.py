"""What a family fixes: widths, strides, activations. Enough to count or build any of its networks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never losing more than 10 % (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True)
class StageLayout:
    """One stage: output width in channels, stride of its first block, activation, and the blocks it has weights for."""

    width: int
    stride: int
    max_depth: int
    activation: str = "relu"
    squeeze_excite: bool = False


@dataclass(frozen=True)
class _Layout:
    """What both layouts share.

    Attributes:
        kernel_sizes: all kernel sizes the weights can be shrunk to, ascending; the last one is stored.
        expand_ratios: all expand ratios the weights can be cut to, ascending; the last one is stored.
    """

    in_chans: int
    num_classes: int
    stem_width: int
    stem_stride: int
    stages: tuple[StageLayout, ...]
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    bn_eps: float = 1e-5

    kind: ClassVar[str]
    width_names: ClassVar[tuple[str, ...]] = ()  # the widths that an architecture gives multipliers for

    def to_dict(self) -> dict[str, Any]:
        """The layout as plain values, ready for JSON."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class MobileLayout(_Layout):
    """Stem, one fixed block, stages of inverted bottlenecks, 1x1 expansion, pooling, 1x1 mix, classifier.

    Attributes:
        first_width: width of the fixed first block (3x3 depth-wise, no expansion).
        first_shortcut: whether that block adds its input where the widths agree; see `has_first_shortcut`.
        expand_width: width of the last 1x1 convolution before pooling.
        mix_width: width of the 1x1 convolution after pooling (no batch norm, no bias); 0: there is none.
        kernel_transforms: smaller kernels go through learned matrices; otherwise they are the centre of the largest.
    """

    first_width: int = 16
    stem_activation: str = "hard_swish"
    first_activation: str = "relu"
    expand_width: int = 960
    mix_width: int = 1280
    head_activation: str = "hard_swish"
    first_shortcut: bool = True
    kernel_transforms: bool = True

    kind: ClassVar[str] = "mobile"

    def in_width(self, stage: int, block: int) -> int:
        """Input channels of a block (stage and block count from 0)."""
        if block > 0:
            return self.stages[stage].width
        return self.stages[stage - 1].width if stage > 0 else self.first_width

    def middle_width(self, stage: int, block: int, expand_ratio: float) -> int:
        """Channels between the expansion and the projection of a block."""
        return make_divisible(round(self.in_width(stage, block) * expand_ratio))

    @property
    def has_first_shortcut(self) -> bool:
        """Whether the fixed first block adds its input."""
        return self.first_shortcut and self.first_width == self.stem_width

    @staticmethod
    def squeeze_width(middle_width: int) -> int:
        """Channels inside a squeeze-and-excite of `middle_width` channels."""
        return make_divisible(middle_width // 4)


@dataclass(frozen=True)
class ResidualLayout(_Layout):
    """Small-image residual network: 3x3 stem, stages of two dense 3x3 convolutions a block, pooling, classifier."""

    kind: ClassVar[str] = "residual"

    def in_width(self, stage: int, block: int) -> int:
        """Input channels of a block (stage and block count from 0)."""
        if block > 0:
            return self.stages[stage].width
        return self.stages[stage - 1].width if stage > 0 else self.stem_width

    def middle_width(self, stage: int, block: int, expand_ratio: float) -> int:
        """Channels between the two convolutions of a block."""
        return make_divisible(self.stages[stage].width * expand_ratio)


@dataclass(frozen=True)
class BottleneckLayout(_Layout):
    """ResNet-D of elastic widths: a stem of two or three 3x3 convolutions, max pooling, stages of bottlenecks.

    `stages[0]` is the residual block inside the stem, which depth 0 leaves out; its width is the stem's middle one.
    `stem_width` and the widths of the stages are those of multiplier 1. `width_mults` are all multipliers the weights
    serve, ascending.
    """

    width_mults: tuple[float, ...] = (1,)

    kind: ClassVar[str] = "bottleneck"
    width_names: ClassVar[tuple[str, ...]] = ("stem_middle", "stem", "stage2", "stage3", "stage4", "stage5")

    def width(self, index: int, width_mult: float) -> int:
        """Channels of the width named `width_names[index]` at a multiplier."""
        if index == 0:
            return make_divisible(make_divisible(self.stem_width * width_mult) // 2)
        base = self.stem_width if index == 1 else self.stages[index - 1].width
        return make_divisible(base * width_mult)

    def widths(self, width_mults: Sequence[float]) -> tuple[int, ...]:
        """Channels of the stem's middle, the stem, and the four stages, for one multiplier each."""
        return tuple(self.width(index, mult) for index, mult in enumerate(width_mults))

    @staticmethod
    def middle_width(out_width: int, expand_ratio: float) -> int:
        """Channels of the 3x3 convolution of a bottleneck with `out_width` output channels."""
        return make_divisible(round(out_width * expand_ratio))


@dataclass(frozen=True)
class KdwLayout(_Layout):
    """A stem of 3x3 convolutions, one stage whose blocks widen, one 1x1 convolution, pooling, classifier.

    Block i counts from 1 and maps `stem_width * ratio**(i - 1)` channels to `stem_width * ratio**i`, with as many in
    the middle: the output is what the ratio chooses. `stem_stride` is the product of `stem_strides`.

    Attributes:
        stem_widths, stem_strides: of the convolutions before the last one of the stem, which has `stem_width` and
            stride 1.
        final_width: of the 1x1 convolution, which reads as many channels as the last block that runs writes.
    """

    stem_widths: tuple[int, ...] = ()
    stem_strides: tuple[int, ...] = ()
    final_width: int = 1024

    kind: ClassVar[str] = "kdw"

    @property
    def stem_convolutions(self) -> tuple[tuple[int, int], ...]:
        """Width and stride of every convolution of the stem."""
        return (*zip(self.stem_widths, self.stem_strides, strict=True), (self.stem_width, 1))

    @property
    def activation(self) -> str:
        """The one activation of the whole network."""
        return self.stages[0].activation

    def width_after(self, blocks: int, expand_ratio: float) -> int:
        """Channels behind so many blocks."""
        return round(self.stem_width * expand_ratio**blocks)

    @staticmethod
    def squeeze_width(middle_width: int) -> int:
        """Channels inside a squeeze-and-excite of `middle_width` channels: a quarter, not rounded to 8."""
        return middle_width // 4


Layout = MobileLayout | ResidualLayout | BottleneckLayout | KdwLayout


def layout_from_dict(described: dict[str, Any]) -> Layout:
    """The inverse of `Layout.to_dict`. Raises ValueError for an unknown kind, TypeError for unknown fields."""
    fields = dict(described)
    kind = fields.pop("kind", None)
    classes: dict[str | None, type[Layout]] = {
        cls.kind: cls for cls in (MobileLayout, ResidualLayout, BottleneckLayout, KdwLayout)
    }
    if kind not in classes:
        raise ValueError(f"unknown layout kind {kind!r}; known: {sorted(map(str, classes))}")
    fields["stages"] = tuple(StageLayout(**stage) for stage in fields["stages"])
    for name in {"kernel_sizes", "expand_ratios", "width_mults", "stem_widths", "stem_strides"} & set(fields):
        fields[name] = tuple(fields[name])
    return classes[kind](**fields)
