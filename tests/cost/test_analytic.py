"""Counts equal the published numbers and what the extracted networks really do."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.cost import count_macs, count_params, macs_table, params_table, peak_memory
from onceforall.cost.structure import network
from onceforall.errors import InvalidArch
from onceforall.interop.official import arch_from_dict
from onceforall.space import Arch, Block, create_space, list_spaces

SPACES = {name: create_space(name) for name in list_spaces()}


def golden_entries(shared: Path) -> list[tuple[str, dict[str, Any]]]:
    """(space name, entry with arch, macs_exact and params) of every public entry."""
    golden = shared / "golden"
    found = [(e["space"], e) for e in json.loads((golden / "flops_public.json").read_text())["entries"]]
    for space in ("mbv3_w1.0", "mbv3_w1.2", "proxyless_w1.3", "resnet50"):
        found += [(space, e) for e in json.loads((golden / f"forward_{space}_public.json").read_text())["entries"]]
    return found


def test_equal_to_the_official_counts(shared: Path) -> None:
    entries = golden_entries(shared)
    assert {name for name, _ in entries} == {"mbv3_w1.0", "mbv3_w1.2", "proxyless_w1.3", "resnet50"}
    for name, entry in entries:
        space = SPACES[name]  # some entries are larger than the images the space trains on
        arch = arch_from_dict(space, entry["arch"])
        assert count_macs(space, [arch]).tolist() == [entry["macs_exact"]]
        assert count_params(space, [arch]).tolist() == [entry["params"]]


def test_equal_to_the_published_specialised_networks(shared: Path) -> None:
    entries = json.loads((shared / "golden" / "specialized_nets_public.json").read_text())["entries"]
    mobile = [entry for entry in entries if entry["cls"] == "MobileNetV3"]
    assert len(mobile) > 10
    for entry in mobile:
        config = json.loads((shared / "official" / "ofa_specialized" / entry["net_id"] / "net.config").read_text())
        space = SPACES["mbv3_w1.0" if config["first_conv"]["out_channels"] == 16 else "mbv3_w1.2"]
        arch = specialised_arch(config, entry["image_size"])
        assert count_macs(space, [arch]).tolist() == [entry["macs_exact"]]
        assert count_params(space, [arch]).tolist() == [entry["params"]]


def specialised_arch(config: dict[str, Any], resolution: int) -> Arch:
    """The architecture of a published static network: a stage begins where the width changes or the map shrinks."""
    stages: list[list[Block]] = []
    convolutions = [block.get("conv") or block.get("mobile_inverted_conv") for block in config["blocks"][1:]]
    for conv in filter(None, convolutions):
        if conv["in_channels"] != conv["out_channels"]:
            stages.append([])
        stages[-1].append(Block(conv["kernel_size"], conv["expand_ratio"]))
    return Arch(resolution, tuple(map(tuple, stages)))


@pytest.mark.parametrize(
    ("name", "largest", "smallest"),
    [
        ("mbv3_w1.0", (7_664_760, 566_170_656), (3_410_792, 121_278_672)),
        ("mbv3_w1.2", (10_701_632, 843_101_040), (4_602_456, 193_078_200)),
        ("proxyless_w1.3", (7_942_056, 1_004_908_032), (3_718_832, 265_526_256)),
        ("resnet50", (48_105_992, 7_491_643_904), (6_539_280, 962_192_128)),
    ],
)
def test_equal_to_the_published_extremes(name: str, largest: tuple[int, int], smallest: tuple[int, int]) -> None:
    space = create_space(name, resolutions=[224])
    corners = [space.largest, space.smallest]
    assert list(zip(count_params(space, corners), count_macs(space, corners), strict=True)) == [largest, smallest]


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(list_spaces()), seed=st.integers(0, 2**32 - 1))
def test_tables_equal_the_walk_through_the_network(name: str, seed: int) -> None:
    space = SPACES[name]
    codes = space.sample_codes(5, np.random.default_rng(seed))
    archs = space.decode(codes)
    parts = [list(network(space.layout, arch)) for arch in archs]
    assert count_macs(space, codes).tolist() == [sum(part.macs(side) for part, side in p) for p in parts]
    assert count_params(space, codes).tolist() == [sum(part.params() for part, _ in p) for p in parts]
    assert peak_memory(space, codes).tolist() == [4 * max(part.peak_elements(side) for part, side in p) for p in parts]
    np.testing.assert_array_equal(count_macs(space, archs), count_macs(space, codes))


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(list_spaces()), seed=st.integers(0, 2**32 - 1))
def test_costs_never_leave_the_range_of_the_corners(name: str, seed: int) -> None:
    space = SPACES[name]
    codes = space.sample_codes(50, np.random.default_rng(seed))
    corners = [space.smallest, space.largest]
    for count in (count_macs, count_params, peak_memory):
        lowest, highest = count(space, corners)
        values = count(space, codes)
        assert lowest <= values.min()
        assert values.max() <= highest


def test_a_restricted_space_counts_the_same_networks_alike() -> None:
    whole = SPACES["mbv3_w1.0"]
    part = whole.restrict(kernel_sizes=[5], expand_ratios=[3, 6], depths=[2, 3], resolutions=[160, 224])
    archs = part.sample_many(20, np.random.default_rng(0))
    for count in (count_macs, count_params, peak_memory):
        np.testing.assert_array_equal(count(part, archs), count(whole, archs))


def test_channels_and_classes_change_the_counts_by_what_they_add() -> None:
    colour, grey = create_space("resnet_small", num_classes=10), create_space("resnet_small", 10, in_chans=1)
    more = create_space("resnet_small", num_classes=17)
    arch = [colour.largest]
    assert count_macs(colour, arch) - count_macs(grey, arch) == 2 * 9 * 32 * 32**2
    assert count_params(more, arch) - count_params(colour, arch) == 7 * (128 + 1)


def test_element_size_scales_the_memory() -> None:
    space = SPACES["mbv3_small"]
    assert peak_memory(space, [space.largest], bytes_per_element=1) * 4 == peak_memory(space, [space.largest])


def test_an_architecture_of_another_space_is_refused() -> None:
    with pytest.raises(InvalidArch):
        count_macs(SPACES["mbv3_w1.0"], [SPACES["resnet_small"].largest])


def test_one_architecture_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"write \[arch\] for one"):
        count_macs(SPACES["resnet_small"], SPACES["resnet_small"].largest)  # pyright: ignore[reportArgumentType]


def test_codes_of_another_space_are_refused() -> None:
    part = SPACES["mbv3_w1.0"].restrict(depths=[2])
    with pytest.raises(InvalidArch, match=r"codes of space mbv3_w1.0 have shape \(n, 46\), not \(3, 26\)"):
        count_macs(SPACES["mbv3_w1.0"], part.sample_codes(3, np.random.default_rng(0)))


def test_no_architectures_cost_nothing() -> None:
    assert count_macs(SPACES["mbv3_w1.0"], []).shape == (0,)


def test_tables_are_made_once_per_space() -> None:
    assert macs_table(create_space("mbv3_w1.0")) is macs_table(create_space("mbv3_w1.0"))
    assert params_table(create_space("mbv3_w1.0")) is not params_table(create_space("mbv3_w1.2"))


def test_a_million_architectures_a_second() -> None:
    space = SPACES["mbv3_w1.0"]
    codes = space.sample_codes(100_000, np.random.default_rng(0))
    count_macs(space, codes[:10])
    rates = []
    for _ in range(3):
        start = time.process_time()
        count_macs(space, codes)
        rates.append(len(codes) / (time.process_time() - start))
    assert max(rates) >= 1_000_000
