"""What a sub-network executes, operation by operation, read off its layout without building it.

One description serves three readers: `analytic` counts it, `onnx_graph` writes it down for a runtime, and the latency
model measures it part by part. A network is a stem, its blocks, and a head; each is a `Part`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..space import Arch, Layout, MobileLayout, ResidualLayout

IN_PLACE = frozenset({"relu", "hard_swish", "hard_sigmoid", "multiply", "add"})


class Operation(NamedTuple):
    """One operation. Inputs are values: 0 is the input of the part, operation i makes value i + 1."""

    kind: str  # "conv", "linear", "pool" (global average), or one of IN_PLACE
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
            if operation.kind == "conv":
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

    def apply(self, kind: str, *values: int) -> int:
        channels = self._channels[values[0]]
        return self._append(Operation(kind, values, channels, channels))

    def squeeze_excite(self, value: int, squeeze_width: int) -> int:
        squeezed = self.apply("relu", self.conv(self.apply("pool", value), squeeze_width, bias=True, norm=False))
        gate = self.conv(squeezed, self._channels[value], bias=True, norm=False)
        return self.apply("multiply", value, self.apply("hard_sigmoid", gate))

    def part(self) -> Part:
        return Part(self._channels[0], tuple(self._operations))


def stem(layout: Layout) -> Part:
    """Everything before the first elastic block."""
    build = _PartBuilder(layout.in_chans)
    value = build.conv(0, layout.stem_width, 3, layout.stem_stride)
    if isinstance(layout, ResidualLayout):
        build.apply("relu", value)
        return build.part()
    entry = build.apply(layout.stem_activation, value)
    value = build.conv(entry, layout.stem_width, 3, depthwise=True)
    value = build.conv(build.apply(layout.first_activation, value), layout.first_width)
    if layout.first_width == layout.stem_width:
        build.apply("add", value, entry)
    return build.part()


def block(layout: Layout, stage: int, position: int, kernel_size: int, expand_ratio: float) -> Part:
    """One elastic block; stage and position in the stage count from 0."""
    middle = layout.middle_width(stage, position, expand_ratio)
    stride = layout.stages[stage].stride if position == 0 else 1
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


def head(layout: Layout) -> Part:
    """Everything after the last elastic block."""
    build = _PartBuilder(layout.stages[-1].width)
    if isinstance(layout, ResidualLayout):
        build.linear(build.apply("pool", 0), layout.num_classes)
        return build.part()
    value = build.apply(layout.head_activation, build.conv(0, layout.expand_width))
    value = build.conv(build.apply("pool", value), layout.mix_width, norm=False)
    build.linear(build.apply(layout.head_activation, value), layout.num_classes)
    return build.part()


def stage_sides(layout: Layout, resolution: int) -> list[int]:
    """Side of the input of every stage, and last of the head, in pixels, for an image of `resolution` pixels."""
    sides = [(resolution - 1) // layout.stem_stride + 1]
    for stage in layout.stages:
        sides.append((sides[-1] - 1) // stage.stride + 1)
    return sides


def block_side(layout: Layout, stage: int, position: int, resolution: int) -> int:
    """Side in pixels of the input of a block, for an image of `resolution` pixels."""
    return stage_sides(layout, resolution)[stage + (position > 0)]


def network(layout: Layout, arch: Arch) -> Iterator[tuple[Part, int]]:
    """All parts of a sub-network in the order they run, each with the side of its input in pixels."""
    yield stem(layout), arch.resolution
    for stage, blocks in enumerate(arch.stages):
        for position, chosen in enumerate(blocks):
            side = block_side(layout, stage, position, arch.resolution)
            yield block(layout, stage, position, chosen.kernel_size, chosen.expand_ratio), side
    yield head(layout), stage_sides(layout, arch.resolution)[-1]
