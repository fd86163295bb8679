"""Sub-network files of MMRazor: the published ones, round trips, and everything that can be wrong with one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from onceforall.cost import count_macs, count_params
from onceforall.errors import FileFormatError, InvalidArch
from onceforall.interop.mmrazor import arch_from_yaml, arch_to_yaml, mmrazor_flops
from onceforall.interop.official import arch_from_dict
from onceforall.space import Arch, Block, create_space
from onceforall.supernets import create_supernet

SPACE = create_space("mbv3_w1.0")
NOTE8 = ("note8_lat22", "note8_lat31")


def golden(shared: Path, name: str) -> dict[str, Any]:
    return json.loads((shared / "golden" / "mmrazor" / f"{name}.json").read_text())


def choices_of(described: dict[str, Any]) -> dict[str, Any]:
    """The aliases of a sub-network file, from the golden choices."""
    size = described["input_size"]
    chosen: dict[str, Any] = {
        "input_shape": [size, size],
        "backbone.first_channels": described["first_channels"],
        "backbone.last_channels": described["last_channels"],
    }
    for layer, (channels, depth) in enumerate(zip(described["out_channels"], described["depth"], strict=True), start=1):
        chosen |= {f"backbone.layers.{layer}.out_channels": channels, f"backbone.layers.{layer}.depth": depth}
    for block in described["blocks"]:
        alias = f"backbone.layers.{block['layer']}.{block['block']}"
        chosen |= {f"{alias}.kernel_size": block["kernel"], f"{alias}.expand_ratio": block["expand"]}
        if "expand_se" in block:
            chosen[f"{alias}.expand_ratio_se"] = block["expand_se"]
    return chosen


def write(path: Path, chosen: dict[str, Any], **meta: Any) -> Path:
    path.write_text(yaml.safe_dump({alias: {"chosen": value, **meta} for alias, value in chosen.items()}))
    return path


@pytest.fixture
def note8(shared) -> dict[str, Any]:
    return choices_of(golden(shared, "note8_lat22"))


@pytest.mark.parametrize("name", NOTE8)
def test_the_published_sub_networks(name, shared, tmp_path):
    described = golden(shared, name)
    chosen = choices_of(described)
    assert len(chosen) == described["n_yaml_keys"]
    arch = arch_from_yaml(write(tmp_path / "subnet.yaml", chosen))
    assert arch == arch_from_dict(SPACE, described["ofa_arch"])
    expected = described["recomputed"]
    assert int(count_macs(SPACE, [arch])[0]) == expected["macs_conv_linear"]
    assert int(count_params(SPACE, [arch])[0]) == expected["params"]
    flops = int(mmrazor_flops(SPACE, [arch])[0])
    assert round(flops / 1e6, 2) == expected["mmrazor_rule_flops_M"]
    assert round(flops / 1e6, 1) == described["published"]["mmrazor"]["flops_M"]


def test_the_published_supernet(shared):
    (published,) = (row for row in golden(shared, "results")["ofa"] if row["net"] == "supernet")
    largest = Arch(256, SPACE.largest.stages)
    (flops,) = mmrazor_flops(SPACE, [largest], dynamic_norm=True)
    assert round(flops / 1e6, 2) == 747.76
    assert round(flops / 1e6, 1) == published["flops_M"]
    assert int(count_params(SPACE, [largest])[0]) == 7_664_760


@pytest.mark.parametrize(("space", "neck"), [("mbv3_w1.0", 1280), ("mbv3_w1.2", 1536), ("proxyless_w1.3", 0)])
def test_the_rule_counted_in_a_running_network(space, neck):
    supernet = create_supernet(space)
    (arch,) = supernet.space.sample_many(1, np.random.default_rng(1))
    total = neck

    def count(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            kernel = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
            total += output.numel() * (kernel + (layer.bias is not None))
        elif isinstance(layer, nn.Linear):
            total += layer.in_features * layer.out_features
        elif isinstance(layer, nn.BatchNorm2d):
            total += 2 * inputs[0].numel()
        elif isinstance(layer, nn.ReLU | nn.ReLU6):
            total += output.numel()
        elif isinstance(layer, SqueezeExcite | nn.AdaptiveAvgPool2d):
            total += inputs[0].numel()

    network = supernet.extract(arch)
    for layer in network.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, arch.resolution, arch.resolution))
    assert mmrazor_flops(supernet, [arch]).tolist() == [total]
    with pytest.raises(InvalidArch, match="stage 1"):
        mmrazor_flops(supernet, [Arch(224, ((Block(9, 3),) * 2, *arch.stages[1:]))])


def test_round_trip(tmp_path):
    for arch in [*SPACE.sample_many(30, np.random.default_rng(0)), SPACE.largest, Arch(256, SPACE.smallest.stages)]:
        text = arch_to_yaml(arch)
        (tmp_path / "subnet.yaml").write_text(text)
        assert arch_from_yaml(tmp_path / "subnet.yaml") == arch
        assert text.startswith("# for MMRazor add") == (arch.resolution not in (128, 140, 144, 152, 192, 204, 224, 256))
        assert len(yaml.safe_load(text)) == 69


def test_the_form_per_layer_meta_and_unknown_aliases(note8, tmp_path):
    uniform = {alias: value for alias, value in note8.items() if len(alias.split(".")) < 5}
    for layer, (kernel, ratio) in enumerate([(3, 1), (3, 4), (5, 3), (7, 6), (3, 3), (5, 4)], start=1):
        uniform |= {f"backbone.layers.{layer}.kernel_size": kernel, f"backbone.layers.{layer}.expand_ratio": ratio}
    arch = arch_from_yaml(write(tmp_path / "subnet.yaml", uniform | {"head.something": 5}, meta={"alias": "x"}))
    assert arch.depths == (2, 2, 2, 2, 2)
    assert [set(stage) for stage in arch.stages] == [{(3, 4)}, {(5, 3)}, {(7, 6)}, {(3, 3)}, {(5, 4)}]


@pytest.mark.parametrize(
    ("alias", "words"),
    [
        ("backbone.layers.3.depth", "backbone.layers.3.depth (stage 2) is missing"),
        ("backbone.layers.4.2.kernel_size", "backbone.layers.4.2.kernel_size (stage 3, block 3) is missing"),
        ("backbone.layers.3.3.expand_ratio_se", "(stage 2, block 4) is missing"),
        ("backbone.layers.6.out_channels", "(stage 5) is missing"),
        ("backbone.layers.1.0.expand_ratio", "backbone.layers.1.0.expand_ratio is missing"),
        ("backbone.last_channels", "backbone.last_channels is missing"),
        ("input_shape", "input_shape is missing"),
    ],
)
def test_every_alias_is_needed(alias, words, note8, tmp_path):
    del note8[alias]
    with pytest.raises(FileFormatError) as error:
        arch_from_yaml(write(tmp_path / "subnet.yaml", note8))
    assert words in str(error.value)
    assert "subnet.yaml" in str(error.value)


def test_a_missing_stage_is_named(note8, tmp_path):
    less = {alias: value for alias, value in note8.items() if not alias.startswith("backbone.layers.5.")}
    with pytest.raises(FileFormatError, match=r"backbone\.layers\.5\.out_channels \(stage 4\) is missing"):
        arch_from_yaml(write(tmp_path / "subnet.yaml", less))


@pytest.mark.parametrize(
    ("alias", "value", "words"),
    [
        ("backbone.layers.4.0.kernel_size", 9, "(stage 3, block 1) is 9; the candidates are 3, 5, 7"),
        ("backbone.layers.4.3.kernel_size", 4, "(stage 3, block 4) is 4"),  # a block that does not run
        ("backbone.layers.4.0.expand_ratio", 7, "the candidates are 3, 4, 5, 6"),
        # MMRazor could, Once-for-All never trained it.
        ("backbone.layers.4.0.expand_ratio", 5, "(stage 3, block 1) is expand ratio 5, which no network"),
        ("backbone.layers.3.0.expand_ratio", 5, "(stage 2, block 1) is expand ratio 5, which no network"),
        ("backbone.layers.4.0.expand_ratio", "3", "is 3"),
        ("backbone.layers.4.depth", 5, "(stage 3) is 5; the candidates are 2, 3, 4"),
        ("backbone.layers.1.depth", 2, "the candidates are 1"),
        ("backbone.layers.2.out_channels", 32, "the candidates are 16, 24"),
        ("backbone.layers.2.out_channels", 16, "networks of space mbv3_w1.0 have 24 channels there"),
        ("backbone.last_channels", 1024, "have 1280 channels there"),
        ("backbone.layers.3.0.expand_ratio_se", 6, "squeeze-and-excite 40 channels wide; space mbv3_w1.0 has 24"),
        ("backbone.layers.3.0.expand_ratio_se", 2, "the candidates are 3, 4, 5, 6"),
        ("input_shape", [140, 152], "square images"),
        ("input_shape", [100, 100], "R one of 128, 132, ..., 256"),
        ("input_shape", 140, "square images"),
        ("backbone.layers.4.0.kernel_size", True, "is True"),
    ],
)
def test_values_outside_the_candidates_or_outside_our_space(alias, value, words, note8, tmp_path):
    note8[alias] = value
    with pytest.raises(InvalidArch) as error:
        arch_from_yaml(write(tmp_path / "subnet.yaml", note8))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_attentive_sub_networks_are_named(shared, tmp_path):
    for described in golden(shared, "attentive_subnets")["subnets"].values():
        given = described["mmrazor_file"]
        chosen = {"input_shape": [given["resolution"]] * 2, "backbone.first_channels": given["width"][0]}
        chosen["backbone.last_channels"] = given["width"][-1]
        layers = zip(given["width"][1:-1], given["kernel_size"], given["expand_ratio"], given["depth"], strict=True)
        for layer, values in enumerate(layers, start=1):
            names = ("out_channels", "kernel_size", "expand_ratio", "depth")
            chosen |= {f"backbone.layers.{layer}.{n}": v for n, v in zip(names, values, strict=True)}
        with pytest.raises(FileFormatError, match="a sub-network of the AttentiveNAS space"):
            arch_from_yaml(write(tmp_path / "subnet.yaml", chosen))


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [", "name: digits\n", "backbone.layers.2.depth: 3\ninput_shape: 3\n"]
)
def test_other_files(text, tmp_path):
    (tmp_path / "subnet.yaml").write_text(text)
    with pytest.raises(FileFormatError, match=r"subnet.yaml"):
        arch_from_yaml(tmp_path / "subnet.yaml")
    with pytest.raises(FileFormatError, match="does not exist"):
        arch_from_yaml(tmp_path / "none.yaml")
