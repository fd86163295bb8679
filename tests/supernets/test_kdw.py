"""The eight networks of the CIFAR-10 re-implementation: their MACs, and sorting of channels that layers share."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from onceforall.cost import count_macs
from onceforall.space import Arch, SearchSpace, create_space
from onceforall.supernets import create_supernet
from onceforall.supernets.kdw import KdwSupernet

CONFIGS = tuple(itertools.product((5, 7), (2, 3), (2, 4)))


def arch_of(space: SearchSpace, kernel_size: int, depth: int, width: int) -> Arch:
    return space.uniform(kernel_size, width, depth)


def trained_looking() -> KdwSupernet:
    """Every statistic, bias and scale of its own, in double precision."""
    supernet = create_supernet("cifar_kdw", num_classes=5)
    assert isinstance(supernet, KdwSupernet)
    generator = torch.Generator().manual_seed(0)
    for value in supernet.state_dict().values():
        if value.dtype.is_floating_point and value.dim() == 1:
            value.uniform_(0.5, 1.5, generator=generator)
    return supernet.eval().double()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def elastic_macs(k: int, d: int, w: int) -> int:
    """The closed form of the published table without its constant, for a batch of two."""
    blocks = range(1, d + 1)
    depthwise = 1024 * k**2 * sum(w**i for i in blocks)
    pointwise = 8192 * sum(w ** (2 * i - 1) + w ** (2 * i) for i in blocks)
    squeeze_excite = 64 * sum(w ** (2 * i) for i in blocks)
    return depthwise + pointwise + squeeze_excite + 1024**2 * w**d


def test_the_space_has_the_eight_networks():
    space = create_space("cifar_kdw")
    archs = [arch_of(space, *config) for config in CONFIGS]
    assert space.size == len(set(archs)) == 8
    assert all(arch in space for arch in archs)


def test_two_images_cost_what_the_published_table_says(shared: Path):
    golden = json.loads((shared / "golden" / "seed003.json").read_text())
    law = golden["macs_law"]
    space = create_space("cifar_kdw", num_classes=10)
    assert sorted((row["k"], row["d"], row["w"]) for row in golden["table"]) == sorted(CONFIGS)
    for row in golden["table"]:
        config = row["k"], row["d"], row["w"]
        per_image = int(count_macs(space, [arch_of(space, *config)])[0])
        assert law["B_min"] <= 2 * per_image - elastic_macs(*config) <= law["B_max"]
        assert f"{2 * per_image / 1e6:.2f}" == f"{row['macs_M']:.2f}"


def test_only_the_constant_depends_on_what_is_not_published():
    space = create_space("cifar_kdw", num_classes=10)
    rest = {2 * int(count_macs(space, [arch_of(space, *config)])[0]) - elastic_macs(*config) for config in CONFIGS}
    assert len(rest) == 1


@pytest.mark.parametrize("phase", [0, 1])
def test_sorting_keeps_every_network_of_the_widths_it_must_keep(phase: int):
    """Phase 0 keeps both depths of the largest width, later phases also those of the smaller one.

    The channels inside squeeze-and-excite are sorted freely at every phase, as published, so they are all used here.
    """
    supernet = trained_looking()
    for position in range(3):
        squeeze = supernet.block(position).squeeze_excite
        assert squeeze is not None
        squeeze.squeeze_width = lambda channels, all_of_them=squeeze.reduce.weight.shape[0]: all_of_them
    outputs = {}
    with torch.no_grad():
        for config in CONFIGS:
            outputs[config] = supernet(images(), arch_of(supernet.space, *config))
        unsorted = [supernet.block(position).project.weight.clone() for position in range(3)]
        supernet.sort_channels(phase)
        for config, before in outputs.items():
            after = supernet(images(), arch_of(supernet.space, *config))
            same = torch.allclose(after, before, rtol=1e-9, atol=1e-12)
            assert same == (config[2] == 4 or phase == 1)
    assert not any(torch.equal(supernet.block(i).project.weight, weight) for i, weight in enumerate(unsorted))


def test_sorting_puts_the_channels_that_are_read_most_first():
    supernet = trained_looking()
    supernet.sort_channels()
    shared = supernet.final.weight.detach().abs().sum((0, 2, 3))
    shared[:128] += supernet.block(2).expand.weight.detach().abs().sum((0, 2, 3))
    for first, last in ((0, 128), (128, 512)):  # the outputs of the second block, and those only the third has
        assert (shared[first:last].diff() <= 1e-12).all()
    assert (supernet.block(1).expand.weight.detach().abs().sum((0, 2, 3)).diff() <= 1e-12).all()
