"""Every preset composes, and says what its name promises."""

import re
from importlib import resources
from pathlib import Path

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
    if group == "space":
        assert composed.space.name == option
    if group == "recipe":
        assert composed.recipe.name == (option if option in ("progressive_shrinking", "sandwich") else "phases")
    if group == "experiment":
        folder, slash, _ = option.rpartition("/imagenet_")
        # Those of NNablaNAS run where NNablaNAS runs them.
        assert composed.name.startswith(f"{folder}/imagenet/") if slash else composed.name == option
    create_space(composed.space.name, resolutions=composed.space.resolutions)


def test_every_file_of_the_tree_is_used():
    """Presets can be chosen; phases are parts of recipes and experiments, and `_` begins what experiments share."""
    folder = Path(str(resources.files("onceforall.conf")))
    files = {str(file.relative_to(folder)) for file in folder.rglob("*.yaml") if file.parent != folder}
    phases = {file for file in files if file.startswith("phase/")}
    shared = {file for file in files if Path(file).name.startswith("_")}
    assert files - phases - shared == {f"{group}/{option}.yaml" for group, option in CHOICES}
    text = "".join(path.read_text() for part in ("recipe", "experiment") for path in (folder / part).rglob("*.yaml"))
    used = {f"{name}.yaml" for name in re.findall(r"/(phase/\S+)@", text)}
    assert used == phases
    assert {f"{name}.yaml"[1:] for name in re.findall(r"^  - (/experiment/\S+)$", text, re.MULTILINE)} >= shared


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
