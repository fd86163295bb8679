"""MACs of any plain network, by running it without data."""

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def count_plain_macs(network: "nn.Module", resolution: int, in_chans: int = 3) -> int:
    """Multiply-adds of one square image through a network of convolutions and linear layers, exact.

    The rule is that of `count_macs`. The network is copied to the meta device, so nothing is computed and no weights
    are held.
    """
    import torch
    from torch import nn

    ghost = copy.deepcopy(network).to("meta").eval()
    total = 0

    def count(layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += layer.weight[0].numel() * output.numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel() * output.shape[0]

    for layer in ghost.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        ghost(torch.empty(1, in_chans, resolution, resolution, device="meta"))
    return total
