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
    assert {"front-slow", "front-onnxruntime", "front-slow-macs", "macs_12345678"} <= set(run.searches())
