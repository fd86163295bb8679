"""What an ensemble promises before its images are counted: a Gaussian process over sets of members.

Counts of a few hundred ensembles say much about all others. Which share of an ensemble is of good networks explains
most of a count; ensembles with common members deviate from that alike.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .archive import Archive
from .blocks import Integers
from .ensembles import Sets

Values = NDArray[np.float64]
_RIDGE = 1e-3
_NOISE = 0.05  # share of the variance that common members do not explain


class Promise:
    """Fitted to counts of sets: mean and deviation of the counts of other ones, in images.

    Args:
        singles: images right for every network alone (N,).
        sets: with at least one member each (n, N). counts: their images right (n,).
    """

    def __init__(self, singles: Integers, sets: Sets, counts: Integers) -> None:
        self._quality = (singles - singles.mean()) / max(singles.std(), 1.0)
        self._middle, self._scale = counts.mean(), max(counts.std(), 1.0)
        trend, self._shares = self._trend(sets), _shares(sets)
        scaled = (counts - self._middle) / self._scale
        square = trend.T @ trend + _RIDGE * np.eye(trend.shape[1])
        self._slopes = np.linalg.solve(square, trend.T @ scaled)
        rest = scaled - trend @ self._slopes
        self._deviation = self._scale * max(float(rest.std()), 1e-3)
        covariance = _alike(self._shares, self._shares) + _NOISE * np.eye(len(sets))
        self._inverse = np.linalg.inv(covariance)
        self._influence = self._inverse @ rest

    def means(self, sets: Sets) -> Values:
        """Expected counts (n,)."""
        rest = _alike(_shares(sets), self._shares) @ self._influence
        return self._middle + self._scale * (self._trend(sets) @ self._slopes + rest)

    def deviations(self, sets: Sets) -> Values:
        """Standard deviations of the counts (n,)."""
        known = _alike(_shares(sets), self._shares)
        left = 1 + _NOISE - np.einsum("ij,ij->i", known @ self._inverse, known)
        return self._deviation * np.sqrt(np.maximum(left, 1e-6))

    @property
    def deviation(self) -> float:
        """The standard deviation where nothing alike was counted."""
        return self._deviation

    def _trend(self, sets: Sets) -> Values:
        few = 1 / sets.sum(axis=1)
        mean = few * (sets @ self._quality)
        best = np.where(sets, self._quality, -np.inf).max(axis=1)
        return np.stack([np.ones(len(sets)), few, mean, mean**2, mean * few, best], axis=1)


def expected_gains(
    archive: Archive, latencies: Values, means: Values, deviations: Values | float, reference: tuple[float, int]
) -> Values:
    """Expected growth of the hypervolume of a front by each of some ensembles (n,), in ms times images.

    Args:
        latencies, means, deviations: of the ensembles (n,), in ms and images; deviations may be one number.
        reference: latency in ms and images right that hypervolumes are measured towards.
    """
    steps = np.concatenate([[0.0], archive.latencies, [reference[0]]])  # between two of them the front is level
    reached = np.maximum(np.concatenate([[reference[1]], archive.correct]), reference[1])
    widths = np.clip(steps[1:] - np.maximum(steps[:-1], latencies[:, None]), 0, None)
    deviations = np.broadcast_to(deviations, means.shape)[:, None]
    above = (means[:, None] - reached) / deviations
    # The integral of the normal distribution; its tails by a logistic curve, which is as good for ranking.
    improvement = deviations * (np.exp(-(above**2) / 2) / math.sqrt(2 * math.pi) + above * _below(above))
    return (np.maximum(improvement, 0) * widths).sum(axis=1)


def _below(values: Values) -> Values:
    return 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))


def _shares(sets: Sets) -> Values:
    return sets / np.sqrt(sets.sum(axis=1, keepdims=True))


def _alike(first: Values, second: Values) -> Values:
    return (first @ second.T) ** 2
