"""Typed configs from `key=value` words: what is accepted, and how every mistake is explained."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from onceforall.configuration import compose, from_values, from_yaml, given_keys, to_yaml
from onceforall.errors import ConfigError, FileFormatError
from onceforall.settings import flatten, keys_of, nearest
from onceforall.train.config import TrainConfig


@dataclass
class Inner:
    root: str | None = field(default=None, metadata={"help": "a folder"})
    sizes: tuple[int, ...] = (3, 5)
    share: float = 0.1


@dataclass
class Outer:
    name: str = "a"
    steps: int = field(default=3, metadata={"help": "optimiser steps"})
    average: bool = False
    limit: float | None = None
    inner: Inner = field(default_factory=Inner)
    options: dict[str, int] = field(default_factory=dict)
    anything: Any = None


def composed(*words: str) -> Outer:
    return compose("outer", Outer, words)


def test_defaults_and_overrides_arrive_typed():
    assert composed() == Outer()
    config = composed("steps=7", "average=true", "limit=2", "inner.share=1e-3", "inner.sizes=[7,3]", "+options.x=4")
    assert (config.steps, config.average, config.limit, config.inner.share) == (7, True, 2.0, 1e-3)
    assert config.inner.sizes == (7, 3)
    assert config.options == {"x": 4}


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "/a folder/with spaces",
        "photos=2024, best (1)",
        '{"resolution": 32, "stages": [{"kernel_sizes": [3]}]}',
        "it's",
        "a\\b",
        "trailing\\",
        "C:\\dir\\",
        "quote\\'s",
        "",
        "100",
        "true",
        "[1,2]",
        "ünï",
        "~/x",
        "a:b@c%d",
    ],
)
def test_text_is_taken_as_it_was_typed(text):
    assert composed(f"inner.root={text}").inner.root == text


def test_text_may_be_quoted_or_null():
    assert composed("inner.root='a b'").inner.root == "a b"
    assert composed("inner.root=null").inner.root is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("stepz=3", "stepz: unknown key; did you mean steps?"),
        ("rot=/x", "rot: unknown key; did you mean inner.root?"),
        ("inner.rot=/x", "inner.rot: unknown key; did you mean inner.root"),
        ("qqq=1", "qqq: unknown key; valid: name, steps, average"),
        ("steps=abc", "steps: the value 'abc' is not a whole number"),
        ("steps=1.5", "steps: the value 1.5 is not a whole number"),
        ("steps=null", "steps: the value null is not a whole number"),
        ("average=maybe", "average: the value 'maybe' is not true or false"),
        ("limit=much", "limit: the value 'much' is not a number or null"),
        ("inner.sizes=[a]", "inner.sizes: the value 'a' is not a list [a,b] of int values"),
        ("inner.sizes=3", "inner.sizes: the value 3 is not a list [a,b] of int values"),
        ("--steps=3", "--steps=3: options are written key=value without dashes; did you mean steps?"),
        ("steps", "steps: options are written key=value; did you mean steps?"),
        ("steps=1,2", "steps=1,2: one value is needed"),
        ("steps=[1", "steps=[1: the value cannot be read"),
    ],
)
def test_every_mistake_is_one_line_that_names_key_and_remedy(word, message):
    with pytest.raises(ConfigError) as caught:
        composed(word)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_round_trip(tmp_path):
    config = composed("inner.root=it's {a: b}", "inner.sizes=[9]", "limit=0.5", "name=100")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert from_yaml(Outer, path) == config


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, FileFormatError, "does not exist"),
        ("steps: [1", FileFormatError, "truncated"),
        ("stepz: 3", ConfigError, "stepz: unknown key; did you mean steps?"),
        ("steps: x", ConfigError, "steps: the value 'x' is not a whole number"),
        ("inner: {rot: 3}", ConfigError, "inner.rot: unknown key"),
        ("just text", FileFormatError, "not a config"),
        ("", FileFormatError, "not a config"),
    ],
)
def test_a_broken_config_file_is_named(tmp_path, text, error, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=message) as caught:
        from_yaml(Outer, path)
    assert "config.yaml" in str(caught.value)


def test_keys_carry_types_defaults_and_meaning():
    keys = {key.name: key for key in keys_of(Outer)}
    assert list(keys) == [
        "name",
        "steps",
        "average",
        "limit",
        "inner.root",
        "inner.sizes",
        "inner.share",
        "options",
        "anything",
    ]
    assert keys["steps"].help == "optimiser steps"
    assert keys["limit"].type_name == "float | null"
    assert keys["inner.sizes"].default == (3, 5)


def test_flatten_and_given_keys():
    assert flatten(Outer())["inner.sizes"] == (3, 5)
    assert given_keys(["steps=3", "+options.x=1", "~options"]) == {"steps", "options.x", "options"}
    assert nearest("lagest", ["largest", "smallest"]) == "did you mean largest?"


def test_a_text_key_may_be_called_like_the_presets_of_another_command():
    from onceforall.commands.evaluate import EvaluateConfig

    assert compose("evaluate", EvaluateConfig, []).space == "mbv3_w1.0"
    composed = compose("evaluate", EvaluateConfig, ["space=proxyless_w1.3", "data=imagenet", "data.root=a b"])
    assert composed.space == "proxyless_w1.3"
    assert (composed.data.holdout_rule, composed.data.root) == ("official", "a b")


@pytest.mark.parametrize("before", [[1, 2], {"a": {"b": 1}, "c": 2}, 3, None])
def test_a_value_of_any_kind_takes_the_place_of_any_other(before):
    def after(*words):
        return from_values(Outer, {"anything": before}, words).anything

    for text, value in (("[2,0.35]", [2, 0.35]), ("5", 5), ("null", None), ("word", "word")):
        assert after(f"anything={text}") == value == composed(f"anything={text}").anything
    rest = before if isinstance(before, dict) else {}
    assert after('anything={"x": {"y": 1}}') == after("anything={x: {y: 1}}") == {**rest, "x": {"y": 1}}
    if isinstance(before, dict):
        assert after("anything.a.b=7") == {"a": {"b": 7}, "c": 2}


def test_a_part_of_a_list_has_no_name():
    with pytest.raises(ConfigError, match=r"anything\.a: there is a list in its way; set the whole value"):
        from_values(Outer, {"anything": [1]}, ["anything.a=1"])


def test_presets_give_way_to_a_value_of_another_kind():
    """Of ResNet-50 the preset holds a mapping, of MobileNetV3 a list."""
    for family, text, value in (("resnet50", "[2,0.35,1.0]", [2, 0.35, 1.0]), ("mbv3", '{"d": 1}', {"d": 1})):
        preset = f"experiment=classification/ofa/ofa_{family}/imagenet_train_subnet"
        assert compose("train", TrainConfig, [preset, f"genotype={text}"]).genotype == value
    resnet = "experiment=classification/ofa/ofa_resnet50/imagenet_train_subnet"
    assert compose("train", TrainConfig, [resnet, "genotype.d.input_stem1=2"]).genotype["d"]["input_stem1"] == 2
