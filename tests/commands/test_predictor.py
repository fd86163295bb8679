"""`ofa predictor` on a small trained run, alone and shared out between two processes."""

import json
import shutil
import subprocess
import sys

import pytest

from onceforall import cli
from onceforall.run import Run


@pytest.fixture
def run(trained, tmp_path) -> Run:
    shutil.copytree(trained.folder, tmp_path / "digits")
    shutil.rmtree(tmp_path / "digits" / "predictor", ignore_errors=True)
    return Run(tmp_path / "digits")


WORDS = ["images=100", "calibration_images=60"]


def measured(run: Run) -> list[dict]:
    return [json.loads(line) for line in run.labels_path.read_text().splitlines()]


def test_labels_a_predictor_and_its_quality(run, capsys):
    assert cli.main(["predictor", f"run={run.folder}", "labels=10", "sampling=random", *WORDS]) == 0
    assert "10 labels" in capsys.readouterr().out
    first = measured(run)
    assert len(first) == 10
    described = json.loads(run.predictor_path.with_suffix(".json").read_text())
    assert described["kind"] == "gaussian_process"
    assert described["quality"]["n_labels"] == 10
    words = ["labels=12", "sampling=random", "model=mlp_ensemble"]
    assert cli.main(["predictor", f"run={run.folder}", *words, *WORDS]) == 0
    assert measured(run)[:10] == first
    assert len(measured(run)) == 12
    assert json.loads(run.predictor_path.with_suffix(".json").read_text())["kind"] == "mlp_ensemble"


def kind(run: Run) -> str:
    return json.loads(run.predictor_path.with_suffix(".json").read_text())["kind"]


@pytest.mark.parametrize("score", ["measured", "predicted"])
def test_searches_keep_the_kind_of_predictor(run, score, monkeypatch):
    from onceforall.search.mlp_ensemble import MlpEnsemble

    words = [f"run={run.folder}", *WORDS]
    assert cli.main(["search", *words, "budget=8", f"score={score}"]) == 0
    assert kind(run) == "gaussian_process", "where there was none"
    assert cli.main(["predictor", *words, "labels=8", "model=mlp_ensemble"]) == 0
    asked = []
    predict = MlpEnsemble.predict
    monkeypatch.setattr(MlpEnsemble, "predict", lambda self, *given: asked.append(0) or predict(self, *given))
    assert cli.main(["search", *words, "budget=9", f"score={score}"]) == 0
    assert kind(run) == "mlp_ensemble"
    assert asked
    found = run.read_search("front")
    assert found["quality"]["n_labels"] == (len(found["evaluated"]) if score == "measured" else len(measured(run)))


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "forest"}', '{"kind": [1]}', '{"space": 1}'])
def test_a_damaged_predictor_does_not_stop_a_search(run, content):
    run.predictor_path.parent.mkdir()
    run.predictor_path.with_suffix(".json").write_text(content)
    run.predictor_path.with_suffix(".safetensors").write_text("damaged")
    assert cli.main(["search", f"run={run.folder}", *WORDS, "budget=8", "score=predicted"]) == 0
    assert kind(run) == "gaussian_process"


def test_two_processes_measure_what_one_does(run, tmp_path):
    words = ["labels=9", "sampling=random", "networks_at_once=2", *WORDS]
    assert cli.main(["predictor", f"run={run.folder}", *words]) == 0
    alone = measured(run)
    run.labels_path.unlink()
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29631", "-m", "onceforall"]
    finished = subprocess.run(
        [sys.executable, *launcher, "predictor", f"run={run.folder}", *words], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("9 labels") == 1, "only one process prints"
    assert measured(run) == alone


def test_labels_of_other_weights_are_refused(run, capsys, unchanged):
    assert cli.main(["predictor", f"run={run.folder}", "labels=6", *WORDS]) == 0
    lines = [{**line, "weights": "0" * 16} for line in measured(run)]
    run.labels_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    with unchanged(run.folder):
        assert cli.main(["predictor", f"run={run.folder}", "labels=6", *WORDS]) == 2
    assert "other weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("labels=3", "needs at least 6"),
        ("sampling=all", "use active, spread, random"),
        ("model=forest", "use gaussian_process, mlp_ensemble"),
        ("front_cost=watts", "there is no model of it"),
    ],
)
def test_mistakes(run, word, message, capsys, unchanged):
    with unchanged(run.folder):
        assert cli.main(["predictor", f"run={run.folder}", word]) == 2
    assert message in capsys.readouterr().err
