"""Files written straight from the layout are what a runtime gets from the exporter."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from onceforall.cost.onnx_graph import write_onnx
from onceforall.cost.structure import block, network
from onceforall.deploy import export_onnx
from onceforall.space import Arch, SearchSpace, create_space
from onceforall.supernets import create_supernet


def run_operations(path: Path, folder: Path) -> Counter[tuple[str, str]]:
    """What ONNX Runtime executes after its own optimisations; turning a 1x1 map into a row is left out."""
    optimised = folder / f"optimised_{path.name}"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(str(optimised)).graph.node
    return Counter((node.domain, node.op_type) for node in nodes if node.op_type not in ("Flatten", "Reshape"))


def weight_shapes(path: Path) -> Counter[tuple[int, ...]]:
    weights = onnx.load(str(path)).graph.initializer
    return Counter(tuple(weight.dims) for weight in weights if weight.data_type == onnx.TensorProto.FLOAT)


def write_network(space: SearchSpace, arch: Arch, path: Path) -> None:
    write_onnx(path, [part for part, _ in network(space.layout, arch)], arch.resolution)


@pytest.mark.parametrize("name", ["mbv3_small", "resnet_small", "proxyless_w0.5", "resnet50", "cifar_kdw"])
def test_the_runtime_executes_the_same_as_for_the_exported_network(name: str, tmp_path: Path) -> None:
    supernet = create_supernet(name, num_classes=10)
    for parameter in supernet.parameters():  # the exporter writes equal tensors once, so no two may be
        torch.nn.init.normal_(parameter, std=0.1)
    arch = supernet.space.sample(np.random.default_rng(3))
    exported, written = tmp_path / "exported.onnx", tmp_path / "written.onnx"
    classes = [str(index) for index in range(10)]
    export_onnx(
        supernet.extract(arch), exported, resolution=32, in_chans=3, classes=classes, mean=[0.5] * 3, std=[0.25] * 3
    )
    write_network(supernet.space, arch, written)
    assert weight_shapes(written) == weight_shapes(exported)
    assert run_operations(written, tmp_path) == run_operations(exported, tmp_path)


def test_files_are_valid_and_their_batch_is_fixed(tmp_path: Path) -> None:
    layout = create_space("mbv3_small").layout
    path = tmp_path / "block.onnx"
    write_onnx(path, [block(layout, 1, 1, 5, 4)] * 2, side=9, batch=3)
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [3, 48, 9, 9]
    (output,) = session.run(None, {"input": np.ones((3, 48, 9, 9), np.float32)})
    assert np.asarray(output).shape == (3, 48, 9, 9)
    assert np.isfinite(np.asarray(output)).all()


def test_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    space = create_space("resnet_small")
    parts = [part for part, _ in network(space.layout, space.smallest)]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_onnx(tmp_path / name, parts, side=32, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
