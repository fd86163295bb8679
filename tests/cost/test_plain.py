"""Counting plain networks against the closed form, which knows nothing of modules."""

import numpy as np
import pytest
import torch

from onceforall.cost import count_macs, count_plain_macs
from onceforall.supernets import create_supernet


@pytest.mark.parametrize("name", ["mbv3_small", "resnet_small", "proxyless_w0.35", "resnet50"])
def test_extracted_networks_count_like_their_architecture(name):
    with torch.device("meta"):
        supernet = create_supernet(name)
    space = supernet.space
    for arch in [space.smallest, *space.sample_many(2, np.random.default_rng(0))]:
        network = supernet.extract(arch)
        assert count_plain_macs(network, arch.resolution) == count_macs(space, [arch])[0]
        assert next(network.parameters()).device.type == "meta"


def test_groups_biases_and_odd_sizes():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), torch.nn.Flatten(), torch.nn.Linear(6 * 3 * 3, 5)
    )
    assert count_plain_macs(network, 5, in_chans=2) == 3 * 3 * 1 * 6 * 9 + 54 * 5
