"""The commands one after the other on a small run: what they print, and the files programs read."""

import json

import numpy as np
import pytest

from onceforall import cli
from onceforall.space import Arch

MEMBER = {"arch", "name", "top1", "top1_error", "macs", "params", "memory_bytes", "measured"}


def output(capsys, *words: str) -> str:
    capsys.readouterr()
    code = cli.main(words)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_evaluate_writes_one_file_per_network(trained, capsys):
    words = ["evaluate", f"run={trained.folder}", "arch=largest,smallest", "images=100", "calibration_images=100"]
    out = output(capsys, *words)
    space = trained.space()
    for label, arch in (("largest", space.largest), ("smallest", space.smallest)):
        found = json.loads(trained.evaluate_path(f"{arch.name}-test-100").read_text())
        assert {*MEMBER, "top5", "loss", "images", "part"} <= set(found)
        assert found["images"] == 100
        assert 0 <= found["top1"] <= found["top5"] <= 1
        assert Arch.from_dict(found["arch"]) == arch
        assert f"{arch.name} {label}" in out
        assert f"{100 * found['top1']:.1f} ±" in out


def test_evaluate_holdout_and_json_agree_with_the_largest(trained, capsys):
    options = ["part=holdout", "images=50", "calibration_images=100"]
    output(capsys, "evaluate", f"run={trained.folder}", "arch=largest", *options)
    path = trained.evaluate_path(f"{trained.space().largest.name}-holdout-50")
    first = path.read_text()
    path.unlink()
    output(capsys, "evaluate", f"run={trained.folder}", f"arch={trained.space().largest.to_json()}", *options)
    assert path.read_text() == first


def test_a_look_at_few_images_leaves_what_was_measured_on_all(trained, capsys):
    words = ["evaluate", f"run={trained.folder}", "arch=smallest", "calibration_images=100"]
    output(capsys, *words)
    path = trained.evaluate_path(f"{trained.space().smallest.name}-test")
    whole = path.read_text()
    output(capsys, *words, "images=50")
    assert path.read_text() == whole
    assert json.loads(path.with_name(f"{path.stem}-50.json").read_text())["images"] == 50
    output(capsys, *words, "images=5000")
    assert path.read_text() == whole
    assert not path.with_name(f"{path.stem}-5000.json").exists()
    path.unlink()


def test_measure_leaves_a_model_of_every_network(measured):
    model = measured.load_latency("onnxruntime")
    space = measured.space()
    predicted = model.predict(space.sample_many(20, np.random.default_rng(0)))
    assert np.isfinite(predicted).all()
    smallest, largest = model.predict([space.smallest, space.largest])
    assert 0 < smallest < largest
    assert measured.latency_path("onnxruntime").with_suffix(".csv").read_text().startswith("key,")
    assert not list((measured.folder / "latency").glob(".*"))


def test_measure_keeps_devices_apart(measured, capsys):
    words = ["rounds=2", "calibration_networks=1", "validation_networks=0", "resolutions=[8]"]
    out = output(capsys, "measure", f"run={measured.folder}", "name=two-threads", "threads=2", *words)
    path = measured.latency_path("two-threads")
    assert measured.load_latency("two-threads").threads == 2
    assert "two-threads.json" in out
    for ending in (".json", ".csv"):
        path.with_name(path.name + ending).unlink()


def test_search_result_is_a_front_within_the_budget(searched):
    found = json.loads(searched.search_path("first").read_text())
    assert len(found["evaluated"]) == 8
    assert found["images"] == 100
    assert {*MEMBER, "latency_ms", "predicted_top1"} <= set(found["front"][0])
    costs = [member["latency_ms"] for member in found["front"]]
    accuracies = [member["top1"] for member in found["front"]]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)
    assert found["chosen"]["top1"] == max(accuracies)
    assert len(searched.labels_path.read_text().splitlines()) >= 8


def test_a_second_search_uses_the_labels_of_the_first(searched, capsys):
    labels = searched.labels_path.read_text()
    words = ["name=again", "budget=8", "calibration_images=100", "images=100"]
    output(capsys, "search", f"run={searched.folder}", *words)
    assert searched.labels_path.read_text() == labels
    first, again = (json.loads(searched.search_path(name).read_text()) for name in ("first", "again"))
    assert again["front"] == first["front"]
    searched.search_path("again").unlink()


def test_search_under_limits_by_predicted_accuracy(searched, capsys):
    limit = int(searched_macs(searched) / 2)
    words = ["score=predicted", "budget=8", "calibration_images=100", "images=100", "front_cost=macs"]
    out = output(capsys, "search", f"run={searched.folder}", f"constraint.macs={limit}", *words)
    path = searched.search_path(f"macs_{limit:.12g}")
    found = json.loads(path.read_text())
    assert found["score"] == "predicted"
    assert not found["chosen"]["measured"]
    assert all(member["macs"] <= limit for member in found["front"])
    assert f"best with macs <= {limit:g}" in out
    path.unlink()


def searched_macs(run) -> int:
    from onceforall.cost import count_macs

    return int(count_macs(run.space(), [run.space().largest])[0])


def test_finetune_and_export(searched, capsys):
    out = output(capsys, "finetune", f"run={searched.folder}", "arch=smallest", "epochs=0.5", "calibration_images=100")
    assert all(label in out for label in ("before, hold-out", "after, hold-out", "after, test"))
    name = searched.space().smallest.name
    described = json.loads(searched.finetune_path(name).with_suffix(".json").read_text())
    assert 0 <= described["after"]["top1"] <= 1
    assert described["test"]["images"] == len(searched.load_data().test)
    assert described["classes"] == [str(number) for number in range(10)]
    words = ["finetuned=true", "images=32", "calibration_images=100", "measure=false"]
    output(capsys, "export", f"run={searched.folder}", "arch=smallest", *words)
    record = json.loads(searched.deploy_path(f"{name}-finetuned", ".json").read_text())
    assert record["top1_agreement"] == 1.0
    assert record["finetuned"] is True
    assert record["test_transform"] == "whole"


def test_export_of_the_choice_runs_in_the_runtime(searched, capsys):
    words = ["images=32", "calibration_images=200"]
    out = output(capsys, "export", f"run={searched.folder}", "arch=chosen", "name=phone", *words)
    record = json.loads(searched.deploy_path("phone", ".json").read_text())
    chosen = json.loads(searched.search_path("first").read_text())["chosen"]
    assert record["arch"] == chosen["arch"]
    assert record["finetuned"] is False
    assert record["images_compared"] == 32
    assert record["max_abs_difference"] < 1e-3
    assert record["latency_ms"] > 0
    assert "phone.onnx" in out

    from onceforall.deploy.backends import OnnxNetwork

    network = OnnxNetwork(searched.deploy_path("phone", ".onnx"))
    source = searched.load_data()
    assert network.card.classes == tuple(source.classes)
    resolution = record["resolution"]
    images = np.zeros((2, resolution, resolution, 1), np.uint8)
    assert network.predict(images)[0].classes[0] in source.classes


def test_export_without_calibration_keeps_the_statistics_of_the_weights(trained, capsys):
    import torch

    from onceforall.deploy.backends import OnnxNetwork

    words = ["arch=smallest", "name=as-trained", "images=32", "calibration_images=0", "measure=false"]
    output(capsys, "export", f"run={trained.folder}", *words)
    arch = trained.space().smallest
    images = torch.randn(4, 1, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(0))
    file = OnnxNetwork(trained.deploy_path("as-trained", ".onnx"))
    network = trained.load_supernet().extract(arch).eval()
    np.testing.assert_allclose(file.logits(images.numpy()), network(images).detach(), atol=1e-3)


def test_report_is_one_page_and_its_path_the_last_line(searched, capsys):
    out = output(capsys, "report", f"run={searched.folder}")
    assert out.splitlines()[-1] == str(searched.report_path)
    page = searched.report_path.read_text()
    assert "<html" in page
    assert searched.space().name in page


def test_training_again_changes_nothing(trained, capsys, unchanged):
    with unchanged(trained.folder):
        out = output(capsys, "train", f"run={trained.folder}")
    assert "has been trained already" in out


def test_quickstart_tells_the_whole_story(tmp_path, capsys):
    folder = tmp_path / "quick"
    out = output(capsys, "quickstart", f"run={folder}", "epochs=1", "budget=8", "rounds=2")
    assert out.rstrip().splitlines()[-1] == str(folder / "report.html")
    for number in range(1, 7):
        assert f"{number}/6" in out
    assert len(list((folder / "deploy").glob("*.onnx"))) in {2, 3}
    with pytest.raises(StopIteration):
        next(path for path in folder.rglob(".*") if path.is_dir())
