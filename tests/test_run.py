"""A run folder: where things lie, and what is said when they do not."""

import json
import os
import shutil

import pytest

from onceforall.data import DataConfig, load_data
from onceforall.errors import ConfigError, FileFormatError, RunError
from onceforall.run import Run
from onceforall.space import create_space
from onceforall.train.config import TrainConfig


@pytest.fixture
def run(tmp_path):
    """A run of resnet_small on digits whose training has finished, without weights."""
    run = Run(tmp_path / "runs" / "digits")
    run.write_config(TrainConfig(name="digits", epochs=2, data=DataConfig("digits")))
    space = create_space("resnet_small", 10, 1, resolutions=(16,))
    description = {"format": 1, "space": space.to_dict(), "classes": [str(n) for n in range(10)]}
    run.supernet_path.with_suffix(".json").write_text(json.dumps(description))
    return run


def test_config_is_kept_exactly(run):
    assert Run.open(run.folder).read_config() == TrainConfig(name="digits", epochs=2, data=DataConfig("digits"))
    assert run.space() == create_space("resnet_small", 10, 1, resolutions=(16,))


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, "run=FOLDER is needed"),
        ("", "run=FOLDER is needed"),
        ("{runs}/digit", "no such folder; there is {runs}/digits"),
        ("{runs}", "not a run, it has no config.yaml"),
        ("{runs}/../elsewhere/x", "no such folder; start one with: ofa train"),
    ],
)
def test_a_missing_run_names_those_that_exist(run, folder, message):
    runs = str(run.folder.parent)
    with pytest.raises(RunError) as caught:
        Run.open(folder and folder.format(runs=runs))
    assert message.format(runs=runs) in str(caught.value)


def test_unfinished_training_says_how_to_continue(run):
    run.supernet_path.with_suffix(".json").unlink()
    for use in (run.description, run.space, run.load_supernet, run.load_data):
        with pytest.raises(RunError, match=f"training has not finished.*ofa train run={run.folder}"):
            use()


def test_a_damaged_description_is_named(run):
    path = run.supernet_path.with_suffix(".json")
    path.write_text("{")
    with pytest.raises(FileFormatError, match=r"supernet\.json is not a JSON file"):
        run.space()
    path.write_text('{"format": 1}')
    with pytest.raises(FileFormatError, match="does not describe a search space"):
        run.space()


def test_other_classes_than_the_run_was_trained_on(run):
    path = run.supernet_path.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["cat", "dog"]}))
    with pytest.raises(RunError, match=r"trained on 2 classes, but its data now has 10: missing cat, dog, new 0, 1"):
        run.load_data()


def test_of_many_classes_those_that_differ_are_named(run):
    path = run.supernet_path.with_suffix(".json")
    classes = [str(n) for n in range(10)]
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": [*classes[:8], "eight", "9"]}))
    with pytest.raises(RunError, match="now has 10: missing eight, new 8; restore"):
        run.load_data()
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": classes[::-1]}))
    with pytest.raises(RunError, match="now has 10: in another order; restore"):
        run.load_data()


def test_other_images_than_the_run_was_trained_on(run, tmp_path, write_photos):
    root = write_photos(tmp_path / "photos", per_class=10)
    config = TrainConfig(data=DataConfig(root=str(root)))
    run.write_config(config)
    trained = load_data(config.data)
    path = run.supernet_path.with_suffix(".json")
    description = {**json.loads(path.read_text()), "classes": trained.classes, "images": trained.digests}
    path.write_text(json.dumps(description))
    assert run.load_data().digests == trained.digests
    shutil.copy(root / "apple" / "000.jpg", root / "apple" / "0000.jpg")
    with pytest.raises(RunError, match=r"its images changed since training.*restore the images or train a new run"):
        run.load_data()


def test_a_device_without_latency_model(run):
    made_with = f"; make it with: ofa measure run={run.folder}"
    with pytest.raises(RunError, match=f"no latency model of device 'phone'{made_with} name=phone$"):
        run.load_latency("phone")
    with pytest.raises(RunError, match=f"{made_with}$"):
        run.load_latency("onnxruntime")
    run.latency_path("laptop").parent.mkdir()
    run.latency_path("laptop").with_suffix(".json").write_text("{}")
    with pytest.raises(RunError, match="measured so far: laptop"):
        run.load_latency("phone")


def test_searches_newest_first(run):
    for age, name in enumerate(["new", "middle", "old"]):
        path = run.search_path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        os.utime(path, (1000 - age, 1000 - age))
    assert run.searches() == ["new", "middle", "old"]


def test_a_config_of_another_version_names_the_key(run):
    run.config_path.write_text("epochz: 3\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: epochz: unknown key; did you mean epochs"):
        run.read_config()
