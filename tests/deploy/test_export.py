"""Exported files: what they hold, that they agree, and that a failure leaves what was there."""

import dataclasses
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from onceforall.deploy import Agreement, ExportRecord, OnnxNetwork, export, export_onnx
from onceforall.errors import DataError, ExportError, FileFormatError, StorageError
from onceforall.space import Arch
from onceforall.supernets import create_supernet

CLASSES = [f"digit {number}" for number in range(9)] + ["neun ✓"]
MEAN, STD = [0.3], [0.35]


def digits(side: int = 16) -> Tensor:
    """Real images, normalised: (64, 1, side, side)."""
    pixels = torch.as_tensor(load_digits().images[:64] / 16, dtype=torch.float32)[:, None]
    return (nn.functional.interpolate(pixels, size=side, mode="bilinear") - MEAN[0]) / STD[0]


def options(**changes: Any) -> dict[str, Any]:
    described = {"resolution": 16, "in_chans": 1, "classes": CLASSES, "mean": MEAN, "std": STD}
    return {**described, "test_transform": "whole", "verify_images": digits(), **changes}


@dataclasses.dataclass
class Exported:
    network: nn.Module
    arch: Arch
    path: Path
    record: ExportRecord


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    supernet = create_supernet("mbv3_small", num_classes=10, in_chans=1, resolutions=[16])
    supernet.reset_parameters(seed=0)
    arch = supernet.space.sample(np.random.default_rng(0))
    network = supernet.extract(arch)
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.2, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.2, generator=generator)
    path = tmp_path_factory.mktemp("deploy") / "small.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = export_onnx(network, path, arch=arch, **options())
    return Exported(network, arch, path, record)


@pytest.fixture
def failing(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path with an earlier export on it, and an exporter that is quick because its result is ready."""
    model = onnx.load(str(exported.path))
    monkeypatch.setattr(export, "_to_onnx", lambda module, card: model)
    (tmp_path / "net.onnx").write_text("earlier file")
    (tmp_path / "net.json").write_text("earlier record")
    return tmp_path / "net.onnx"


def assert_untouched(path: Path) -> None:
    assert path.read_text() == "earlier file"
    assert path.with_suffix(".json").read_text() == "earlier record"
    assert sorted(file.name for file in path.parent.iterdir()) == ["net.json", "net.onnx"]


def test_the_file_agrees_with_the_network_on_real_images(exported: Exported) -> None:
    assert exported.record.images_compared == 64
    assert exported.record.real_images
    assert exported.record.top1_agreement == 1
    assert exported.record.max_abs_difference < 1e-4
    with torch.no_grad():
        expected = exported.network(digits()[:7]).numpy()
    found = OnnxNetwork(exported.path).logits(digits()[:7].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 5])
def test_any_batch_size_runs(exported: Exported, batch: int) -> None:
    assert OnnxNetwork(exported.path).logits(digits()[:batch].numpy()).shape == (batch, 10)


def test_batch_norm_is_folded_and_the_opset_stated(exported: Exported) -> None:
    model = onnx.load(str(exported.path))
    operations = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operations
    assert "HardSwish" in operations
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [exported.record.opset] == [20]


def test_the_file_tells_nothing_of_where_it_was_made(exported: Exported) -> None:
    content = exported.path.read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_the_file_describes_itself(exported: Exported) -> None:
    card = OnnxNetwork(exported.path).card
    assert card.classes == tuple(CLASSES)
    assert (card.mean, card.std, card.resolution, card.in_chans, card.name) == ((0.3,), (0.35,), 16, 1, "small")
    assert card.test_transform == "whole"
    assert card.arch is not None
    assert Arch.from_dict(card.arch) == exported.arch


def test_a_file_from_before_the_test_transform_was_noted_still_opens(tmp_path: Path, exported: Exported) -> None:
    model = onnx.load(str(exported.path))
    kept = [entry for entry in model.metadata_props if entry.key != "test_transform"]
    assert len(kept) == len(model.metadata_props) - 1
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save_model(model, str(tmp_path / "old.onnx"))
    old = OnnxNetwork(tmp_path / "old.onnx").card
    assert old == dataclasses.replace(OnnxNetwork(exported.path).card, test_transform=None)


def test_the_record_lies_beside_the_file(exported: Exported) -> None:
    record = json.loads(exported.path.with_suffix(".json").read_text())
    assert record == dataclasses.asdict(exported.record)
    assert record["bytes"] == exported.path.stat().st_size
    assert record["sha256"] == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert Arch.from_dict(record["arch"]) == exported.arch
    assert record["test_transform"] == "whole"
    assert sorted(file.name for file in exported.path.parent.iterdir()) == ["small.json", "small.onnx"]


def test_pixels_in_class_names_out(exported: Exported) -> None:
    network = OnnxNetwork(exported.path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)
    predictions = network.predict(pixels, top=3)
    with torch.no_grad():
        normalised = (torch.as_tensor(pixels).permute(0, 3, 1, 2) / 255 - MEAN[0]) / STD[0]
        expected = exported.network(normalised).softmax(1)
    for prediction, row in zip(predictions, expected, strict=True):
        best = row.topk(3)
        assert prediction.classes == tuple(CLASSES[index] for index in best.indices)
        assert prediction.probabilities == pytest.approx(best.values.tolist(), abs=1e-5)


def test_pixels_of_another_size_are_refused(exported: Exported) -> None:
    with pytest.raises(DataError, match=r"small takes uint8 images of shape \(16, 16, 1\)"):
        OnnxNetwork(exported.path).predict(np.zeros((1, 8, 8, 1), np.uint8))


def test_the_network_is_not_changed(failing: Path, exported: Exported) -> None:
    network = exported.network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    record = export_onnx(network, failing, **options())
    assert network.training
    network.eval()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert json.loads(failing.with_suffix(".json").read_text())["sha256"] == record.sha256


def test_random_numbers_stand_in_for_images(failing: Path, exported: Exported) -> None:
    record = export_onnx(exported.network, failing, **options(verify_images=None))
    assert (record.images_compared, record.real_images) == (16, False)


def test_a_file_that_disagrees_is_not_written(failing: Path, exported: Exported) -> None:
    other = create_supernet("mbv3_small", num_classes=10, in_chans=1, resolutions=[16])
    with pytest.raises(ExportError, match=r"differs from the network by .* of 64 images\); nothing was written"):
        export_onnx(other.extract(exported.arch), failing, **options())
    assert_untouched(failing)


def test_a_network_that_is_not_finite_is_not_written(failing: Path, exported: Exported) -> None:
    images = digits()
    images[3, 0, 2, 2] = float("nan")
    with pytest.raises(ExportError, match="differs from the network by nan"):
        export_onnx(exported.network, failing, **options(verify_images=images))
    assert_untouched(failing)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_export_leaves_the_earlier_file(
    failing: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch, interruption: Any
) -> None:
    def interrupted(*_: object) -> Agreement:
        raise interruption

    monkeypatch.setattr(export, "compare", interrupted)
    with pytest.raises((KeyboardInterrupt, StorageError)):
        export_onnx(exported.network, failing, **options())
    assert_untouched(failing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": CLASSES[:9]}, "net has 10 outputs but 9 class names were given"),
        ({"mean": [0.5] * 3}, "mean and std of net need 1 values each"),
        ({"resolution": 8}, r"have shape \(64, 1, 16, 16\), not \(N, 1, 8, 8\)"),
        ({"in_chans": 3, "verify_images": None}, r"net does not take images of shape \(3, 16, 16\)"),
        ({"verify_images": np.zeros((0, 1, 16, 16))}, "have shape"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    failing: Path, exported: Exported, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        export_onnx(exported.network, failing, **options(**changes))
    assert_untouched(failing)


def test_the_suffix_is_fixed(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"must end in \.onnx"):
        export_onnx(exported.network, tmp_path / "net.pt", **options())


class Unexportable(nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm2d(1), nn.Linear(1, 10)
        self.norm_first = norm_first

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            return self.linear(self.norm(x).mean((2, 3)))
        return self.linear(x.mean((2, 3)) * (2 if float(x.sum()) > 0 else 1))


@pytest.mark.parametrize(
    ("norm_first", "message"), [(True, "no convolution feeds"), (False, "net cannot be exported to ONNX: ")]
)
def test_a_network_beyond_the_exporter_is_refused(tmp_path: Path, norm_first: bool, message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        export_onnx(Unexportable(norm_first).eval(), tmp_path / "net.onnx", **options())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_files_of_other_kinds_are_refused(tmp_path: Path, exported: Exported) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(FileFormatError, match=r"text\.onnx cannot be opened by ONNX Runtime"):
        OnnxNetwork(tmp_path / "text.onnx")
    model = onnx.load(str(exported.path))
    del model.metadata_props[:]
    onnx.save_model(model, str(tmp_path / "bare.onnx"))
    with pytest.raises(FileFormatError, match=r"bare\.onnx does not describe its input and classes"):
        OnnxNetwork(tmp_path / "bare.onnx")
