"""What a sub-network executes, operation by operation, read off its layout without building it.

One description serves three readers: `analytic` counts it, `onnx_graph` writes it down for a runtime, and the latency
model measures it part by part. A network is a stem, its blocks, and a head (ResNet-D also has a neck, which ends its
stem); each is a `Part`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..space import Arch, BottleneckLayout, KdwLayout, Layout, MobileLayout, ResidualLayout

IN_PLACE = frozenset({"relu", "relu6", "hard_swish", "hard_sigmoid", "multiply", "add"})


class Operation(NamedTuple):
    """One operation. Inputs are values: 0 is the input of the part, operation i makes value i + 1."""

    kind: str  # "conv", "linear", "pool" (global average), "max_pool", "average_pool", or one of IN_PLACE
    inputs: tuple[int, ...]
    in_channels: int
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False  # batch norm follows; it folds into the convolution


@dataclass(frozen=True)
class Part:
    """A piece of a network with one input and one output: stem, block or head."""

    in_channels: int
    operations: tuple[Operation, ...]

    def sides(self, side: int) -> list[int]:
        """Side in pixels of every (square) value when the input of the part has `side` pixels."""
        found = [side]
        for operation in self.operations:
            before = found[operation.inputs[0]]
            if operation.kind in ("conv", "max_pool", "average_pool"):
                found.append((before - 1) // operation.stride + 1)
            else:
                found.append(1 if operation.kind in ("pool", "linear") else before)
        return found

    def macs(self, side: int) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return sum(
            operation.in_channels // operation.groups * operation.kernel_size**2 * operation.out_channels * out**2
            for operation, out in zip(self.operations, self.sides(side)[1:], strict=True)
            if operation.kind in ("conv", "linear")
        )

    def params(self) -> int:
        """Trainable numbers: weights, biases, and weight and bias of every batch norm."""
        return sum(
            operation.out_channels
            * (
                operation.in_channels // operation.groups * operation.kernel_size**2
                + operation.bias
                + 2 * operation.norm
            )
            for operation in self.operations
            if operation.kind in ("conv", "linear")
        )

    def peak_elements(self, side: int) -> int:
        """Most numbers held at once by the values of this part, for one image; see `analytic.peak_memory`."""
        sides = self.sides(side)
        elements = [self.in_channels * side**2]
        elements += [op.out_channels * out**2 for op, out in zip(self.operations, sides[1:], strict=True)]
        last_use = {value: step for step, operation in enumerate(self.operations) for value in operation.inputs}
        live, peak = {0}, elements[0]
        for step, operation in enumerate(self.operations):
            dying = {value for value in operation.inputs if last_use[value] == step}
            reuses = operation.kind in IN_PLACE and any(elements[value] == elements[step + 1] for value in dying)
            peak = max(peak, sum(elements[value] for value in live) + (0 if reuses else elements[step + 1]))
            live = (live - dying) | {step + 1}
        return peak


class _PartBuilder:
    """Collects operations; every method returns the value it makes."""

    def __init__(self, in_channels: int) -> None:
        self._channels = [in_channels]
        self._operations: list[Operation] = []

    def _append(self, operation: Operation) -> int:
        self._operations.append(operation)
        self._channels.append(operation.out_channels)
        return len(self._operations)

    def conv(
        self,
        value: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        bias: bool = False,
        norm: bool = True,
    ) -> int:
        groups = out_channels if depthwise else 1
        channels = self._channels[value]
        return self._append(
            Operation("conv", (value,), channels, out_channels, kernel_size, stride, groups, bias, norm)
        )

    def linear(self, value: int, out_channels: int) -> int:
        return self._append(Operation("linear", (value,), self._channels[value], out_channels, bias=True))

    def apply(self, kind: str, *values: int, kernel_size: int = 1, stride: int = 1) -> int:
        channels = self._channels[values[0]]
        return self._append(Operation(kind, values, channels, channels, kernel_size, stride))

    def squeeze_excite(self, value: int, squeeze_width: int) -> int:
        squeezed = self.apply("relu", self.conv(self.apply("pool", value), squeeze_width, bias=True, norm=False))
        gate = self.conv(squeezed, self._channels[value], bias=True, norm=False)
        return self.apply("multiply", value, self.apply("hard_sigmoid", gate))

    def part(self) -> Part:
        return Part(self._channels[0], tuple(self._operations))


def stem(layout: Layout, width: int | None = None) -> Part:
    """Everything before the first elastic block; `width` is that of the stem's middle where it is elastic."""
    build = _PartBuilder(layout.in_chans)
    if isinstance(layout, KdwLayout):
        value = 0
        for stem_width, stride in layout.stem_convolutions:
            value = build.apply(layout.activation, build.conv(value, stem_width, 3, stride))
        return build.part()
    value = build.conv(0, layout.stem_width if width is None else width, 3, layout.stem_stride)
    if not isinstance(layout, MobileLayout):
        build.apply("relu", value)
        return build.part()
    entry = build.apply(layout.stem_activation, value)
    value = build.conv(entry, layout.stem_width, 3, depthwise=True)
    value = build.conv(build.apply(layout.first_activation, value), layout.first_width)
    if layout.has_first_shortcut:
        build.apply("add", value, entry)
    return build.part()


def neck(middle_width: int, width: int) -> Part:
    """The last convolution of a ResNet-D's stem and the pooling behind it."""
    build = _PartBuilder(middle_width)
    value = build.apply("relu", build.conv(0, width, 3))
    build.apply("max_pool", value, kernel_size=3, stride=2)
    return build.part()


def block(
    layout: Layout,
    stage: int,
    position: int,
    kernel_size: int,
    expand_ratio: float,
    widths: tuple[int, int] | None = None,
) -> Part:
    """One elastic block; stage and position in the stage count from 0; `widths` (in, out) where they are elastic."""
    stride = layout.stages[stage].stride if position == 0 else 1
    if isinstance(layout, BottleneckLayout):
        assert widths is not None
        build = _PartBuilder(widths[0])
        if stage == 0:
            return _stem_block(build, widths[1])
        return _bottleneck(build, layout.middle_width(widths[1], expand_ratio), widths[1], stride, position == 0)
    if isinstance(layout, KdwLayout):
        build = _PartBuilder(layout.width_after(position, expand_ratio))
        return _growing_block(build, layout, layout.width_after(position + 1, expand_ratio), kernel_size)
    middle = layout.middle_width(stage, position, expand_ratio)
    build = _PartBuilder(layout.in_width(stage, position))
    if isinstance(layout, MobileLayout):
        return _inverted_bottleneck(build, layout, stage, middle, kernel_size, stride)
    return _residual_block(build, layout, stage, middle, kernel_size, stride)


def _inverted_bottleneck(
    build: _PartBuilder, layout: MobileLayout, stage: int, middle: int, kernel_size: int, stride: int
) -> Part:
    chosen = layout.stages[stage]
    value = build.apply(chosen.activation, build.conv(0, middle))
    value = build.apply(chosen.activation, build.conv(value, middle, kernel_size, stride, depthwise=True))
    if chosen.squeeze_excite:
        value = build.squeeze_excite(value, layout.squeeze_width(middle))
    value = build.conv(value, chosen.width)
    if stride == 1 and build.part().in_channels == chosen.width:
        build.apply("add", value, 0)
    return build.part()


def _growing_block(build: _PartBuilder, layout: KdwLayout, width: int, kernel_size: int) -> Part:
    value = build.apply(layout.activation, build.conv(0, width))
    value = build.apply(layout.activation, build.conv(value, width, kernel_size, depthwise=True))
    build.conv(build.squeeze_excite(value, layout.squeeze_width(width)), width)
    return build.part()


def _residual_block(
    build: _PartBuilder, layout: ResidualLayout, stage: int, middle: int, kernel_size: int, stride: int
) -> Part:
    chosen = layout.stages[stage]
    value = build.apply(chosen.activation, build.conv(0, middle, kernel_size, stride))
    value = build.conv(value, chosen.width, kernel_size)
    identity = stride == 1 and build.part().in_channels == chosen.width
    shortcut = 0 if identity else build.conv(0, chosen.width, 1, stride)
    build.apply(chosen.activation, build.apply("add", value, shortcut))
    return build.part()


def _stem_block(build: _PartBuilder, width: int) -> Part:
    build.apply("add", build.apply("relu", build.conv(0, width, 3)), 0)
    return build.part()


def _bottleneck(build: _PartBuilder, middle: int, width: int, stride: int, project: bool) -> Part:
    value = build.apply("relu", build.conv(0, middle))
    value = build.apply("relu", build.conv(value, middle, 3, stride))
    value = build.conv(value, width)
    shortcut = 0
    if project:
        pooled = build.apply("average_pool", 0, kernel_size=stride, stride=stride) if stride > 1 else 0
        shortcut = build.conv(pooled, width)
    build.apply("relu", build.apply("add", value, shortcut))
    return build.part()


def head(layout: Layout, width: int | None = None) -> Part:
    """Everything after the last elastic block; `width` is that of its input where it is elastic."""
    build = _PartBuilder(layout.stages[-1].width if width is None else width)
    if isinstance(layout, KdwLayout):
        value = build.apply(layout.activation, build.conv(0, layout.final_width))
        build.linear(build.apply("pool", value), layout.num_classes)
        return build.part()
    if not isinstance(layout, MobileLayout):
        build.linear(build.apply("pool", 0), layout.num_classes)
        return build.part()
    value = build.apply("pool", build.apply(layout.head_activation, build.conv(0, layout.expand_width)))
    if layout.mix_width:
        value = build.apply(layout.head_activation, build.conv(value, layout.mix_width, norm=False))
    build.linear(value, layout.num_classes)
    return build.part()


def stage_sides(layout: Layout, resolution: int) -> list[int]:
    """Side of the input of every stage, and last of the head, in pixels, for an image of `resolution` pixels."""
    sides = [(resolution - 1) // layout.stem_stride + 1]
    for index, stage in enumerate(layout.stages):
        sides.append((sides[-1] - 1) // stage.stride + 1)
        if isinstance(layout, BottleneckLayout) and index == 0:
            sides[-1] = (sides[-1] - 1) // 2 + 1  # the pooling of the neck
    return sides


def block_side(layout: Layout, stage: int, position: int, resolution: int) -> int:
    """Side in pixels of the input of a block, for an image of `resolution` pixels."""
    return stage_sides(layout, resolution)[stage + (position > 0)]


def network(layout: Layout, arch: Arch) -> Iterator[tuple[Part, int]]:
    """All parts of a sub-network in the order they run, each with the side of its input in pixels."""
    sides = stage_sides(layout, arch.resolution)
    widths = layout.widths(arch.width_mults) if isinstance(layout, BottleneckLayout) else ()
    last = widths[-1:]
    if isinstance(layout, KdwLayout):
        (blocks,) = arch.stages
        last = (layout.width_after(len(blocks), blocks[-1].expand_ratio),)
    yield stem(layout, *widths[:1]), arch.resolution
    for stage, blocks in enumerate(arch.stages):
        if widths and stage == 1:
            yield neck(*widths[:2]), sides[0]
        for position, chosen in enumerate(blocks):
            between = in_out_widths(widths, stage, position) if widths else None
            side = block_side(layout, stage, position, arch.resolution)
            yield block(layout, stage, position, chosen.kernel_size, chosen.expand_ratio, between), side
    yield head(layout, *last), sides[-1]


def in_out_widths(widths: Sequence[int], stage: int, position: int) -> tuple[int, int]:
    """Input and output channels of a block of a `BottleneckLayout` with these widths."""
    if stage == 0:
        return widths[0], widths[0]
    return widths[stage + 1 - (position == 0)], widths[stage + 1]
