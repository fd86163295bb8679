"""Counting agrees with the extracted networks: their parameters, the MACs torch counts, the tensors they keep alive."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from onceforall.cost import count_macs, count_params, peak_memory, structure
from onceforall.deploy import fold_batch_norm
from onceforall.supernets import Supernet, create_supernet

SMALL = {
    "mbv3_small": create_supernet("mbv3_small", num_classes=10, resolutions=[28, 32, 45]),
    "resnet_small": create_supernet("resnet_small", num_classes=10, in_chans=1, resolutions=[8, 15, 16, 32]),
    "cifar_kdw": create_supernet("cifar_kdw", num_classes=10, resolutions=[13, 24, 32]),
}


@pytest.fixture(scope="module", params=["mbv3_w1.0", "proxyless_w1.3", "resnet50"])
def large(request: pytest.FixtureRequest) -> Supernet:
    return create_supernet(request.param, num_classes=7, resolutions=[64, 97, 128])


def extracted(supernet: Supernet, seed: int) -> tuple[Any, Any, Tensor]:
    """A random architecture, its network, one image for it."""
    arch = supernet.space.sample(np.random.default_rng(seed))
    image = torch.zeros(1, supernet.space.layout.in_chans, arch.resolution, arch.resolution)
    return arch, supernet.extract(arch), image


def torch_macs(network: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() // 2


class TensorLog(TorchDispatchMode):
    """Writes down which storages every operation of a run reads and writes."""

    IN_PLACE = ("relu", "hardtanh", "hardswish", "hardsigmoid", "mul", "add.")

    def __init__(self, weights: set[int], image: Tensor) -> None:
        super().__init__()
        self.weights = weights
        self.kept: list[Tensor] = [image]  # nothing is freed, so that a storage's address stays its name
        self.sizes = {self.storage(image): image.numel()}
        self.steps: list[tuple[str, set[int], int]] = []

    @staticmethod
    def storage(tensor: Tensor) -> int:
        return tensor.untyped_storage().data_ptr()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple) else result  # max pooling also gives indices nobody reads
        read = {self.storage(a) for a in args if isinstance(a, Tensor)} - self.weights
        if self.storage(output) not in self.weights:
            self.kept.append(output)
            self.sizes.setdefault(self.storage(output), output.numel())
            self.steps.append((str(func), read, self.storage(output)))
        return result

    def peak(self) -> int:
        """Most elements alive at once when operations on single elements may overwrite what nothing reads later."""
        last_read = {storage: step for step, (_, read, _) in enumerate(self.steps) for storage in read}
        made: set[int] = {self.storage(self.kept[0])}
        peak = 0
        for step, (name, read, written) in enumerate(self.steps):
            live = {storage for storage in made if last_read.get(storage, -1) >= step}
            dying = {storage for storage in read if last_read[storage] == step}
            single = any(name.removeprefix("aten.").startswith(kind) for kind in self.IN_PLACE)
            reuses = single and any(self.sizes[storage] == self.sizes[written] for storage in dying)
            new = 0 if written in live or reuses else self.sizes[written]
            peak = max(peak, sum(self.sizes[storage] for storage in live) + new)
            made.add(written)
        return peak


def measured_peak(network: nn.Module, image: Tensor) -> int:
    network = fold_batch_norm(network, image)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    with torch.no_grad(), TensorLog(weights, image) as log:
        network(image)
    return log.peak()


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from(sorted(SMALL)), seed=st.integers(0, 2**32 - 1))
def test_counts_equal_the_extracted_network(name: str, seed: int) -> None:
    supernet = SMALL[name]
    arch, network, image = extracted(supernet, seed)
    assert count_params(supernet, [arch]).tolist() == [sum(p.numel() for p in network.parameters())]
    assert count_macs(supernet, [arch]).tolist() == [torch_macs(network, image)]
    assert peak_memory(supernet, [arch]).tolist() == [4 * measured_peak(network, image)]


@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_the_extracted_large_network(large: Supernet, seed: int) -> None:
    arch, network, image = extracted(large, seed)
    assert count_params(large, [arch]).tolist() == [sum(p.numel() for p in network.parameters())]
    assert count_macs(large, [arch]).tolist() == [torch_macs(network, image)]
    assert peak_memory(large, [arch]).tolist() == [4 * measured_peak(network, image)]


@settings(deadline=None, max_examples=10)
@given(name=st.sampled_from(sorted(SMALL)), seed=st.integers(0, 2**32 - 1))
def test_memory_of_every_block_equals_the_block_alone(name: str, seed: int) -> None:
    supernet = SMALL[name]
    arch, network, _ = extracted(supernet, seed)
    if name == "cifar_kdw":
        blocks = list(network.blocks)
    else:
        stages = network.blocks[1:-1] if name == "mbv3_small" else network.stages
        blocks = [block for stage in stages for block in stage]
    parts = list(structure.network(supernet.space.layout, arch))[1:-1]
    assert len(blocks) == len(parts)
    for block, (part, side) in zip(blocks, parts, strict=True):
        assert part.peak_elements(side) == measured_peak(block, torch.zeros(1, part.in_channels, side, side))


def test_the_log_of_tensors_sees_a_kept_residual() -> None:
    """Input 4x8x8, middle 16x8x8: middle and its successor live with the input, which the addition reads last."""

    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.across, self.down = nn.Conv2d(4, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(self.across(self.up(x)))

    assert measured_peak(Kept().eval(), torch.zeros(1, 4, 8, 8)) == 64 * (4 + 16 + 16)
