"""Checkpoints between the official names and MMRazor's, and loaded into our supernets."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onceforall.errors import ConfigError, FileFormatError, StorageError
from onceforall.interop.mmrazor import (
    arch_from_yaml,
    arch_to_yaml,
    convert_checkpoint,
    load_checkpoint,
    official_key,
    razor_key,
    read_checkpoint,
    subnet_tensors,
    to_mmrazor,
    to_official,
)
from onceforall.interop.official import arch_from_dict
from onceforall.interop.official import to_official as supernet_to_official
from onceforall.space import Arch, create_space
from onceforall.supernets import Supernet, create_supernet

SPACE = create_space("mbv3_w1.0", 10)


def described(shared: Path, name: str) -> dict[str, Any]:
    return json.loads((shared / "golden" / "mmrazor" / f"{name}.json").read_text())


def by_the_golden_rule(key: str, depths: list[int], rule: dict[str, Any]) -> str:
    """MMRazor's converter as it is written down: walk the depths, then replace in order."""
    if match := re.match(r"blocks\.(\d+)\.", key):
        index, layer = int(match[1]), 0
        while index >= depths[layer]:
            index, layer = index - depths[layer], layer + 1
        key = f"layer{layer + 1}.{index}.{key[match.end() :]}"
    for before, after in rule["ordered_replacements"]:
        key = key.replace(before, after)
    return (rule["prefix"] + key).replace(*rule["classifier"])


def fresh() -> Supernet:
    supernet = create_supernet("mbv3_w1.0", 10)
    supernet.reset_parameters(3)
    generator = torch.Generator().manual_seed(3)
    for name, tensor in supernet.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif ".transforms." in name:
            tensor += 0.05 * torch.randn(tensor.shape, generator=generator)
    return supernet.eval()


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return fresh()


def static_names(supernet: Supernet, arch: Arch) -> dict[str, Tensor]:
    """The tensors of an extracted network under the old official names of a static one."""
    first = {"conv_dw": "depth_conv.conv", "bn1": "depth_conv.bn"}
    first |= {"conv_pw": "point_linear.conv", "bn2": "point_linear.bn"}
    inner = {
        "conv_pw": "inverted_bottleneck.conv",
        "bn1": "inverted_bottleneck.bn",
        "conv_dw": "depth_conv.conv",
        "bn2": "depth_conv.bn",
        "se.conv_reduce": "depth_conv.se.fc.reduce",
        "se.conv_expand": "depth_conv.se.fc.expand",
        "conv_pwl": "point_linear.conv",
        "bn3": "point_linear.bn",
    }
    outer = {"conv_stem": "first_conv.conv", "bn1": "first_conv.bn", "conv_head": "feature_mix_layer.conv"}
    outer |= {"classifier": "classifier.linear", "blocks.6.0.conv": "final_expand_layer.conv"}
    outer |= {"blocks.6.0.bn1": "final_expand_layer.bn"}
    named = {}
    for key, value in supernet.extract(arch).state_dict().items():
        module, _, leaf = key.rpartition(".")
        if match := re.fullmatch(r"blocks\.(\d)\.(\d)\.(.+)", module):
            stage, block = int(match[1]), int(match[2])
        if module in outer:
            named[f"{outer[module]}.{leaf}"] = value
        elif stage == 0:
            named[f"blocks.0.mobile_inverted_conv.{first[match[3]]}.{leaf}"] = value
        else:
            index = 1 + sum(arch.depths[: stage - 1]) + block
            named[f"blocks.{index}.mobile_inverted_conv.{inner[match[3]]}.{leaf}"] = value
    return named


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def test_every_official_key_by_the_golden_rule(shared):
    rule = described(shared, "key_conversion_ofa")
    for file, count in (("mbv3_w1.0", 475), ("teacher_mbv3large_d4e6k7", 435)):
        read = json.loads((shared / "specs" / f"keys_{file}.json").read_text())
        entries = read["keys"] if isinstance(read, dict) else read
        assert len(entries) == count
        for key in (entry["key"] for entry in entries):
            old = re.sub(r"^(blocks\.\d+)\.(?:conv|mobile_inverted_conv)\.", r"\1.mobile_inverted_conv.", key)
            new = old.replace(".mobile_inverted_conv.", ".conv.")
            assert razor_key(old) == razor_key(new) == by_the_golden_rule(old, [1, 4, 4, 4, 4, 4], rule)
            assert official_key(razor_key(old), elastic=count == 475) == new


def test_blocks_are_counted_by_the_depths():
    key = "blocks.{}.mobile_inverted_conv.point_linear.conv.weight"
    assert razor_key(key.format(5), [1, 2, 2, 2, 2, 2]) == "architecture.backbone.layer4.0.linear_conv.conv.weight"
    assert razor_key(key.format(5), [1, 2, 2, 3, 3, 4]) == "architecture.backbone.layer4.0.linear_conv.conv.weight"
    assert razor_key(key.format(14), [1, 2, 2, 3, 3, 4]) == "architecture.backbone.layer6.3.linear_conv.conv.weight"
    with pytest.raises(FileFormatError, match=r"depths \[1, 2, 2, 2, 2, 2\] have 11 blocks; the checkpoint has more"):
        razor_key(key.format(11), [1, 2, 2, 2, 2, 2])


def test_a_supernet_there_and_back(supernet, tmp_path):
    ours = supernet_to_official(supernet)
    source = tmp_path / "ofa.pth"
    torch.save({"state_dict": ours, "epoch": 7}, source)
    path = convert_checkpoint(source, depths=[1, 4, 4, 4, 4, 4])
    assert path == tmp_path / "ofa_latest.pth"
    converted = torch.load(path, weights_only=True)
    assert converted["epoch"] == 7
    assert set(converted["state_dict"]) == {razor_key(key) for key in ours}
    back = torch.load(convert_checkpoint(path, tmp_path / "back.pth", to="official"), weights_only=True)
    assert same(back["state_dict"], ours)
    other = create_supernet("mbv3_w1.0", 10)
    assert load_checkpoint(other, path, SPACE.smallest) == "supernet"
    assert all(
        torch.equal(a, b) for a, b in zip(other.state_dict().values(), supernet.state_dict().values(), strict=True)
    )


def test_sub_networks_of_every_depth_there_and_back(supernet, tmp_path):
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    for arch in [SPACE.sample(np.random.default_rng(5)), SPACE.smallest, SPACE.largest]:
        static = static_names(supernet, arch)
        torch.save({"state_dict": static}, tmp_path / "net.pth")
        path = convert_checkpoint(tmp_path / "net.pth", depths=[1, *arch.depths])
        renamed = {key.replace("mobile_inverted_conv", "conv"): value for key, value in static.items()}
        assert same(subnet_tensors(supernet, arch), renamed)
        assert same(read_checkpoint(path), renamed)
        for file in (path, tmp_path / "net.pth"):
            other = create_supernet("mbv3_w1.0", 10)
            assert load_checkpoint(other, file, arch) == "subnet"
            with torch.no_grad():
                assert torch.equal(other.extract(arch)(x), supernet.extract(arch)(x))


def test_both_ways_to_the_published_sub_network(supernet, shared, tmp_path):
    """The weights of the static network, or those of the supernet, sliced."""
    arch = arch_from_dict(SPACE, described(shared, "note8_lat31")["ofa_arch"])
    (tmp_path / "subnet.yaml").write_text(arch_to_yaml(arch))
    assert arch_from_yaml(tmp_path / "subnet.yaml") == arch
    torch.save({"state_dict": to_mmrazor(static_names(supernet, arch))}, tmp_path / "subnet.pth")
    torch.save({"state_dict": to_mmrazor(supernet_to_official(supernet))}, tmp_path / "supernet.pth")
    networks = {}
    for kind in ("subnet", "supernet"):
        other = create_supernet("mbv3_w1.0", 10)
        assert load_checkpoint(other, tmp_path / f"{kind}.pth", arch) == kind
        networks[kind] = other.extract(arch).state_dict()
    assert same(networks["subnet"], networks["supernet"])


def test_what_lies_beside_the_network_in_a_checkpoint_is_left_out(supernet):
    ours = to_mmrazor(supernet_to_official(supernet))
    assert to_official({**ours, "distiller.teacher.weight": torch.zeros(1)}).keys() == to_official(ours).keys()
    bare = {key.removeprefix("architecture."): value for key, value in ours.items()}
    assert to_official(bare).keys() == to_official(ours).keys()


def test_a_supernet_without_matrices_is_not_taken_for_a_sub_network():
    compound = create_supernet("compound_w1.0", 10)
    other = create_supernet("compound_w1.0", 10)
    assert load_checkpoint(other, supernet_to_official(compound), compound.space.smallest) == "supernet"


@pytest.mark.parametrize(
    ("depths", "words"),
    [
        (
            [1, 2, 2, 2, 2, 2],
            r"depths \[1, 2, 2, 2, 2, 2\] do not fit .* 15 blocks .* \[1, 2, 2, 3, 3, 4\]",
        ),
        ([1, 2, 3, 2, 3, 4], r"do not fit"),
        ([1, 4, 4, 4, 4, 4], r"do not fit"),
        ([1, 2, 2, 3, 7], r"do not fit"),
        ([], r"do not fit"),
    ],
)
def test_depths_that_do_not_fit(depths, words, supernet, shared, tmp_path):
    arch = arch_from_dict(SPACE, described(shared, "note8_lat31")["ofa_arch"])
    torch.save({"state_dict": static_names(supernet, arch)}, tmp_path / "net.pth")
    with pytest.raises(FileFormatError, match=rf"net\.pth: .*{words}"):
        convert_checkpoint(tmp_path / "net.pth", depths=depths)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_files_that_are_something_else(supernet, tmp_path, monkeypatch):
    ours = supernet_to_official(supernet)
    razor = to_mmrazor(ours)
    torch.save({"state_dict": razor}, tmp_path / "razor.pth")
    torch.save({"state_dict": ours}, tmp_path / "ofa.pth")
    whole = (tmp_path / "ofa.pth").read_bytes()
    (tmp_path / "short.pth").write_bytes(whole[: len(whole) // 2])
    proxyless = create_supernet("proxyless_w1.3", 10)
    torch.save(supernet_to_official(proxyless), tmp_path / "proxyless.pth")
    torch.save({"weights": [1, 2]}, tmp_path / "other.pth")
    seven = {**razor, "architecture.backbone.layer7.0.linear_conv.conv.weight": torch.zeros(1)}
    torch.save({"state_dict": seven}, tmp_path / "attentive.pth")
    point = "blocks.3.conv.point_linear.conv.conv.weight"
    torch.save({"state_dict": {**ours, point: torch.tensor(1.0)}}, tmp_path / "scalar.pth")
    torch.save({"state_dict": {**ours, point: "pruned"}}, tmp_path / "word.pth")
    for name, to, words in (
        ("razor", "mmrazor", "have MMRazor's names already"),
        ("ofa", "official", "do not have MMRazor's names already"),
        ("short", "mmrazor", "not a whole torch file"),
        ("proxyless", "mmrazor", "no final_expand_layer"),
        ("missing", "mmrazor", "does not exist"),
        ("other", "mmrazor", "holds no blocks"),
        ("attentive", "official", "a network of the AttentiveNAS space"),
        ("scalar", "mmrazor", r"scalar\.pth: blocks\.3\.conv\..*weight is no weight of a convolution$"),
        ("word", "mmrazor", r"word\.pth: blocks\.3\.conv\..*weight is no weight of a convolution$"),
    ):
        with pytest.raises(FileFormatError, match=words):
            convert_checkpoint(tmp_path / f"{name}.pth", tmp_path / "out.pth", to=to)
        assert not (tmp_path / "out.pth").exists()
    with pytest.raises(ConfigError, match="to=onnx"):
        convert_checkpoint(tmp_path / "ofa.pth", to="onnx")
    with pytest.raises(FileFormatError, match=r"other\.pth is no checkpoint: 'weights' is no tensor"):
        read_checkpoint(tmp_path / "other.pth")
    torch.save({1: torch.zeros(1)}, tmp_path / "numbers.pth")
    assert list(read_checkpoint(tmp_path / "numbers.pth")) == ["1"]
    with pytest.raises(FileFormatError, match="holds no blocks"):
        convert_checkpoint(tmp_path / "numbers.pth", tmp_path / "out.pth")
    monkeypatch.setattr("onceforall.files.os.replace", _full_disk)
    with pytest.raises(StorageError, match="No space left"):
        convert_checkpoint(tmp_path / "ofa.pth", tmp_path / "ofa.pth")
    assert (tmp_path / "ofa.pth").read_bytes() == whole


def test_a_checkpoint_that_lacks_tensors_is_not_renamed(supernet, tmp_path):
    arch = SPACE.uniform(5, 4, 3, 128)
    static = subnet_tensors(supernet, arch)
    for whole, lacking in (
        (static, "classifier.linear.weight"),
        (static, "blocks.4.conv.depth_conv.bn.running_var"),
        (static, "blocks.15.conv.depth_conv.se.fc.reduce.bias"),
        (supernet_to_official(supernet), "blocks.7.conv.depth_conv.conv.5to3_matrix"),
        (supernet_to_official(supernet), "blocks.20.conv.inverted_bottleneck.bn.bn.weight"),
    ):
        razor = razor_key(lacking, [1, *arch.depths] if whole is static else [1, 4, 4, 4, 4, 4])
        for to, tensors, name in (("mmrazor", whole, lacking), ("official", to_mmrazor(whole), razor)):
            torch.save({key: value for key, value in tensors.items() if key != name}, tmp_path / "lacking.pth")
            with pytest.raises(FileFormatError, match=rf"lacking\.pth: the checkpoint lacks {re.escape(name)}$"):
                convert_checkpoint(tmp_path / "lacking.pth", tmp_path / "out.pth", to=to)
    point = "blocks.3.conv.point_linear.conv.weight"
    torch.save({key: value for key, value in static.items() if key != point}, tmp_path / "lacking.pth")
    with pytest.raises(FileFormatError, match=r"lacks the point_linear\.conv\.weight of block 3"):
        convert_checkpoint(tmp_path / "lacking.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def _full_disk(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_checkpoints_of_another_network(supernet, shared, tmp_path):
    small, large = (arch_from_dict(SPACE, described(shared, f"note8_{n}")["ofa_arch"]) for n in ("lat22", "lat31"))
    torch.save({"state_dict": to_mmrazor(static_names(supernet, small))}, tmp_path / "small.pth")
    other = create_supernet("mbv3_w1.0", 10)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(FileFormatError, match=r"small\.pth: .* has 11 blocks; r152.* has 15, .* 2, 2, 3, 3, 4"):
        load_checkpoint(other, tmp_path / "small.pth", large)
    same_depth = Arch(140, SPACE.smallest.stages)
    with pytest.raises(FileFormatError, match=r"of the sub-network r140-d22222.*blocks\.\d.* has shape .* needs"):
        load_checkpoint(other, tmp_path / "small.pth", same_depth)
    with pytest.raises(FileFormatError, match=r"classifier\.linear\.weight has shape \(10, 1280\), needs \(5, 1280\)"):
        load_checkpoint(create_supernet("mbv3_w1.0", 5), tmp_path / "small.pth", small)
    less = to_mmrazor(static_names(supernet, small))
    del less["architecture.head.fc.bias"]
    with pytest.raises(FileFormatError, match=r"classifier\.linear\.bias is missing"):
        load_checkpoint(other, to_official(less), small)
    more = {**to_official(less), "classifier.linear.bias": torch.zeros(10), "classifier.extra": torch.zeros(1)}
    with pytest.raises(FileFormatError, match=r"classifier\.extra is unexpected"):
        load_checkpoint(other, more, small)
    with pytest.raises(FileFormatError, match="needs"):
        load_checkpoint(create_supernet("mbv3_w1.2", 10), tmp_path / "small.pth", small)
    assert same(other.state_dict(), before)
