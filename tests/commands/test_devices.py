"""`ofa search devices=[...]` and `verify=true` on a small trained run."""

import json
import shutil

import pytest

from onceforall import cli
from onceforall.run import Run

WORDS = ["budget=8", "calibration_images=60", "images=100"]


@pytest.fixture
def run(measured, tmp_path) -> Run:
    """Two devices: the measured one, and one that takes three times as long."""
    shutil.copytree(measured.folder, tmp_path / "digits")
    run = Run(tmp_path / "digits")
    model = json.loads((run.folder / "latency" / "onnxruntime.json").read_text())
    slow = {"scale": 3 * model["affine"]["scale"], "offset": 3 * model["affine"]["offset"]}
    (run.folder / "latency" / "slow.json").write_text(json.dumps(model | {"device": "slow", "affine": slow}))
    return run


def test_a_network_for_each_device(run, capsys):
    largest = float(run.load_latency("onnxruntime").predict([run.space().largest])[0])
    limit = 0.7 * largest
    words = ["devices=[onnxruntime,slow]", f"constraint.latency_ms={limit}", "name=both"]
    assert cli.main(["search", f"run={run.folder}", *words, *WORDS]) == 0
    printed = capsys.readouterr().out
    found = json.loads((run.folder / "devices" / "both.json").read_text())["devices"]
    for device, entry in found.items():
        chosen = entry["chosen"]
        assert chosen["name"] in printed
        assert chosen["latencies_ms"][device] <= limit
        assert chosen["latencies_ms"]["slow"] == pytest.approx(3 * chosen["latencies_ms"]["onnxruntime"])
        alone = json.loads((run.folder / "search" / f"both-{device}.json").read_text())
        assert alone["device"] == device
        assert alone["chosen"]["name"] == chosen["name"]
        rivals = [m for m in alone["evaluated"] if m["latency_ms"] <= limit]
        assert chosen["top1"] == max(member["top1"] for member in rivals)
    assert len(json.loads((run.folder / "search" / "both-slow.json").read_text())["evaluated"]) == len(
        json.loads((run.folder / "search" / "both-onnxruntime.json").read_text())["evaluated"]
    ), "all measured networks count for every device"


def test_predictions_are_checked(run, capsys):
    assert cli.main(["search", f"run={run.folder}", "score=predicted", "verify=true", *WORDS]) == 0
    assert "predicted against measured" in capsys.readouterr().out
    found = json.loads((run.folder / "search" / "front.json").read_text())
    assert found["score"] == "verified"
    assert all(member["measured"] for member in found["front"])


@pytest.fixture
def partial(run) -> Run:
    """The device measured last covers one resolution of three, and labels of all three were collected before."""
    shutil.rmtree(run.folder / "predictor", ignore_errors=True)
    assert cli.main(["predictor", f"run={run.folder}", "labels=12", "sampling=random", *WORDS[1:]]) == 0
    model = json.loads((run.folder / "latency" / "onnxruntime.json").read_text())
    table = [entry for entry in model["table"] if entry["resolution"] == 8]
    newest = {"device": "partial", "table": table, "calibration": {"networks": []}, "validation": None}
    (run.folder / "latency" / "partial.json").write_text(json.dumps(model | newest))
    return run


@pytest.mark.parametrize(
    "words",
    [
        ["search"],
        ["search", "front_cost=macs", "constraint.params=1e9"],
        ["search", "score=predicted", "verify=true"],
        ["search", "devices=[slow,partial]"],
        ["predictor", "labels=8"],
    ],
)
def test_resolutions_that_were_not_measured_are_left_aside(partial, words, capsys):
    before = partial.labels_path.read_text()
    options = [word for word in WORDS if words[0] == "search" or not word.startswith("budget")]
    capsys.readouterr()
    assert cli.main([words[0], f"run={partial.folder}", *words[1:], *options]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("partial: measured at 8 px only, so networks of other resolutions are left aside") == 1
    assert "are of other resolutions than 8 px; not used" in printed
    assert partial.labels_path.read_text().startswith(before), "no label is lost"
    described = json.loads(partial.predictor_path.with_suffix(".json").read_text())
    assert described["space"]["resolutions"] == [8]
    if words[0] == "search":
        found = partial.read_search(partial.searches()[0])
        assert found["device"] == "partial"
        assert found["space"]["resolutions"] == [8]
        for member in [*found["evaluated"], *found["front"], found["chosen"]]:
            assert member["arch"]["resolution"] == 8
            assert member["latency_ms"] > 0


def test_a_front_over_another_cost_needs_no_latency_to_be_learnt(partial, capsys):
    words = ["labels=14", "front_cost=macs", *WORDS[1:]]
    capsys.readouterr()
    assert cli.main(["predictor", f"run={partial.folder}", *words]) == 0
    assert "left aside" not in capsys.readouterr().out
    described = json.loads(partial.predictor_path.with_suffix(".json").read_text())
    assert described["space"]["resolutions"] == [8, 12, 16]
    assert described["quality"]["n_labels"] == len(partial.labels_path.read_text().splitlines())


def test_a_table_of_no_resolution_of_the_run_is_named(partial, capsys, unchanged):
    path = partial.folder / "latency" / "partial.json"
    model = json.loads(path.read_text())
    path.write_text(json.dumps(model | {"table": [entry | {"resolution": 9} for entry in model["table"]]}))
    capsys.readouterr()
    with unchanged(partial.folder):
        assert cli.main(["search", f"run={partial.folder}", *WORDS]) == 2
    assert "partial covers 9 px, no resolution of this space (8, 12, 16); measure it anew" in capsys.readouterr().err


def test_what_follows_a_search_of_some_resolutions(partial):
    assert cli.main(["search", f"run={partial.folder}", "name=some", *WORDS]) == 0
    name = partial.read_search("some")["front"][0]["name"]
    few = ["images=32", "calibration_images=60"]
    for words in (
        ["ensemble", "search=some", *few],
        ["evaluate", f"arch={name},front", *few],
        ["export", "arch=chosen", "measure=false", *few],
        ["export", "ensemble=summed:1000", "measure=false", "images=32"],
        ["report"],
    ):
        assert cli.main([words[0], f"run={partial.folder}", *words[1:]]) == 0, words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["devices=[slow,slow]"], "name different measured devices"),
        (["devices=[]"], "name different measured devices"),
        (["devices=[slow,toaster]"], "no latency model of device 'toaster'"),
        (["devices=[slow,onnxruntime]", "latency_limits=[1]"], "1 values for 2 devices"),
        (["latency_limits=[1]"], "belongs to devices"),
        (["devices=[slow,onnxruntime]", "latency_limits=[1000,1e-6]"], "latency_ms"),
    ],
)
def test_mistakes(run, words, message, capsys):
    assert cli.main(["search", f"run={run.folder}", *words, *WORDS]) == 2
    assert message in capsys.readouterr().err
    assert not (run.folder / "devices").exists()


def test_limits_of_every_device_are_checked_before_any_search(run, capsys, unchanged):
    words = ["devices=[onnxruntime,slow]", "latency_limits=[1000,1e-6]"]
    with unchanged(run.folder):
        assert cli.main(["search", f"run={run.folder}", *words, *WORDS]) == 2
    assert "slow: latency_ms=1e-06 cannot be met" in capsys.readouterr().err


def test_what_is_predicted_is_called_so(run, capsys):
    assert cli.main(["search", f"run={run.folder}", "score=predicted", *WORDS]) == 0
    found = json.loads((run.folder / "search" / "front.json").read_text())
    printed = capsys.readouterr().out
    assert any(not member["measured"] for member in found["front"])
    assert "accuracy predicted where said so" in " ".join(printed.split())
    assert all(
        "predicted" in printed.split(member["name"])[1][:60] for member in found["front"] if not member["measured"]
    )


def test_searches_for_other_devices_or_costs_have_names_of_their_own(run):
    typed = (["device=slow"], ["device=onnxruntime"], ["device=slow", "front_cost=macs"], ["constraint.macs=12345678"])
    for words in typed:
        assert cli.main(["search", f"run={run.folder}", "score=predicted", *words, *WORDS]) == 0
    words = ["score=predicted", "algorithm=nsga2", *WORDS]
    assert cli.main(["search", f"run={run.folder}", *words]) == 0
    found = json.loads(run.search_path("front-nsga2").read_text())
    assert found["settings"] == {"budget": 8, "algorithm": "nsga2", "calibration_images": 60, "batch_size": 200}
    assert {"front-nsga2", "front-slow", "front-onnxruntime", "front-slow-macs", "macs_12345678"} <= set(run.searches())
