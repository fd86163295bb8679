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
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(InvalidArch, match=message):
        arch_from_dict(create_space("mbv3_w1.0"), {"ks": 3, "e": 3, "d": 2, **change})
