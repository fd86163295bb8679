"""Temperatures that make the probabilities of networks comparable."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from .blocks import Block

Floats = NDArray[np.float64]
_COLDEST, _HOTTEST = 0.25, 4.0
_GOLDEN = (5**0.5 - 1) / 2
_NARROWINGS = 16  # the last interval is 1/2000 of the first
NOTHING = 1e-12  # a probability that float16 cannot hold is not impossible


def fit_temperatures(blocks: Callable[[], Iterable[Block]]) -> Floats:
    """The temperature (N,) in 0.25 to 4 with which each network's probabilities p^(1/T) fit the labels best.

    `blocks()` gives the images of a table anew in every call. Golden section over log T, all networks at once.
    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """

    def loss(logarithms: Floats) -> Floats:
        parts = [np.log(np.maximum(b.tempered(np.exp(logarithms)).label_probabilities(), NOTHING)) for b in blocks()]
        return -np.concatenate(parts, axis=1).mean(axis=1)

    networks = len(next(iter(blocks())).probabilities)
    low, high = np.full(networks, np.log(_COLDEST)), np.full(networks, np.log(_HOTTEST))
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [loss(inner[0]), loss(inner[1])]
    for _ in range(_NARROWINGS):
        left = losses[0] < losses[1]
        low, high = np.where(left, low, inner[0]), np.where(left, inner[1], high)
        fresh = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        known, known_loss = np.where(left, inner[0], inner[1]), np.where(left, losses[0], losses[1])
        fresh_loss = loss(fresh)
        inner = [np.where(left, fresh, known), np.where(left, known, fresh)]
        losses = [np.where(left, fresh_loss, known_loss), np.where(left, known_loss, fresh_loss)]
    return np.exp((low + high) / 2)
