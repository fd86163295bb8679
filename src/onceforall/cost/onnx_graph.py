"""Parts of a network as ONNX files with random weights, written straight from the layout in milliseconds.

Latency does not depend on the values of the weights, and a general exporter needs seconds per file where a latency
model needs hundreds of files. What a runtime executes is the same: the tests hold that ONNX Runtime turns such a file
and the export of the extracted network into the same operations.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_path
from .structure import Operation, Part

OPSET = 20
_IR_VERSION = 10  # read by every ONNX Runtime from 1.18 on
_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "relu6": ("Clip", {}),
    "hard_swish": ("HardSwish", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "multiply": ("Mul", {}),
    "add": ("Add", {}),
}


def write_onnx(path: str | Path, parts: Iterable[Part], side: int, batch: int = 1, seed: int = 0) -> None:
    """Write parts, one after another, as one ONNX file.

    Args:
        path: the file to write.
        parts: at least one; the output of each is the input of the next.
        side: height and width of the input in pixels.
        batch: images at a time, fixed in the file.
        seed: of the weights (normal, scaled to keep activations near 1).

    Raises:
        StorageError: the file could not be written.
    """
    import onnx
    from onnx import TensorProto, helper

    parts = list(parts)
    writer = _GraphWriter(np.random.default_rng(seed))
    value, out_side = "input", side
    for part in parts:
        value, out_side = writer.append(part, value), part.sides(out_side)[-1]
    last = parts[-1].operations[-1]
    in_shape = [batch, parts[0].in_channels, side, side]
    out_shape = [batch, last.out_channels] + ([] if last.kind == "linear" else [out_side] * 2)
    graph = helper.make_graph(
        writer.nodes,
        "parts",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, in_shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, out_shape)],
        writer.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    with atomic_path(path) as temporary:
        onnx.save_model(model, str(temporary))


class _GraphWriter:
    """Collects the nodes and weights of a graph; values are named by strings."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._rng = rng
        self._six: list[str] = []  # the two bounds of relu6, written once as an exporter does

    def append(self, part: Part, value: str) -> str:
        """Append a part that reads `value` and return the name of its output."""
        values = [value]
        for operation in part.operations:
            values.append(self._operation(operation, [values[i] for i in operation.inputs]))
        return values[-1]

    def _operation(self, operation: Operation, inputs: list[str]) -> str:
        out_channels = operation.out_channels
        if operation.kind == "conv":
            kernel = operation.kernel_size
            weights = [self._random(out_channels, operation.in_channels // operation.groups, kernel, kernel)]
            if operation.bias or operation.norm:  # a batch norm leaves a bias when it is folded
                weights.append(self._random(out_channels))
            strides, pads = [operation.stride] * 2, [kernel // 2] * 4
            return self._node("Conv", inputs + weights, strides=strides, pads=pads, group=operation.groups)
        if operation.kind == "pool":
            return self._node("ReduceMean", [*inputs, self._constant(np.array([2, 3]))], keepdims=1)
        if operation.kind == "linear":
            weights = [self._random(out_channels, operation.in_channels), self._random(out_channels)]
            return self._node("Gemm", [self._node("Flatten", inputs), *weights], transB=1)
        kernel, strides = [operation.kernel_size] * 2, [operation.stride] * 2
        if operation.kind == "max_pool":
            return self._node("MaxPool", inputs, kernel_shape=kernel, strides=strides, pads=[1] * 4)
        if operation.kind == "average_pool":
            return self._node("AveragePool", inputs, kernel_shape=kernel, strides=strides, ceil_mode=1)
        if operation.kind == "relu6":
            self._six = self._six or [self._constant(np.float32(0)), self._constant(np.float32(6))]
            inputs = inputs + self._six
        kind, attributes = _NODES[operation.kind]
        return self._node(kind, inputs, **attributes)

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _random(self, *shape: int) -> str:
        values = self._rng.standard_normal(shape, dtype=np.float32)
        return self._constant(values * np.sqrt(2 / max(1, np.prod(shape[1:]))).astype(np.float32))

    def _constant(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name
