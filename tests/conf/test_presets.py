"""Every preset composes, and says what its name promises."""

from importlib import resources

import pytest

from onceforall.configuration import compose, groups_of
from onceforall.space import create_space
from onceforall.train.config import TrainConfig

GROUPS = groups_of("train")
CHOICES = [(group, option) for group, options in GROUPS.items() for option in options]


def config(*words: str) -> TrainConfig:
    return compose("train", TrainConfig, words)


@pytest.mark.parametrize(("group", "option"), CHOICES, ids=[f"{group}={option}" for group, option in CHOICES])
def test_every_preset_composes(group, option):
    composed = config(f"{group}={option}")
    if group in ("space", "recipe"):
        assert getattr(composed, group).name == option
    if group == "experiment":
        assert composed.name == option
    create_space(composed.space.name, resolutions=composed.space.resolutions)


def test_every_file_of_the_tree_can_be_chosen():
    folder = resources.files("onceforall.conf")
    files = {f"{entry.name}/{file.name}" for entry in folder.iterdir() if entry.is_dir() for file in entry.iterdir()}
    reachable = {f"{group}/{option}.yaml" for group, option in CHOICES}
    assert {file for file in files if file.endswith(".yaml")} == reachable


def test_without_words_it_is_the_digits_experiment():
    assert config() == config("experiment=digits")
    assert config().data.source == "digits"


def test_words_win_over_the_experiment_and_the_experiment_over_groups():
    assert config("experiment=photos").space.resolutions == [96, 128]
    assert config("experiment=photos", "space.resolutions=[96]", "epochs=1").space.resolutions == [96]
    assert config("experiment=photos", "space=mbv3_w1.2").space.name == "mbv3_w1.2"
    assert config("experiment=photos", "recipe=progressive_shrinking").recipe.name == "progressive_shrinking"


def test_any_width_multiplier():
    assert config("space.name=mbv3_w0.75").space.name == "mbv3_w0.75"
