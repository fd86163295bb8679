"""What every supernet must do, run for every family."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.elastic import calibrate
from onceforall.errors import FileFormatError, InvalidArch
from onceforall.space import Arch, Block, create_space
from onceforall.supernets import create_supernet, load_supernet, load_weights

SIDE = {
    "mbv3_w0.5": 64,
    "mbv3_small": 32,
    "resnet_small": 32,
    "proxyless_w0.35": 64,
    "resnet50": 64,
    "compound_w0.5": 64,
    "compound_elastic_w0.5": 64,
    "cifar_kdw": 32,
}
FAMILIES = sorted(SIDE)


def trained_looking(name: str, **options):
    """A supernet whose every weight and statistic differs, as after training."""
    supernet = create_supernet(name, num_classes=5, **options)
    generator = torch.Generator().manual_seed(0)
    for key, value in supernet.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.dtype.is_floating_point and value.dim() < 4:
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return supernet.eval().double()


SUPERNETS = {name: trained_looking(name) for name in FAMILIES}


def images(name: str, count: int = 2, channels: int = 3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, SIDE[name], SIDE[name], generator=generator, dtype=torch.float64)


@given(st.sampled_from(FAMILIES), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_active_subnet_equals_extracted(name, seed):
    supernet = SUPERNETS[name]
    arch = supernet.space.sample(np.random.default_rng(seed))
    with torch.no_grad():
        torch.testing.assert_close(supernet.extract(arch)(images(name)), supernet(images(name), arch))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("phase", [0, 1, 2])
def test_sorting_keeps_the_largest_network(name, phase):
    supernet = trained_looking(name)
    smallest = supernet.space.smallest
    with torch.no_grad():
        before, narrow = supernet(images(name)), supernet(images(name), smallest)
        supernet.sort_channels(phase)
        torch.testing.assert_close(supernet(images(name)), before, rtol=1e-9, atol=1e-12)
        if phase == 0:
            assert not torch.allclose(supernet(images(name), smallest), narrow)
        ordered = {key: value.clone() for key, value in supernet.state_dict().items()}
        supernet.sort_channels(phase)
    assert all(torch.equal(value, ordered[key]) for key, value in supernet.state_dict().items())


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mbv3_w0.5", {"expand_ratios": [3, 4]}),
        ("proxyless_w0.35", {"expand_ratios": [3]}),
        ("resnet_small", {"expand_ratios": [0.5, 0.75]}),
        ("resnet50", {"width_mults": [0.65, 0.8]}),
        ("resnet50", {"expand_ratios": [0.2, 0.25], "width_mults": [0.65]}),
        ("compound_w0.5", {"depths": [2, 3]}),
        ("cifar_kdw", {"expand_ratios": [2]}),
    ],
)
@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("built_whole", [True, False])
def test_sorting_keeps_the_largest_network_that_is_trained(name, part, phase, built_whole):
    """What training never reaches is neither sorted into its networks, nor asked what is important."""
    supernet = trained_looking(name, **({} if built_whole else part))
    space = create_space(name, num_classes=5, **part)
    whole = create_space(name, num_classes=5).largest
    with torch.no_grad():
        before, outside = supernet(images(name), space.largest), supernet(images(name), whole)
        unsorted = {key: value.clone() for key, value in supernet.state_dict().items()}
        supernet.sort_channels(phase, space if built_whole else None)
        torch.testing.assert_close(supernet(images(name), space.largest), before, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(supernet(images(name), whole), outside, rtol=1e-9, atol=1e-12)
    assert any(not torch.equal(value, unsorted[key]) for key, value in supernet.state_dict().items())


def test_groups_end_at_the_ratios_that_are_trained():
    supernet = trained_looking("resnet50", expand_ratios=[0.2, 0.35])
    arch = supernet.space.uniform(expand_ratio=0.2)
    with torch.no_grad():
        before = supernet(images("resnet50"), arch)
        supernet.sort_channels(1)
        torch.testing.assert_close(supernet(images("resnet50"), arch), before, rtol=1e-9, atol=1e-12)


def test_untrained_channels_have_no_say_in_what_is_important():
    supernet = trained_looking("resnet50", width_mults=[0.65])
    other = copy.deepcopy(supernet)
    other.block(2, 0).conv3.weight.data[supernet.layout.widths([0.65] * 6)[3] :] *= 100
    supernet.sort_channels()
    other.sort_channels()
    assert torch.equal(supernet.block(2, 0).conv2.weight, other.block(2, 0).conv2.weight)


def test_later_sorting_keeps_what_earlier_phases_trained():
    """Only without squeeze-and-excite: the channels inside it are sorted freely at every phase, as published."""
    supernet = trained_looking("resnet_small")
    middle = supernet.space.uniform(expand_ratio=0.75)
    with torch.no_grad():
        before = supernet(images("resnet_small"), middle)
        supernet.sort_channels(1)
        torch.testing.assert_close(supernet(images("resnet_small"), middle), before, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_forward_changes_no_state(name):
    supernet = trained_looking(name)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    with torch.no_grad():
        supernet(images(name), supernet.space.smallest)
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_extracted_weights_are_copies_that_calibrate(name):
    supernet = trained_looking(name)
    subnet = supernet.extract(supernet.space.smallest)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    calibrate(subnet, [images(name, 8)])
    for parameter in subnet.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())


def test_gradients_reach_only_the_active_prefix():
    supernet = trained_looking("resnet_small").train()
    supernet(images("resnet_small", 4), supernet.space.smallest).sum().backward()
    block = supernet.block(0, 0)
    assert block.conv1.weight.grad[16:].abs().max() == 0
    assert block.conv1.weight.grad[:16].abs().max() > 0
    assert supernet.block(0, 1).conv1.weight.grad is None


@pytest.mark.parametrize("name", FAMILIES)
def test_save_and_load_give_the_same_network(name, tmp_path):
    supernet = create_supernet(name, num_classes=5, in_chans=1)
    supernet.save(tmp_path / "net", {"classes": list("abcde")})
    loaded = load_supernet(tmp_path / "net.safetensors")
    assert loaded.space == supernet.space
    assert json.loads((tmp_path / "net.json").read_text())["classes"] == list("abcde")
    assert all(torch.equal(value, supernet.state_dict()[key]) for key, value in loaded.state_dict().items())
    other = create_supernet(name, num_classes=3, in_chans=1)
    assert load_weights(other, tmp_path / "net", other_classes=True) == ["classifier.bias", "classifier.weight"]
    theirs = other.state_dict()
    assert all(torch.equal(value, theirs[k]) for k, value in supernet.state_dict().items() if "classifier" not in k)


def test_damaged_and_foreign_files_are_named(tmp_path):
    supernet = create_supernet("resnet_small", num_classes=5)
    supernet.save(tmp_path / "net")
    whole = (tmp_path / "net.safetensors").read_bytes()
    with pytest.raises(FileFormatError, match="does not fit a mbv3_small supernet"):
        load_weights(create_supernet("mbv3_small", num_classes=5), tmp_path / "net")
    (tmp_path / "net.safetensors").write_bytes(whole[:1000])
    with pytest.raises(FileFormatError, match="not a whole safetensors file"):
        load_supernet(tmp_path / "net")
    (tmp_path / "net.json").write_text("{}")
    with pytest.raises(FileFormatError, match="not the description"):
        load_supernet(tmp_path / "net")
    with pytest.raises(FileFormatError, match="does not exist"):
        load_supernet(tmp_path / "nothing")


def test_extract_refuses_foreign_architectures():
    with pytest.raises(InvalidArch, match="stage 1, block 1 has kernel size 9"):
        SUPERNETS["resnet_small"].extract(Arch(32, ((Block(9, 1),),) * 3))


def test_initialisation_follows_the_seed_and_the_fan_out():
    one, two = create_supernet("mbv3_w1.0"), create_supernet("mbv3_w1.0")
    one.reset_parameters(seed=3)
    two.reset_parameters(seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    depthwise = one.block(4, 1).depthwise
    assert float(depthwise.weight.detach().std()) == pytest.approx((2 / (49 * 960)) ** 0.5, rel=0.02)
    assert torch.equal(depthwise.transforms["7to5"], torch.eye(25))
    assert one.classifier.bias.abs().max() == 0
