"""`ofa ensemble` of published files, and the options that go with a run only, or with files only."""

import json

import numpy as np
import pytest

from onceforall import cli
from onceforall.search.ensemble.published_csv import write_published
from onceforall.search.ensemble.tables import PredictionTable, TableNetwork

CLASSES, EACH = 6, 20


def write_files(folder, path, labels, *, networks=3, seed=0, classes=CLASSES):
    """Predictions of networks that are mostly right, as published."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(len(labels), classes)) + 4 * np.eye(classes)[labels]
    names = [TableNetwork(f"net{index}") for index in range(networks)]
    table = PredictionTable.create(path, names, labels, range(len(labels)), [str(k) for k in range(classes)])
    for network in names:
        values = np.exp(shared + rng.normal(size=shared.shape))
        table.write(network.name, [values / values.sum(axis=1, keepdims=True)])
    write_published([table], folder)


@pytest.fixture
def words(tmp_path):
    """Hold-out and test files of three networks, in the order of folders."""
    for seed, part in enumerate(("holdout", "test")):
        write_files(tmp_path / part, tmp_path / f"{part}_table", np.repeat(np.arange(CLASSES), EACH), seed=seed)
    (tmp_path / "ms.json").write_text("[1.0, 2.0, 3.0]")
    places = {"holdout_csv": "holdout", "test_csv": "test", "latencies": "ms.json", "out": "out.json"}
    return [f"{key}={tmp_path}/{name}" for key, name in places.items()]


def test_the_test_files_may_name_more_classes(words, tmp_path):
    write_files(
        tmp_path / "more", tmp_path / "more_table", np.repeat(np.arange(CLASSES + 2), EACH), classes=CLASSES + 2
    )
    assert cli.main(["ensemble", *words, f"test_csv={tmp_path}/more"]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["classes"] == CLASSES + 2
    assert (found["holdout_images"], found["test_images"]) == (CLASSES * EACH, (CLASSES + 2) * EACH)
    rows = np.loadtxt(tmp_path / "more" / "model_01_class.csv", delimiter=",")
    assert found["networks"][1]["test_top1"] == (rows[:, 0] == rows[:, -1]).mean()


def test_a_set_without_one_image_is_taken_where_its_size_is_known(words, tmp_path, capsys):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), EACH))[1:]
    write_files(tmp_path / "odd", tmp_path / "odd_table", labels, seed=4)
    assert cli.main(["ensemble", *words, f"test_csv={tmp_path}/odd"]) == 2
    assert f"there are {len(labels)} images (holdout_images=, test_images=)" in capsys.readouterr().err
    assert cli.main(["ensemble", *words, f"test_csv={tmp_path}/odd", f"test_images={len(labels) + 1}"]) == 2
    assert cli.main(["ensemble", *words, f"test_csv={tmp_path}/odd", f"test_images={len(labels)}"]) == 0


def test_images_that_ensembles_are_chosen_on_are_no_test(words, tmp_path, capsys):
    assert cli.main(["ensemble", *words, f"test_csv={tmp_path}/holdout"]) == 2
    assert "accuracy on them is no test" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_other_networks_in_the_test_files_are_found_before_anything_is_chosen(words, tmp_path, capsys, monkeypatch):
    from onceforall.commands import ensemble

    write_files(tmp_path / "two", tmp_path / "two_table", np.repeat(np.arange(CLASSES), EACH), networks=2, seed=3)
    monkeypatch.setattr(ensemble, "select", lambda *_: pytest.fail("chosen"))
    assert cli.main(["ensemble", *words, f"test_csv={tmp_path}/two"]) == 2
    assert "2 networks, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["networks=5"], "networks=5: only with run=FOLDER"),
        (["write_csv=csv"], "write_csv=csv: only with run=FOLDER"),
        (["evaluations=9"], "evaluations=9: only with criterion=accuracy, and without preset"),
        (["algorithm=spea2"], "algorithm=spea2: only with preset"),
        *[
            (["preset=ofa3_max", word], f"{word}: only without preset, which brings its own")
            for word in ("rule=summed", "criterion=accuracy", "at_least=2", "most=5")
        ],
        (["preset=ofa3_max", "evaluations=9"], "evaluations=9: only with criterion=accuracy, and without preset"),
    ],
)
def test_options_that_would_be_ignored(words, extra, message, tmp_path, capsys):
    assert cli.main(["ensemble", *words, *extra]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_one_network_is_refused_with_a_preset_too(words, tmp_path, capsys):
    (tmp_path / "ms.json").write_text("[1.0]")
    for part in ("holdout", "test"):
        for path in (tmp_path / part).glob("model_0[12]_*"):
            path.unlink()
    for extra in ([], ["preset=ofa3_max"]):
        assert cli.main(["ensemble", *words, *extra]) == 2
        assert "one network is no ensemble" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["top=3", "write_csv={new}"], "hold 5 classes per image, not top=3"),
        (["write_csv={old}"], "not an empty folder"),
        (["preset=ofa3_max", "top=3"], "top=3: preset=ofa3_max votes with 5 classes"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_predicted(
    searched, extra, message, tmp_path, capsys, unchanged
):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model_23_prob.csv").write_text("0.5,0.2,0.1,0,0")
    extra = [word.format(new=tmp_path / "new", old=tmp_path / "old") for word in extra]
    with unchanged(searched.folder):
        assert cli.main(["ensemble", f"run={searched.folder}", *extra]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_too_few_classes_cannot_be_published(searched, tmp_path, capsys, monkeypatch):
    from onceforall.run import Run

    monkeypatch.setattr(Run, "description", lambda self: {"classes": ["cat", "dog"]})
    assert cli.main(["ensemble", f"run={searched.folder}", f"write_csv={tmp_path}/csv"]) == 2
    assert "hold 5 classes per image, not the run's 2 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1.0, null, 3.0]", "the latency of network 1 is None"), ("1.0 fast 3.0", "the latency of network 1 is 'fast'")],
)
def test_a_latency_that_is_none_is_named(words, tmp_path, capsys, content, message):
    (tmp_path / "ms.json").write_text(content)
    assert cli.main(["ensemble", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
