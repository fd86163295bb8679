"""`ofa convert`: whatever comes in, the same network goes out; a mistake is one line and leaves nothing behind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import onceforall as ofa
from onceforall import cli
from onceforall.interop import nnablanas, official
from onceforall.interop.mmrazor import subnet_tensors, to_mmrazor
from onceforall.space import Arch, create_space

SPACE, CLASSES = "mbv3_w0.35", 3


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    return ofa.create_supernet(SPACE, CLASSES)


def convert(capsys, *words: str) -> str:
    capsys.readouterr()
    code = cli.main(["convert", *words])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, ""), printed.err
    assert printed.out.count("\n") == 1
    return printed.out


def error(capsys, *words: str) -> str:
    capsys.readouterr()
    assert cli.main(["convert", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def same_weights(path: Path, supernet) -> None:
    found, expected = ofa.load_supernet(path).state_dict(), supernet.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_weights_go_around_through_every_format(place, supernet, capsys):
    """Ours, official, MMRazor, official, ours, NNablaNAS, ours."""
    supernet.save("net")
    params = sum(parameter.numel() for parameter in supernet.parameters())
    printed = convert(capsys, "source=net", "to=official")
    assert printed == f"supernet mbv3_w0.35, 3 classes, {params / 1e3:.3g} k parameters; written: net.pth\n"
    assert torch.load("net.pth", weights_only=True)["state_dict"].keys() == official.to_official(supernet).keys()
    convert(capsys, "source=net.pth", "to=mmrazor", "out=razor.pth", "depth=[1,4,4,4,4,4]")
    convert(capsys, "source=razor.pth", "to=official", "out=back.pth")
    convert(capsys, "source=back.pth", "to=supernet", "out=ours")
    same_weights(Path("ours"), supernet)
    convert(capsys, "source=razor.pth", "to=supernet")
    same_weights(Path("razor"), supernet)
    convert(capsys, "source=ours.safetensors", "to=nnablanas")
    convert(capsys, "source=ours.h5", f"space={SPACE}", f"num_classes={CLASSES}", "to=supernet", "out=last.safetensors")
    same_weights(Path("last"), supernet)
    convert(capsys, "source=ours.json", "to=mmrazor", "out=direct.pth")
    direct, renamed = (torch.load(f, weights_only=True)["state_dict"] for f in ("direct.pth", "razor.pth"))
    assert direct.keys() == renamed.keys()


@pytest.mark.parametrize("name", ["proxyless_w0.35", "compound_w0.35"])
def test_the_space_of_a_checkpoint_is_seen(name, place, capsys):
    official.write_torch_file("net.pth", official.to_official(ofa.create_supernet(name, 2)))
    seen = "mbv3_w0.35" if name.startswith("compound") else name
    printed = convert(capsys, "source=net.pth", "to=supernet")
    assert f"supernet {seen}, 2 classes" in printed
    assert ("40 kernel matrices that it lacks are the identity" in printed) == name.startswith("compound")
    convert(capsys, "source=net.pth", f"space={name}", "to=supernet", "out=named")
    assert ofa.load_supernet("named").space.name == name


def test_resnet_is_seen(place, capsys):
    with torch.device("meta"):
        shapes = official.to_official(ofa.create_supernet("resnet50", 2, 1))
    assert official.space_from_tensors(shapes) == create_space("resnet50", 2, 1)
    with pytest.raises(ofa.errors.FileFormatError, match="no supernet of the official project: the file holds epoch"):
        official.space_from_tensors({"epoch": 3})
    heads = ("classifier.linear.weight", "first_conv.conv.weight", "feature_mix_layer.conv.weight")
    for tensors in (dict.fromkeys(heads, torch.zeros(())), dict.fromkeys(heads, 5), {1: torch.zeros(2, 2)}):
        with pytest.raises(ofa.errors.FileFormatError, match="no supernet of the official project: the file holds"):
            official.space_from_tensors(tensors)


def test_architectures_go_around_through_every_format(place, capsys):
    """Ours, net.config, official dictionary, genotype, YAML, ours."""
    arch = create_space("mbv3_w1.0").sample(np.random.default_rng(1))
    Path("arch.json").write_text(arch.to_json())
    printed = convert(capsys, "source=arch.json", "space=mbv3_w1.0", "to=net_config", "out=folder")
    macs = ofa.count_macs(create_space("mbv3_w1.0"), [arch])[0]
    assert f"network {arch.name} of mbv3_w1.0: {arch.resolution} px, " in printed
    assert f"{macs / 1e6:.3g} M MACs; written: folder" in printed
    convert(capsys, "source=folder", "to=arch_dict", "out=dict.json")
    assert json.loads(Path("dict.json").read_text()) == official.arch_to_dict(arch)
    convert(capsys, "source=dict.json", "to=genotype", "out=genotype.json")
    convert(capsys, "source=genotype.json", "to=yaml", f"resolution={arch.resolution}")
    convert(capsys, "source=genotype.yaml", "to=arch", "out=last.json")
    assert Arch.from_json(Path("last.json").read_text()) == arch
    convert(capsys, "source=folder/net.config", "to=arch")
    assert Arch.from_json(Path("folder.json").read_text()) == arch
    convert(capsys, f"source={arch.to_json()}", "to=arch", "resolution=96")
    assert json.loads(Path("converted.json").read_text())["resolution"] == 96
    fewer = ["MB6 7x7", "MB6 5x5", "MB6 3x3", "MB4 7x7", "MB4 5x5", "MB4 3x3", "MB3 7x7", "MB3 5x5", "MB3 3x3"]
    convert(capsys, "source=dict.json", "to=genotype", "out=g.json", "op_candidates=[" + ",".join(fewer) + "]")
    convert(capsys, "source=g.json", "to=arch", "out=g2.json", "op_candidates=[" + ",".join(fewer) + "]")
    assert Arch.from_json(Path("g2.json").read_text()).stages == arch.stages


def test_mistakes(place, supernet, capsys, unchanged):
    supernet.save("net")
    official.write_torch_file("net.pth", official.to_official(supernet))
    Path("half.pth").write_bytes(Path("net.pth").read_bytes()[:5000])
    Path("arch.json").write_text(supernet.space.largest.to_json())
    Path("dict.json").write_text('{"ks": 3, "e": 4, "d": null}')
    small = create_space("mbv3_small").largest.to_json()
    torch.save({"state_dict": {1: torch.zeros(1)}}, "numbers.pth")
    torch.save({"state_dict": {"classifier.linear.weight": torch.zeros(3, 8)}}, "tiny.pth")
    tensors = official.to_official(supernet)
    official.write_torch_file(
        "lacking.pth", {key: tensors[key] for key in tensors if "final_expand_layer.bn" not in key}
    )
    with unchanged(place):
        for words, message in (
            ([], "source=PATH and to=KIND are needed; KIND is one of supernet, official"),
            (["source=net"], "source=PATH and to=KIND are needed"),
            (["source=net", "to=supernett"], "to=supernett: no such kind; did you mean supernet?"),
            (["source=arch.json", "to=arch"], "arch.json is the source itself; name another file with out="),
            (["source=nowhere", "to=arch"], "nowhere does not exist"),
            (["source=nowhere.pth", "to=supernet"], "nowhere.pth does not exist"),
            (["source=half.pth", "to=supernet"], "half.pth is not a whole torch file"),
            (["source=half.pth", "to=mmrazor", "out=x.pth"], "half.pth is not a whole torch file"),
            (["source=tiny.pth", "to=supernet"], "no supernet of the official project"),
            (["source=lacking.pth", "to=supernet"], "5 missing keys: final_expand_layer.bn.bias"),
            (["source=net.pth", "to=official", "space=mbv3_w1.0", "out=x"], "not a checkpoint of mbv3_w1.0"),
            (["source=net.h5", "to=supernet"], "net.h5 does not tell its search space; name it with space="),
            (["source=arch.json", "to=net_config"], "does not tell the space of its architecture; name it with space="),
            (["source=arch.json", "to=genotype", "out=x", "op_candidates=[MB3 3x3]"], "op_candidates are MB3 3x3"),
            (["source=net.pth", "to=arch"], "net.pth is not a JSON file"),
            (["source=arch.json", "to=arch", "out=x", f"space={SPACE}", "resolution=-3"], "resolution=-3: must be 1"),
            (["source=numbers.pth", "to=supernet"], "no supernet of the official project: the file holds 1"),
            (["source=dict.json", "to=arch", "out=x"], "'d' holds None, which is no number"),
            (
                [f"source={small}", "to=arch_dict", "space=mbv3_small"],
                "the official project has no space of stages of 3",
            ),
        ):
            assert message in error(capsys, *words), words


def test_the_file_of_a_sub_network_of_nnablanas_is_cut_with_its_architecture(place, supernet, capsys, unchanged):
    arch = supernet.space.uniform(5, 4, 3)
    nnablanas.save_h5(supernet.extract(arch), "static.h5")
    Path("arch.json").write_text(arch.to_json())
    named = ["source=static.h5", f"space={SPACE}", f"num_classes={CLASSES}"]
    convert(capsys, *named, "arch=arch.json", "to=official", "out=subnet.pth")
    written, expected = torch.load("subnet.pth", weights_only=True)["state_dict"], subnet_tensors(supernet, arch)
    assert written.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in written.items() if value.dim())
    with unchanged(place):
        said = error(capsys, *named, "to=supernet", "out=whole")
    assert (
        "static.h5 holds one sub-network, not a supernet mbv3_w0.35; ofa evaluate and ofa convert to=official" in said
    )


def test_the_torch_file_of_a_sub_network_is_no_supernet(place, supernet, capsys, unchanged):
    for kernel, ratio, depth in ((5, 4, 3), (7, 6, 3), (3, 6, 4)):
        tensors = subnet_tensors(supernet, supernet.space.uniform(kernel, ratio, depth))
        official.write_torch_file("static.pth", tensors)
        official.write_torch_file("razor.pth", to_mmrazor(tensors))
        with unchanged(place):
            for name in ("static.pth", "razor.pth"):
                said = error(capsys, f"source={name}", "to=supernet", "out=whole")
                assert f"{name}: it holds one sub-network, not a supernet mbv3_w0.35; ofa evaluate takes it" in said
    official.write_torch_file("full.pth", subnet_tensors(supernet, supernet.space.largest))
    assert "40 kernel matrices" in convert(capsys, "source=full.pth", "to=supernet", "out=full")
