"""Batch norm folded into the convolution before it: fewer operations, the same function."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(module: nn.Module, example_NCHW: Tensor) -> nn.Module:
    """A copy of a network in eval mode whose batch norms are folded into the convolutions that feed them.

    Which convolution feeds which norm is seen by running the network once, so it does not matter how the two are
    called or nested. A norm that also applies an activation (timm's `BatchNormAct2d`) leaves the activation. Norms
    fed by anything else, and layers used more than once, stay as they are.

    Args:
        example_NCHW: any input the network accepts.
    """
    folded = copy.deepcopy(module).eval()
    names = {layer: name for name, layer in folded.named_modules()}
    for convolution, norm in _pairs(folded, example_NCHW):
        _replace(folded, names[convolution], fuse_conv_bn_eval(convolution, norm))
        _replace(folded, names[norm], getattr(norm, "act", nn.Identity()))
    return folded


def _pairs(module: nn.Module, example_NCHW: Tensor) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Convolutions and the norms that read their output, for layers that run exactly once."""
    made_by: dict[int, nn.Conv2d] = {}
    fed_by: dict[_BatchNorm, nn.Conv2d] = {}
    outputs: list[Tensor] = []  # kept alive, so that no two of them share an id
    calls: dict[nn.Module, int] = {}

    def after(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(layer, nn.Conv2d):
            outputs.append(output)
            made_by[id(output)] = layer
        elif isinstance(layer, _BatchNorm) and id(inputs[0]) in made_by:
            fed_by[layer] = made_by[id(inputs[0])]

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | _BatchNorm)]
    handles = [layer.register_forward_hook(after) for layer in layers]
    try:
        with torch.no_grad():
            module(example_NCHW)
    finally:
        for handle in handles:
            handle.remove()
    readers = list(fed_by.values())
    return [
        (convolution, norm)
        for norm, convolution in fed_by.items()
        if calls[norm] == calls[convolution] == 1 and readers.count(convolution) == 1 and norm.running_mean is not None
    ]


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)
