"""`ofa ensemble` on a small trained run: tables, result, resumption, published files, and mistakes."""

import json
import shutil

import numpy as np
import pytest

from onceforall import cli
from onceforall.commands import ensemble as command
from onceforall.commands.ensemble_screen import limits_of
from onceforall.commands.prediction_tables import candidates_of, predictions_path
from onceforall.configuration import compose
from onceforall.data import VIEWS, DataConfig, load_data
from onceforall.errors import FileFormatError
from onceforall.run import Run
from onceforall.search.ensemble.tables import PredictionTable

WORDS = ["calibration_images=60", "networks=6"]


@pytest.fixture(scope="module")
def run(searched, tmp_path_factory) -> Run:
    """A run with a search, and ensembles of it: of networks that see images as they are, before them in two views."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    shutil.copytree(searched.folder, folder)
    assert cli.main(["ensemble", f"run={folder}", *WORDS, "views=[plain,mirrored]", "name=both"]) == 0
    assert cli.main(["ensemble", f"run={folder}", *WORDS]) == 0
    return Run(folder)


def result(run: Run, name: str = "ensembles") -> dict:
    return json.loads(run.ensembles_path(name).read_text())


@pytest.mark.parametrize(("name", "voters"), [("ensembles", 6), ("both", 12)])
def test_the_result_is_what_the_tables_say(run, name, voters):
    found = result(run, name)
    assert len(found["networks"]) == voters
    for part, images in (("holdout", found["holdout_images"]), ("test", found["test_images"])):
        each = {}
        for network in found["networks"]:
            table = PredictionTable(predictions_path(run, part, network["view"]))
            assert table.damaged() == []
            assert len(table.labels) == images
            assert table.images == sorted(table.images)
            values = table.probabilities(network["name"].removesuffix("-mirrored")).astype(np.float64)
            each[network["name"]] = values ** (1 / network["temperature"])
        each = {name: values / values.sum(axis=1, keepdims=True) for name, values in each.items()}
        for record in found["rules"].values():
            for entry in [*record["singles"]["members"], *record["ensembles"]["members"]]:
                weights = entry["weights"] or [1] * len(entry["networks"])
                vote = sum(w * each[name] for w, name in zip(weights, entry["networks"], strict=True))
                assert entry[f"{part}_top1"] == pytest.approx((vote.argmax(1) == table.labels).mean())
        for network in found["networks"]:
            alone = (each[network["name"]].argmax(1) == table.labels).mean()
            assert network[f"{part}_top1"] == pytest.approx(alone)
    latency = {network["name"]: network["latency_ms"] for network in found["networks"]}
    for rule, total in (("summed", sum), ("maximal", max)):
        for entry in found["rules"][rule]["ensembles"]["members"]:
            assert entry["latency_ms"] == pytest.approx(total(latency[name] for name in entry["networks"]))
        singles = [entry["networks"] for entry in found["rules"][rule]["singles"]["members"]]
        assert not [name for (name,) in singles if name.endswith("-mirrored")]


def test_networks_are_predicted_once(run, capsys, monkeypatch):
    from onceforall.train import predictions

    before = result(run, "both")
    monkeypatch.setattr(predictions, "_probabilities", lambda *_: pytest.fail("predicted again"))
    assert cli.main(["ensemble", f"run={run.folder}", *WORDS, "views=[plain,mirrored]", "name=again"]) == 0
    printed = capsys.readouterr().out
    assert "side by side" in printed
    assert "one after the other" in printed
    after = result(run, "again")
    for found in (before, after):
        for record in found["rules"].values():
            del record["seconds"]
    assert after == before | {"name": "again"}
    run.ensembles_path("again").unlink()


def test_a_stopped_collection_goes_on_with_the_networks_that_are_missing(run, tmp_path, monkeypatch):
    from onceforall.train import predictions

    shutil.copytree(run.folder, tmp_path / "run")
    stopped = Run(tmp_path / "run")
    whole = (stopped.folder / "ensembles" / "predictions" / "holdout.npy").read_bytes()
    shutil.rmtree(stopped.folder / "ensembles")
    real, calls = predictions._probabilities, []

    def failing(networks, batches, views):
        calls.append(len(networks))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(networks, batches, views)

    monkeypatch.setattr(predictions, "_probabilities", failing)
    assert cli.main(["ensemble", f"run={stopped.folder}", *WORDS]) == 130
    assert not stopped.ensembles_path("ensembles").exists()
    table = PredictionTable(stopped.folder / "ensembles" / "predictions" / "holdout")
    assert len(table.missing) == 4
    assert cli.main(["ensemble", f"run={stopped.folder}", *WORDS]) == 0
    assert len(calls) == 3 + 4 + 6
    assert (stopped.folder / "ensembles" / "predictions" / "holdout.npy").read_bytes() == whole


@pytest.mark.parametrize(
    ("words", "flip", "mirror", "expected"),
    [
        ([], None, True, ["plain", "mirrored"]),
        ([], None, False, ["plain"]),
        ([], True, False, ["plain", "mirrored"]),
        ([], False, True, ["plain"]),
        (["preset=ofa3_max"], None, True, ["plain"]),
        (["criterion=accuracy"], None, True, ["plain"]),
        (["criterion=accuracy", "views=[zoomed,plain]"], None, False, ["plain", "zoomed"]),
        (["views=[plain]"], None, True, ["plain"]),
    ],
)
def test_networks_are_shown_what_training_showed(run, monkeypatch, words, flip, mirror, expected):
    source, trained = run.load_data(), run.read_config()
    trained.augment.flip = flip
    source.train.mirror = mirror
    monkeypatch.setattr(Run, "read_config", lambda self: trained)
    assert command._views(compose("ensemble", command.EnsembleConfig, words), run, source) == expected


@pytest.mark.parametrize(("crop_scale", "expected"), [(0.25, list(VIEWS)), (1, ["plain", "mirrored"])])
def test_photos_are_also_shown_zoomed_where_training_showed_parts(
    run, tmp_path, monkeypatch, write_photos, crop_scale, expected
):
    source, trained = load_data(DataConfig(root=str(write_photos(tmp_path)))), run.read_config()
    trained.augment.crop_scale = crop_scale
    monkeypatch.setattr(Run, "read_config", lambda self: trained)
    assert command._views(command.EnsembleConfig(), run, source) == expected


def test_equally_many_images_of_each_class(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    words = [*WORDS, "per_class=3", "rule=maximal"]
    assert cli.main(["ensemble", f"run={tmp_path}/run", *words]) == 0
    holdout, test = (PredictionTable(tmp_path / "run" / "ensembles" / "predictions" / p) for p in ("holdout", "test"))
    whole = PredictionTable(run.folder / "ensembles" / "predictions" / "holdout")
    assert np.bincount(holdout.labels).tolist() == [3] * 10
    for label in range(10):
        names = [name for name, one in zip(whole.images, whole.labels, strict=True) if one == label]
        assert [name for name, one in zip(holdout.images, holdout.labels, strict=True) if one == label] == names[:3]
    assert len(test.labels) == result(run)["test_images"]


def test_other_criteria_and_presets(run):
    assert any(network["temperature"] != 1 for network in result(run)["networks"])
    assert cli.main(["ensemble", f"run={run.folder}", *WORDS, "criterion=accuracy", "name=counted"]) == 0
    counted = result(run, "counted")
    assert all(network["temperature"] == 1 for network in counted["networks"])
    for record in counted["rules"].values():
        assert record["singles"]["holdout_hypervolume"] <= record["ensembles"]["holdout_hypervolume"]
    from onceforall.search.ensemble import published

    short = {name: published.Preset(p.rule, p.at_least, generations=5) for name, p in published.PRESETS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "PRESETS", short)
        words = ["preset=ofa3_summed", "algorithm=spea2", "name=published", "seed=1"]
        assert cli.main(["ensemble", f"run={run.folder}", *WORDS, *words]) == 0
    published_result = result(run, "published")
    assert published_result["settings"]["algorithm"] == "spea2"
    assert published_result["settings"]["seed"] == 1
    found = published_result["rules"]
    assert list(found) == ["summed"]
    assert all(len(entry["networks"]) >= 2 for entry in found["summed"]["ensembles"]["members"])
    for name in ("counted", "published"):
        run.ensembles_path(name).unlink()


def test_an_ensemble_is_evaluated_as_it_was_promised(run, capsys):
    words = ["views=[plain,mirrored]", "at_least=2", "rule=maximal", "name=pairs"]
    assert cli.main(["ensemble", f"run={run.folder}", *WORDS, *words]) == 0
    known = result(run, "pairs")
    entry = known["rules"]["maximal"]["ensembles"]["members"][0]
    assert {name.removesuffix("-mirrored") for name in entry["networks"]} == {known["networks"][0]["name"]}
    assert cli.main(["evaluate", f"run={run.folder}", f"ensemble=pairs/{entry['name']}"]) == 0
    assert entry["name"] in capsys.readouterr().out
    path = run.folder / "evaluate" / "ensembles" / f"pairs-{entry['name']}-test.json"
    found = json.loads(path.read_text())
    assert found["top1"] == pytest.approx(entry["test_top1"])
    assert found["networks"] == entry["networks"]
    assert (found["result"], found["part"], found["images"]) == ("pairs", "test", known["test_images"])
    alone = {network["name"]: network["test_top1"] for network in known["networks"]}
    assert found["member_top1"] == pytest.approx([alone[name] for name in entry["networks"]])
    run.ensembles_path("pairs").unlink()
    assert cli.main(["evaluate", f"run={run.folder}", f"ensemble={entry['name']}", "all=true"]) == 2


@pytest.mark.parametrize("view", [None, "upside-down", ["plain"]])
def test_a_result_that_does_not_say_what_networks_are_shown_is_refused(run, tmp_path, capsys, view):
    shutil.copytree(run.folder, tmp_path / "run")
    path = Run(tmp_path / "run").ensembles_path("ensembles")
    found = json.loads(path.read_text())
    for network in found["networks"]:
        network["view"] = view
        if view is None:
            del network["view"]
    path.write_text(json.dumps(found))
    name = found["rules"]["maximal"]["ensembles"]["members"][0]["name"]
    assert cli.main(["evaluate", f"run={tmp_path}/run", f"ensemble=ensembles/{name}"]) == 2
    assert "does not say what its networks are shown" in capsys.readouterr().err


@pytest.mark.parametrize("views", [["plain"], ["plain", "mirrored"]])
def test_published_files_there_and_back(run, tmp_path, capsys, views):
    words = [f"write_csv={tmp_path}/csv", "name=csv", f"views=[{','.join(views)}]"]
    assert cli.main(["ensemble", f"run={run.folder}", *WORDS, *words]) == 0
    known = result(run, "csv")
    run.ensembles_path("csv").unlink()
    latencies = tmp_path / "latencies.txt"
    latencies.write_text("\n".join(str(network["latency_ms"]) for network in known["networks"]))
    words = [f"holdout_csv={tmp_path}/csv/holdout", f"test_csv={tmp_path}/csv/test", f"latencies={latencies}"]
    assert cli.main(["ensemble", *words, f"out={tmp_path}/out.json"]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    # Five of ten classes are left, which changes votes a little and single networks not at all.
    for one, other in zip(known["networks"], found["networks"], strict=True):
        assert (one["holdout_top1"], one["test_top1"]) == (other["holdout_top1"], other["test_top1"])
    latencies.write_text("[1.0, 2.0]")
    capsys.readouterr()
    assert cli.main(["ensemble", *words, f"out={tmp_path}/other.json"]) == 2
    assert f"{6 * len(views)} networks and 2 latencies" in capsys.readouterr().err
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rule=mean"], "use both, summed, maximal"),
        (["preset=ofa4"], "use ofa3_summed, ofa3_max"),
        (["criterion=luck"], "use likelihood, accuracy"),
        (["views=[plain,upside-down]"], "views: 'upside-down' is none; use plain, mirrored, zoomed"),
        (["views=[plain,zoomed]"], "zoomed views are cut out of photos"),
        (["views=[mirrored]"], "views=[mirrored]: each once, plain among them"),
        (["views=[plain,plain]"], "views=[plain,plain]: each once"),
        (["lead=-1"], "lead=-1.0: must be 0 or greater"),
        (["lead=nan"], "lead=nan: must be 0 or greater, and finite"),
        (["lead=inf"], "lead=inf: must be 0 or greater, and finite"),
        (["lead=2", "at_least=2"], "lead=2.0: only with at_least=1"),
        (["lead=2", "criterion=accuracy"], "lead=2.0: only with criterion=likelihood"),
        (["networks=1"], "networks=1: must be 2 or greater"),
        (["search=absent"], "no search 'absent'"),
        (["name=../up"], "a plain file name"),
        (["latencies=file"], "latencies=file: only with holdout_csv=FOLDER"),
        (["holdout_csv=folder"], "holdout_csv needs"),
    ],
)
def test_mistakes(run, words, message, capsys, unchanged):
    with unchanged(run.folder):
        assert cli.main(["ensemble", f"run={run.folder}", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("latency", "message"),
    [
        (None, "has no latency; measure this machine"),
        ("fast", "is 'fast', not milliseconds"),
        (float("nan"), "is nan, not milliseconds"),
        (0.0, "is 0.0, not milliseconds"),
    ],
)
def test_a_network_without_latency_is_named(run, tmp_path, capsys, latency, message):
    shutil.copytree(run.folder, tmp_path / "run")
    path = Run(tmp_path / "run").search_path("first")
    found = json.loads(path.read_text())
    for member in [*found["evaluated"], *found["front"]]:
        member["latency_ms"] = latency
    path.write_text(json.dumps(found))
    assert cli.main(["ensemble", f"run={tmp_path}/run"]) == 2
    assert message in capsys.readouterr().err


def test_an_ensemble_needs_two_networks(run, tmp_path, capsys):
    shutil.copytree(run.folder, tmp_path / "run")
    path = Run(tmp_path / "run").search_path("first")
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"front": found["front"][:1], "evaluated": found["front"][:1]}))
    assert cli.main(["ensemble", f"run={tmp_path}/run"]) == 2
    assert "search first has one network only; an ensemble needs two" in capsys.readouterr().err


def test_a_part_of_the_front_keeps_both_ends(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    copied = Run(tmp_path / "run")
    front = [{"name": f"n{k}", "latency_ms": 1.0 + k, "top1": 0.5 + 0.4 * k**0.2 / 5**0.2} for k in range(6)]
    behind = [{"name": "behind", "latency_ms": 5.5, "top1": 0.6}]
    found = {"name": "first", "chosen": None, "front": front, "evaluated": front + behind}
    copied.search_path("first").write_text(json.dumps(found))
    assert [m["name"] for m in candidates_of(copied, "first", 3).members] == ["n0", "n1", "n5"]
    assert [m["name"] for m in candidates_of(copied, "first", 7).members][-2:] == ["behind", "n5"]
    copied.search_path("first").write_text("{}")
    with pytest.raises(FileFormatError, match=r"first\.json is no result of `ofa search`"):
        candidates_of(copied, "first", 3)


def test_the_screen_goes_as_far_as_ensembles_do():
    record = {
        "singles": {"members": [{"latency_ms": 1.0}, {"latency_ms": 2.0}]},
        "ensembles": {"members": [{"latency_ms": 1.0}, {"latency_ms": 32.0}]},
    }
    assert limits_of(record) == pytest.approx([2, 4, 8, 16, 32])
