"""Folding leaves the function and removes the norms, whatever the layers are called."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onceforall.deploy import fold_batch_norm
from onceforall.supernets import create_supernet


def with_statistics(module: nn.Module) -> nn.Module:
    """The module in double precision, its batch norms as different from the identity as after training."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.double().modules():
        if isinstance(layer, _BatchNorm):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                tensor.data.normal_(generator=generator)  # type: ignore[union-attr]
            layer.running_var.data.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
    return module.eval()


def norms(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["mbv3_small", "resnet_small"])
def test_an_extracted_network_keeps_its_function_and_loses_its_norms(name: str) -> None:
    supernet = create_supernet(name, num_classes=10)
    network = with_statistics(supernet.extract(supernet.space.largest))
    before = [parameter.clone() for parameter in network.parameters()]
    folded = fold_batch_norm(network, images(32))
    assert norms(network)
    assert not norms(folded)
    torch.testing.assert_close(folded(images(32)), network(images(32)), rtol=1e-10, atol=1e-10)
    for parameter, copy in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, copy)


class Unusual(nn.Module):
    """A norm before any convolution, a convolution used twice, and a convolution read by two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.BatchNorm2d(3)
        self.twice, self.after_twice = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.shared = nn.Conv2d(3, 4, 1)
        self.left, self.right = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.last, self.norm = nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.entry(x)))
        x = self.shared(self.after_twice(x))
        return self.norm(self.last(self.left(x) * self.right(x)))


def test_what_cannot_be_folded_stays() -> None:
    network = with_statistics(Unusual())
    folded = fold_batch_norm(network, images(8))
    assert len(norms(folded)) == 4
    assert isinstance(folded.get_submodule("norm"), nn.Identity)
    torch.testing.assert_close(folded(images(8)), network(images(8)), rtol=1e-10, atol=1e-10)


def test_the_mode_of_the_network_is_left_alone() -> None:
    network = Unusual().double().train()
    fold_batch_norm(network, images(8))
    assert network.training
    assert network.entry.num_batches_tracked == 0
