"""The exponential moving average of weights."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Keeps an average of a model's parameters; buffers are not averaged, since batch norm is calibrated anyway.

    The decay grows from 0 as (1 + n) / (10 + n) after n updates, so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.restart(model)

    def restart(self, model: nn.Module) -> None:
        """Begin anew from the weights of `model`."""
        self.weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over saved averages."""
        for name, average in self.weights.items():
            average.copy_(weights[name])

    @torch.no_grad()
    def update(self, model: nn.Module, updates_before: int) -> None:
        """Move the average towards the weights of `model`."""
        decay = min(self.decay, (1 + updates_before) / (10 + updates_before))
        for average, parameter in zip(self.weights.values(), model.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)

    @contextlib.contextmanager
    @torch.no_grad()
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Run a block with the averaged weights inside `model`, then put its own weights back."""
        own = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        self.copy_to(model)
        try:
            yield
        finally:
            _copy(own, model)

    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the weights of `model` with the average."""
        _copy(self.weights, model)


@torch.no_grad()
def _copy(weights: dict[str, Tensor], model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
