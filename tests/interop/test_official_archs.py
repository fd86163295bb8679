"""Architecture dictionaries and the official random draws."""

import pytest

from onceforall.errors import InvalidArch
from onceforall.interop.official import (
    arch_from_dict,
    arch_to_dict,
    continuous_resolutions,
    sample_arch_dict,
    sample_resolution,
    subnet_seed,
)
from onceforall.space import create_space

from .official import golden


def test_drawn_architectures_equal_official(shared):
    for case in golden(shared, "subnet_sampling"):
        assert subnet_seed(case["epoch"] * case["n_batch"] + case["batch"], case["sample_index"]) == case["seed"]
        assert sample_arch_dict(create_space(case["space"]), case["seed"]) == case["arch"]


def test_drawn_resolutions_equal_official(shared):
    for case in golden(shared, "image_size_sampling"):
        sizes = case["image_size_list"]
        sizes = continuous_resolutions(sizes) if case["continuous"] else sizes
        assert sample_resolution(sizes, case["epoch"], case["batch"]) == case["size"]


def test_dictionaries_round_trip_and_forget_idle_blocks(shared):
    spaces = {"mbv3": "mbv3_w1.2", "mbv2": "proxyless_w1.3", "resnet50": "resnet50"}
    for case in golden(shared, "nas_encoders"):
        space = create_space(spaces[case["space_type"]])
        arch = arch_from_dict(space, case["arch"])
        assert arch_to_dict(arch) == case["feature2arch"]
        assert arch_from_dict(space, arch_to_dict(arch)) == arch


def test_tutorial_spelling_and_single_numbers():
    space = create_space("mbv3_w1.0")
    arch = arch_from_dict(space, {"wid": None, "ks": 7, "e": 6, "d": 4, "r": [224]})
    assert arch == space.largest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [3] * 19}, "'ks' has 19 entries; this space needs 20"),
        ({"e": 5}, "stage 1, block 1 has expand ratio 5"),
        ({"d": [2, 2, 2, 2, 1]}, "stage 5 has depth 1"),
        ({"d": [2, 2, 5, 2, 2]}, "'d' asks for 5 blocks in stage 3; it has 4"),
        ({"d": -1}, "'d' holds -1; it takes whole numbers from 0 up"),
        ({"d": 2.5}, r"'d' holds 2\.5; it takes whole numbers"),
        ({"d": None}, "'d' holds None, which is no number"),
        ({"d": "4"}, "'d' holds '4', which is no number"),
        ({"d": True}, "'d' holds True, which is no number"),
        ({"ks": 3.5}, r"'ks' holds 3\.5; it takes whole numbers"),
        ({"ks": [[3]] * 20}, r"'ks' holds \[3\], which is no number"),
        ({"e": [None] + [3] * 19}, "'e' holds None, which is no number"),
        ({"e": ["x"] * 20}, "'e' holds 'x', which is no number"),
        ({"e": float("nan")}, "stage 1, block 1 has expand ratio nan"),
        ({"image_size": None}, "'image_size' holds None, which is no number"),
        ({"image_size": "big"}, "'image_size' holds 'big', which is no number"),
        ({"image_size": []}, "'image_size' has 0 entries"),
        ({"r": [160, 192]}, "'r' has 2 entries"),
        ({"image_size": -5}, "'image_size' holds -5; it takes whole numbers"),
        ({"image_size": 0}, "resolution 0 is no positive whole number of pixels"),
        ({"image_size": 160.7}, r"'image_size' holds 160\.7; it takes whole numbers"),
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(InvalidArch, match=message):
        arch_from_dict(create_space("mbv3_w1.0"), {"ks": 3, "e": 3, "d": 2, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d": [7, 0, 0, 0, 0]}, "'d' begins with 7; the stem takes 2"),
        ({"d": [2, -3, 0, 0, 0]}, "'d' holds -3; it takes whole numbers"),
        ({"w": 0.65}, r"'w' holds 0\.65; width multipliers are given by index: 0, 1, 2 for"),
        ({"w": [None] * 6}, "'w' holds None, which is no number"),
    ],
)
def test_wrong_values_of_resnet_are_named(change, message):
    with pytest.raises(InvalidArch, match=message):
        arch_from_dict(create_space("resnet50"), {"d": 0, "e": 0.2, "w": 0, **change})


@pytest.mark.parametrize(
    ("name", "ints", "floats"),
    [
        (
            "mbv3_w1.0",
            {"ks": 3, "e": 4, "d": 2, "image_size": 160},
            {"ks": 3.0, "e": 4.0, "d": 2.0, "image_size": 160.0},
        ),
        ("resnet50", {"d": 2, "e": 0.2, "w": 1, "r": [160]}, {"d": 2.0, "e": 0.2, "w": [1.0] * 6, "r": [160.0]}),
    ],
)
def test_whole_numbers_with_a_point_are_the_same(name, ints, floats):
    space = create_space(name)
    assert arch_from_dict(space, floats).to_json() == arch_from_dict(space, ints).to_json()


@pytest.mark.parametrize("name", ["mbv3_small", "resnet_small", "cifar_kdw"])
def test_dictionaries_of_other_spaces_are_refused(name):
    with pytest.raises(InvalidArch, match=r"no space of stages of .* blocks; its dictionaries describe"):
        arch_to_dict(create_space(name).largest)


def test_continuous_resolutions_are_multiples():
    assert continuous_resolutions([130, 150]) == [132, 136, 140, 144, 148]
    assert continuous_resolutions([160, 128], step=16) == [128, 144, 160]
