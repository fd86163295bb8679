"""`ofa export ensemble=...`: by name or by milliseconds, as one file or side by side, and what cannot be exported."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from onceforall import cli
from onceforall.commands.ensemble_argument import parse_ensemble
from onceforall.cost import describe_machine
from onceforall.deploy import OnnxEnsemble, OnnxNetwork
from onceforall.errors import ConfigError, FileFormatError, RunError
from onceforall.files import write_json
from onceforall.run import Run

QUICK = ["images=32", "measure=false"]


def output(capsys, *words: str) -> str:
    capsys.readouterr()
    code = cli.main(words)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def error(capsys, *words: str) -> str:
    capsys.readouterr()
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    return printed.err


def entry(name: str, networks: list[str], latency_ms: float, top1: float, weights: list[float] | None = None) -> dict:
    on_images = {"holdout_top1": top1, "holdout_top1_error": 0.01, "test_top1": None, "test_top1_error": None}
    return {"name": name, "networks": networks, "weights": weights, "latency_ms": latency_ms, **on_images}


def result(run: Run) -> dict:
    """Ensembles of three networks: of 8 pixels twice, of 16 pixels once."""
    small, large = run.space().smallest, run.space().largest
    archs = [small, next(a for a in run.space().sample_many(50, np.random.default_rng(0)) if a.resolution == 8), large]
    a, b, c = names = [arch.name for arch in archs]
    assert [arch.resolution for arch in archs] == [8, 8, 16]
    networks = [
        {
            "name": arch.name,
            "arch": arch.to_dict(),
            "latency_ms": float(ms),
            "temperature": temperature,
            "view": "plain",
        }
        for arch, ms, temperature in zip(archs, (1, 2, 3), (1.0, 0.5, 2.0), strict=True)
    ]
    summed = [
        entry("summed-00", [a], 1.0, 0.80),
        entry("summed-01", [a, b], 3.0, 0.85),
        entry("summed-02", names, 6.0, 0.90, [2.0, 1.0, 1.0]),
    ]
    maximal = [entry("maximal-00", [a, b], 2.0, 0.85), entry("maximal-01", [b, c], 3.0, 0.88)]
    return {
        "name": "ensembles",
        "device": "onnxruntime",
        "weights_digest": run.weights_digest(),
        "calibration_images": 100,
        "batch_size": 50,
        "networks": networks,
        "rules": {"summed": {"ensembles": {"members": summed}}, "maximal": {"ensembles": {"members": maximal}}},
    }


@pytest.fixture
def voting(measured):
    """The measured run with ensembles, which are gone again after the test, as are the files exported from them."""
    kept = measured.deploy_path("kept", "").parent
    before = set(kept.iterdir()) if kept.is_dir() else set()
    write_json(measured.ensembles_path("ensembles"), result(measured))
    yield measured
    shutil.rmtree(measured.folder / "ensembles")
    for path in set(kept.iterdir()) - before if kept.is_dir() else set():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not before and kept.is_dir():
        kept.rmdir()


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_an_ensemble_by_name(voting):
    found = parse_ensemble(voting, "summed-02")
    assert (found.name, found.rule, found.result, found.device) == ("summed-02", "summed", "ensembles", "onnxruntime")
    assert [arch.name for arch in found.archs] == [network["name"] for network in result(voting)["networks"]]
    assert found.weights == (0.5, 0.25, 0.25)
    assert found.temperatures == (1.0, 0.5, 2.0)
    assert (found.latency_ms, found.calibration_images, found.batch_size) == (6.0, 100, 50)
    assert parse_ensemble(voting, "maximal-00").weights == (0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("summed:4.5", "summed-01"),
        ("summed:1", "summed-00"),
        ("summed:100", "summed-02"),
        ("maximal:2.9", "maximal-00"),
        ("ensembles/maximal:3", "maximal-01"),
    ],
)
def test_the_most_accurate_within_milliseconds(voting, text, name):
    assert parse_ensemble(voting, text).name == name


def test_the_newest_result_unless_another_is_named(voting):
    other = result(voting)
    other["name"] = "other"
    other["rules"] = {
        "summed": {"ensembles": {"members": [entry("summed-07", [other["networks"][0]["name"]], 1, 0.5)]}}
    }
    write_json(voting.ensembles_path("other"), other)
    later = voting.ensembles_path("ensembles").stat().st_mtime + 10
    os.utime(voting.ensembles_path("other"), (later, later))
    assert voting.ensembles() == ["other", "ensembles"]
    assert parse_ensemble(voting, "summed-07").result == "other"
    assert parse_ensemble(voting, "ensembles/summed-01").result == "ensembles"
    with pytest.raises(ConfigError, match="no 'maximal' ensembles; other holds summed ones only"):
        parse_ensemble(voting, "maximal:3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summed-20", "no such ensemble in ensembles; did you mean summed-0"),
        ("phone", "no such ensemble in ensembles; there is summed-00, summed-01"),
        ("ensemble/summed-01", "no result 'ensemble' in .*; did you mean ensembles?"),
        ("../up/summed-01", "name=../up: a plain file name is needed"),
        ("sumed:4.5", "no 'sumed' ensembles; use summed or maximal"),
        ("summed:fast", "'fast' is no number of milliseconds; for example summed:4.5"),
        ("summed:0.5", r"no summed ensemble within 0\.5 ms; the fastest takes 1 ms"),
        ("summed:nan", "no summed ensemble within nan ms"),
        ("", "no such ensemble"),
    ],
)
def test_ensembles_that_are_not_there(voting, text, message):
    with pytest.raises(ConfigError, match=message):
        parse_ensemble(voting, text)


def test_no_ensembles_yet(measured):
    with pytest.raises(ConfigError, match="has no ensembles yet; choose some with: ofa ensemble run="):
        parse_ensemble(measured, "summed-00")


def test_ensembles_of_other_weights_or_another_file(voting):
    write_json(voting.ensembles_path("ensembles"), result(voting) | {"weights_digest": "other"})
    with pytest.raises(RunError, match=f"chosen with other weights .* ofa ensemble run={voting.folder} name=ensembles"):
        parse_ensemble(voting, "summed-00")
    for broken in ({"front": []}, [1], result(voting) | {"networks": []}):
        write_json(voting.ensembles_path("ensembles"), broken)
        with pytest.raises(FileFormatError, match=r"ensembles\.json is no result of `ofa ensemble`"):
            parse_ensemble(voting, "summed-00")


def test_a_summed_ensemble_is_one_file(voting, capsys):
    out = output(capsys, "export", f"run={voting.folder}", "ensemble=summed:100", "images=40")
    path = voting.deploy_path("summed-02", ".onnx")
    record = json.loads(path.with_suffix(".json").read_text())
    assert (record["ensemble"], record["rule"], record["together"]) == ("summed-02", "summed", True)
    assert (record["promised_latency_ms"], record["holdout_top1"], record["test_top1"]) == (6.0, 0.9, None)
    assert record["latency_ms"] > 0
    assert record["cores"] == describe_machine()["usable_cores"]
    assert record["images_compared"] == 40
    assert record["max_abs_difference"] < 1e-4
    assert [member["weight"] for member in record["members"]] == [0.5, 0.25, 0.25]
    assert "promised 6 ms on onnxruntime one after the other, measured here" in out
    assert "40 images" in out
    assert not voting.deploy_path("summed-02", "").exists()

    opened = OnnxEnsemble(path)
    assert opened.card.classes == tuple(voting.load_data().classes)
    assert opened.card.test_transform == record["test_transform"] == "whole"
    pixels = {name: np.zeros((2, size, size, 1), np.uint8) for name, (size, _) in opened.card.inputs.items()}
    assert list(pixels) == ["images_8", "images_16"]
    assert sum(opened.predict(pixels, top=10)[0].probabilities) == pytest.approx(1)


def test_the_statistics_are_those_the_ensemble_was_chosen_with(voting, capsys):
    from onceforall.commands.export import test_images as images_of
    from onceforall.train.evaluate import calibrated_network

    found, source = parse_ensemble(voting, "summed-01"), voting.load_data()
    output(capsys, "export", f"run={voting.folder}", "ensemble=summed-01", "name=kept", "calibration_images=7", *QUICK)
    images = images_of(source, 8, 16, "plain")
    expected = 0
    for arch, temperature in zip(found.archs, (1.0, 0.5), strict=True):
        network = calibrated_network(voting.load_supernet(), arch, source, calibration_images=100, batch_size=50)
        expected = expected + (network(images) / temperature).softmax(1).detach().numpy() / 2
    exported = OnnxEnsemble(voting.deploy_path("kept", ".onnx"))
    np.testing.assert_allclose(exported.probabilities({"images": images.numpy()}), expected, atol=1e-5)


def test_a_maximal_ensemble_is_a_file_for_each_member(voting, capsys, monkeypatch):
    import onceforall.cost

    machine = describe_machine() | {"usable_cores": 1}
    monkeypatch.setattr(onceforall.cost, "describe_machine", lambda: machine)
    out = output(capsys, "export", f"run={voting.folder}", "ensemble=maximal-01", "images=40")
    record = json.loads(voting.deploy_path("maximal-01", ".json").read_text())
    assert (record["together"], record["file"], record["resolutions"]) == (False, "maximal-01/", [8, 16])
    assert record["files"] == [member["file"] for member in record["members"]]
    assert record["latency_ms"] > 0
    assert record["test_transform"] == "whole"
    for member in record["members"]:
        opened = OnnxNetwork(voting.folder / "deploy" / member["file"])
        assert opened.card.test_transform == "whole"
        assert opened.card.resolution == member["resolution"]
        assert (voting.folder / "deploy" / member["file"]).stat().st_size == member["bytes"]
        assert member["weight"] == 0.5
    assert [member["temperature"] for member in record["members"]] == [0.5, 2.0]
    assert "promised 3 ms on onnxruntime side by side, measured here" in out
    assert "2 members with 1 thread each have 1 cores only" in out


def test_members_with_other_views_have_inputs_of_their_own(voting, capsys):
    found = result(voting)
    plain = found["networks"][0]
    twin = plain | {"name": f"{plain['name']}-mirrored", "view": "mirrored"}
    found["networks"].append(twin)
    found["rules"]["maximal"]["ensembles"]["members"] = [entry("maximal-00", [plain["name"], twin["name"]], 1.0, 0.8)]
    write_json(voting.ensembles_path("ensembles"), found)
    output(capsys, "export", f"run={voting.folder}", "ensemble=maximal-00", *QUICK)
    files = [voting.folder / "deploy" / "maximal-00" / f"{name}.onnx" for name in (plain["name"], twin["name"])]
    images = np.random.default_rng(0).standard_normal((5, 1, 8, 8), dtype=np.float32)
    as_it_is, same_network = (OnnxNetwork(file).logits(images) for file in files)
    np.testing.assert_array_equal(as_it_is, same_network)
    assert [OnnxNetwork(file).card.view for file in files] == ["plain", "mirrored"]
    record = json.loads(voting.deploy_path("maximal-00", ".json").read_text())
    assert [member["view"] for member in record["members"]] == ["plain", "mirrored"]
    output(capsys, "export", f"run={voting.folder}", "ensemble=maximal-00", "together=true", "name=one", *QUICK)
    opened = OnnxEnsemble(voting.deploy_path("one", ".onnx"))
    assert opened.card.inputs == {"images_8": (8, "plain"), "images_8_mirrored": (8, "mirrored")}
    vote = opened.probabilities({"images_8": images, "images_8_mirrored": images[..., ::-1]})
    logits = [torch.from_numpy(OnnxNetwork(files[0]).logits(some)) for some in (images, images[..., ::-1])]
    np.testing.assert_allclose(vote, sum(some.softmax(1) for some in logits) / 2, atol=1e-5)


def test_together_changes_the_form_and_the_earlier_one_goes(voting, capsys):
    words = ["export", f"run={voting.folder}", "ensemble=maximal-00", "name=mine", *QUICK]
    folder = voting.folder / "deploy"
    output(capsys, *words)
    members = [f"{name}{ending}" for name in result(voting)["rules"]["maximal"]["ensembles"]["members"][0]["networks"]
               for ending in (".json", ".onnx")]  # fmt: skip
    assert names_in(folder / "mine") == sorted(members)
    assert f"removed: {folder / 'mine'}, which" in output(capsys, *words, "together=true")
    assert not (folder / "mine").exists()
    assert OnnxEnsemble(folder / "mine.onnx").card.inputs == {"images": (8, "plain")}
    assert f"removed: {folder / 'mine.onnx'}, which" in output(capsys, *words, "together=false")
    assert names_in(folder / "mine") == sorted(members)
    assert not (folder / "mine.onnx").exists()
    assert "latency_ms" not in json.loads((folder / "mine.json").read_text())


def test_a_member_that_disagrees_leaves_everything_as_it_was(voting, capsys, monkeypatch, unchanged):
    from onceforall.deploy import export as export_room
    from onceforall.deploy.verify import Agreement

    words = ["export", f"run={voting.folder}", "ensemble=maximal-00", *QUICK]
    output(capsys, *words)
    verdicts = iter([Agreement(0.0, 1.0, 1.0, 32), Agreement(9.0, 1.0, 0.0, 32)])
    monkeypatch.setattr(export_room, "compare", lambda *_: next(verdicts))
    with unchanged(voting.folder):
        assert "nothing was written" in error(capsys, *words)
    assert not [path for path in (voting.folder / "deploy").iterdir() if path.name.startswith(".")]


def test_a_folder_of_something_else_is_not_replaced(voting, capsys, unchanged):
    folder = voting.deploy_path("holiday", "")
    folder.mkdir(parents=True)
    (folder / "photo.jpg").write_text("not an export")
    for together in ("true", "false"):
        words = ["ensemble=maximal-00", "name=holiday", f"together={together}", *QUICK]
        with unchanged(voting.folder):
            assert "no earlier export of an ensemble" in error(capsys, "export", f"run={voting.folder}", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ensemble=summed-01", "arch=largest"], "arch=largest and ensemble=summed-01: give one of them"),
        (["ensemble=summed-01", "finetuned=true"], "finetuned=true is for arch=..."),
        (["ensemble=summed-01", "name=../up"], "name=../up: a plain file name"),
        (["ensemble=summed-01", "images=0"], "images=0: must be 1 or greater"),
        (["ensemble=summed-01", "format=pickle"], "format=pickle: use onnx"),
        (["ensemble=summed-99"], "did you mean summed-0"),
        (["arch=largest", "together=true"], "together=true belongs to ensemble=NAME"),
    ],
)
def test_options_that_make_no_sense(voting, capsys, unchanged, words, message):
    with unchanged(voting.folder):
        assert message in error(capsys, "export", f"run={voting.folder}", *words)


def test_the_report_shows_both_forms(voting, capsys):
    for words in (["ensemble=summed-01"], ["ensemble=maximal-00"]):
        output(capsys, "export", f"run={voting.folder}", *words, *QUICK)
    from onceforall.report.reading import read_run

    contents = read_run(voting.folder)
    assert {"summed-01.onnx", "maximal-00/"} <= {record["file"] for record in contents.exports}
    assert not [note for note in contents.notes if note.startswith("deploy")]
