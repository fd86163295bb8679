"""Networks that vote in one file: what it computes, what it says, and that a failure leaves what was there."""

import dataclasses
import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from onceforall.deploy import (
    EnsembleInput,
    EnsembleMember,
    EnsembleRecord,
    OnnxEnsemble,
    OnnxNetwork,
    ensemble,
    export_ensemble_onnx,
)
from onceforall.errors import DataError, ExportError, FileFormatError
from onceforall.space import Arch
from onceforall.supernets import create_supernet

CLASSES = [f"digit {number}" for number in range(9)] + ["neun ✓"]
MEAN, STD = [0.3], [0.35]
SIDES = (12, 16)


def digits(side: int) -> Tensor:
    """Real images, normalised: (70, 1, side, side)."""
    pixels = torch.as_tensor(load_digits().images[:70] / 16, dtype=torch.float32)[:, None]
    return (nn.functional.interpolate(pixels, size=side, mode="bilinear") - MEAN[0]) / STD[0]


def shown(*images: Tensor) -> dict[EnsembleInput, Tensor]:
    """Images for the inputs of both resolutions."""
    return {EnsembleInput(side): some for side, some in zip(SIDES, images, strict=True)}


def options(**changes: Any) -> dict[str, Any]:
    described = {"in_chans": 1, "classes": CLASSES, "mean": MEAN, "std": STD}
    return {**described, "verify_images": shown(*map(digits, SIDES)), **changes}


def members() -> list[EnsembleMember]:
    """Three networks of one supernet with norms and scores that differ; two of them share a resolution."""
    supernet = create_supernet("resnet_small", num_classes=10, in_chans=1, resolutions=list(SIDES))
    supernet.reset_parameters(seed=0)
    random, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    made = []
    for side, weight, temperature in ((16, 0.5, 1.0), (12, 0.2, 0.5), (16, 0.3, 2.0)):
        arch = replace(supernet.space.sample(random), resolution=side)
        network = supernet.extract(arch)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1, 0.2, generator=generator)
                nn.init.normal_(layer.bias, 0, 0.2, generator=generator)
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.5, generator=generator)
        made.append(EnsembleMember(network.eval(), side, arch.name, weight, temperature, arch.to_dict()))
    return made


def slow_vote(voters: list[EnsembleMember], images: dict[int, Tensor]) -> np.ndarray:
    """The definition, image by image, in float64."""
    rows = []
    for index in range(len(next(iter(images.values())))):
        row = np.zeros(10)
        for voter in voters:
            with torch.no_grad():
                logits = voter.network(images[voter.resolution][index : index + 1])[0].double().numpy()
            likelihood = np.exp((logits - logits.max()) / voter.temperature)
            row += voter.weight * likelihood / likelihood.sum()
        rows.append(row)
    return np.array(rows)


@dataclasses.dataclass
class Exported:
    members: list[EnsembleMember]
    path: Path
    record: EnsembleRecord


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("deploy") / "vote.onnx"
    voters = members()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = export_ensemble_onnx(voters, path, **options())
    return Exported(voters, path, record)


@pytest.fixture
def failing(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path with an earlier export on it, and an exporter that is quick because its result is ready."""
    model = onnx.load(str(exported.path))
    monkeypatch.setattr(ensemble, "_to_onnx", lambda networks, card, images: model)
    (tmp_path / "vote.onnx").write_text("earlier file")
    (tmp_path / "vote.json").write_text("earlier record")
    return tmp_path / "vote.onnx"


def assert_untouched(path: Path) -> None:
    assert path.read_text() == "earlier file"
    assert path.with_suffix(".json").read_text() == "earlier record"
    assert sorted(file.name for file in path.parent.iterdir()) == ["vote.json", "vote.onnx"]


@pytest.mark.parametrize("images", [1, 5])
def test_the_file_counts_the_vote(exported: Exported, images: int) -> None:
    given = {side: digits(side)[:images] for side in SIDES}
    found = OnnxEnsemble(exported.path).probabilities({f"images_{side}": some.numpy() for side, some in given.items()})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_vote(exported.members, given), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_the_record_lies_beside_the_file(exported: Exported) -> None:
    record = json.loads(exported.path.with_suffix(".json").read_text())
    assert record == dataclasses.asdict(exported.record)
    assert record["sha256"] == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert record["bytes"] == exported.path.stat().st_size
    assert (record["images_compared"], record["real_images"], record["top1_agreement"]) == (70, True, 1)
    assert record["max_abs_difference"] < 1e-5
    assert record["inputs"] == {f"images_{side}": {"resolution": side, "view": "plain"} for side in SIDES}
    assert [member["weight"] for member in record["members"]] == [0.5, 0.2, 0.3]
    assert [member["temperature"] for member in record["members"]] == [1.0, 0.5, 2.0]
    for member, voter in zip(record["members"], exported.members, strict=True):
        assert Arch.from_dict(member["arch"]).name == member["name"] == voter.name
    assert sorted(file.name for file in exported.path.parent.iterdir()) == ["vote.json", "vote.onnx"]


def test_the_file_describes_itself_and_nothing_else(exported: Exported) -> None:
    card = OnnxEnsemble(exported.path).card
    assert (card.name, card.classes, card.mean, card.std, card.in_chans) == ("vote", tuple(CLASSES), (0.3,), (0.35,), 1)
    assert card.members == tuple(exported.record.members)
    model = onnx.load(str(exported.path))
    assert [given.name for given in model.graph.input] == ["images_12", "images_16"]
    assert [made.name for made in model.graph.output] == ["probabilities"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert b".py" not in exported.path.read_bytes()


def test_one_resolution_needs_one_input(exported: Exported, tmp_path: Path) -> None:
    twins = [replace(member, weight=0.5) for member in exported.members if member.resolution == 16]
    record = export_ensemble_onnx(twins, tmp_path / "twins.onnx", **options(verify_images=None))
    assert record.inputs == {"images": {"resolution": 16, "view": "plain"}}
    assert (record.images_compared, record.real_images) == (16, False)
    found = OnnxEnsemble(tmp_path / "twins.onnx").probabilities({"images": digits(16).numpy()})
    np.testing.assert_allclose(found, slow_vote(twins, {16: digits(16)}), atol=1e-5)


def test_a_network_with_two_views_is_in_the_file_once_and_reads_two_inputs(exported: Exported, tmp_path: Path) -> None:
    plain = replace(exported.members[0], weight=0.7)
    twin = replace(plain, name="twin", weight=0.3, temperature=2.0, view="zoomed-mirrored")
    both = {EnsembleInput(16): digits(16), EnsembleInput(16, "zoomed-mirrored"): digits(16).flip(0)}
    record = export_ensemble_onnx([plain, twin], tmp_path / "twins.onnx", **options(verify_images=both))
    assert [member["view"] for member in record.members] == ["plain", "zoomed-mirrored"]
    assert list(record.inputs) == ["images_16", "images_16_zoomed_mirrored"]
    images, other = digits(16)[:9], digits(16)[20:29]
    given = {"images_16": images.numpy(), "images_16_zoomed_mirrored": other.numpy()}
    found = OnnxEnsemble(tmp_path / "twins.onnx").probabilities(given)
    with torch.no_grad():
        logits = [plain.network(some).double() for some in (images, other)]
    np.testing.assert_allclose(found, 0.7 * logits[0].softmax(1) + 0.3 * (logits[1] / 2).softmax(1), atol=1e-5)
    alone = export_ensemble_onnx(
        [replace(plain, weight=1.0)], tmp_path / "alone.onnx", **options(verify_images={EnsembleInput(16): digits(16)})
    )
    assert record.bytes < 1.2 * alone.bytes


def test_pixels_in_class_names_out(exported: Exported) -> None:
    random = np.random.default_rng(0)
    pixels = {side: random.integers(0, 256, (3, side, side, 1), dtype=np.uint8) for side in SIDES}
    normalised = {
        side: (torch.as_tensor(some).permute(0, 3, 1, 2) / 255 - MEAN[0]) / STD[0] for side, some in pixels.items()
    }
    predictions = OnnxEnsemble(exported.path).predict({f"images_{side}": pixels[side] for side in SIDES}, top=3)
    for prediction, row in zip(predictions, slow_vote(exported.members, normalised), strict=True):
        best = np.argsort(-row)[:3]
        assert prediction.classes == tuple(CLASSES[index] for index in best)
        assert prediction.probabilities == pytest.approx(row[best], abs=1e-5)


def test_images_that_do_not_fit_are_refused(exported: Exported) -> None:
    opened = OnnxEnsemble(exported.path)
    with pytest.raises(DataError, match="vote takes images_12 and images_16, not images_16"):
        opened.probabilities({"images_16": digits(16).numpy()})
    with pytest.raises(DataError, match="vote takes images_12 and images_16, not images"):
        opened.predict({"images": np.zeros((1, 12, 12, 1), np.uint8)})
    with pytest.raises(DataError, match="the same images for every input, not 2 and 3"):
        opened.probabilities({"images_12": digits(12)[:2].numpy(), "images_16": digits(16)[:3].numpy()})
    with pytest.raises(DataError, match=r"vote takes uint8 images of shape \(16, 16, 1\)"):
        opened.predict({f"images_{side}": np.zeros((1, 12, 12, 1), np.uint8) for side in SIDES})


def test_the_networks_are_not_changed(failing: Path, exported: Exported) -> None:
    voters = exported.members
    before = [{key: value.clone() for key, value in voter.network.state_dict().items()} for voter in voters]
    voters[0].network.train()
    export_ensemble_onnx(voters, failing, **options())
    assert voters[0].network.training
    voters[0].network.eval()
    for voter, state in zip(voters, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in voter.network.state_dict().items())


def test_a_file_that_disagrees_is_not_written(failing: Path, exported: Exported) -> None:
    swapped = [exported.members[2], exported.members[1], exported.members[0]]
    with pytest.raises(ExportError, match=r"differs from the vote of its networks by .* nothing was written"):
        export_ensemble_onnx(swapped, failing, **options())
    assert_untouched(failing)


def test_a_vote_that_is_not_finite_is_not_written(failing: Path, exported: Exported) -> None:
    images = shown(*map(digits, SIDES))
    images[EnsembleInput(12)][3, 0, 2, 2] = float("nan")
    with pytest.raises(ExportError, match="differs from the vote of its networks by nan"):
        export_ensemble_onnx(exported.members, failing, **options(verify_images=images))
    assert_untouched(failing)


def test_an_interrupted_export_leaves_the_earlier_file(
    failing: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "compare_ensemble", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_ensemble_onnx(exported.members, failing, **options())
    assert_untouched(failing)


@pytest.mark.parametrize(
    ("weights", "temperature", "message"),
    [
        ([0.5, 0.2, 0.2], 1.0, "must not be negative and sum to one"),
        ([1.5, -0.5, 0.0], 1.0, "must not be negative and sum to one"),
        ([float("nan"), 0.5, 0.5], 1.0, "must not be negative and sum to one"),
        ([0.5, 0.2, 0.3], 0.0, "must be positive numbers"),
        ([0.5, 0.2, 0.3], float("inf"), "must be positive numbers"),
        ([], 1.0, "vote has no members"),
    ],
)
def test_a_vote_that_cannot_be_counted_is_refused(
    failing: Path, exported: Exported, weights: list[float], temperature: float, message: str
) -> None:
    pairs = zip(exported.members, weights, strict=False)
    voters = [replace(voter, weight=weight, temperature=temperature) for voter, weight in pairs]
    with pytest.raises(ExportError, match=message):
        export_ensemble_onnx(voters, failing, **options())
    assert_untouched(failing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": CLASSES[:9]}, "vote has 10 outputs but 9 class names were given"),
        ({"mean": [0.5] * 3}, "mean and std of vote need 1 values each"),
        ({"verify_images": {EnsembleInput(16): digits(16)}}, "needed as 12 px plain and 16 px plain, not 16 px plain"),
        ({"verify_images": shown(digits(12)[:3], digits(16))}, r"the same for every input, not \[3, 70\]"),
        ({"verify_images": shown(digits(16), digits(16))}, r"have shape \(70, 1, 16, 16\), not \(N, 1, 12, 12\)"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    failing: Path, exported: Exported, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        export_ensemble_onnx(exported.members, failing, **options(**changes))
    assert_untouched(failing)


def test_the_suffix_is_fixed(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"must end in \.onnx"):
        export_ensemble_onnx(exported.members, tmp_path / "vote.pt", **options())


def test_a_file_of_before_views_is_refused_when_it_is_opened(exported: Exported, tmp_path: Path) -> None:
    model = onnx.load(str(exported.path))
    for given in model.metadata_props:
        given.value = given.value.replace('"view": "plain"', '"mirrored": false')
    onnx.save(model, str(tmp_path / "old.onnx"))
    with pytest.raises(FileFormatError, match="its members do not say what they are shown"):
        OnnxEnsemble(tmp_path / "old.onnx")


def test_the_reader_of_networks_refuses_it(exported: Exported) -> None:
    with pytest.raises(FileFormatError, match="does not describe its input and classes"):
        OnnxNetwork(exported.path)
