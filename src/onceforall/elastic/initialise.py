"""Weights to start training from."""

import torch
from torch import nn


@torch.no_grad()
def initialise_he_fout(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Convolutions ~ N(0, sqrt(2 / (k k out))), groups ignored; linear uniform in +-1/sqrt(in); biases 0; norms 1, 0.

    Kernel transform matrices stay the identity. This is "he_fout" of the official Once-for-All code.
    """
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, nn.Parameter):
            continue
        if weight.dim() == 4:
            out_channels, _, height, width = weight.shape
            weight.normal_(0, (2 / (height * width * out_channels)) ** 0.5, generator=generator)
        elif weight.dim() == 2:
            bound = weight.shape[1] ** -0.5
            weight.uniform_(-bound, bound, generator=generator)
        else:
            weight.fill_(1)
        bias = getattr(layer, "bias", None)
        if isinstance(bias, nn.Parameter):
            bias.zero_()
