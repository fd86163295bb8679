"""The front of ensembles while it is searched: what has to be beaten at each latency."""

import numpy as np
from numpy.typing import NDArray

from .blocks import Integers
from .ensembles import Sets

Latencies = NDArray[np.float64]


_MOST_EQUAL = 16


class Archive:
    """Non-dominated sets of members by rising latency and rising count of images, one for each point of the front.

    `equal` holds some more sets of the same latency and count: images are whole numbers, so that a way up often leads
    over sets that are only as good.
    """

    def __init__(self, networks: int) -> None:
        self.sets: Sets = np.zeros((0, networks), dtype=bool)
        self.latencies: Latencies = np.zeros(0)
        self.correct: Integers = np.zeros(0, dtype=np.int64)
        self._equal: dict[tuple[float, int], dict[bytes, Sets]] = {}

    @property
    def equal(self) -> Sets:
        """Sets on the front, with those of equal points, (n, N)."""
        points = zip(self.latencies.tolist(), self.correct.tolist(), strict=True)
        rows = [row for point in points for row in self._equal[point].values()]
        return np.array(rows, dtype=bool).reshape(len(rows), self.sets.shape[1])

    def reached(self, latencies: Latencies) -> Integers:
        """Images right for the best known set that is as fast, (n,); -1 where there is none."""
        place = np.searchsorted(self.latencies, latencies, side="right")
        return np.concatenate([[-1], self.correct])[place]

    def best_within(self, latency: float) -> Sets:
        """The members (N,) of the best known set that is as fast; there must be one."""
        return self.sets[np.searchsorted(self.latencies, latency, side="right") - 1]

    def offer(self, sets: Sets, latencies: Latencies, correct: Integers) -> None:
        """Take in what is better than everything as fast, and drop what it beats."""
        better = np.flatnonzero(correct > self.reached(latencies))
        if len(better):
            self._insert(sets, latencies, correct, better)
        for row in np.flatnonzero(correct == self.reached(latencies)):
            point = (float(latencies[row]), int(correct[row]))
            alike = self._equal.setdefault(point, {})
            if len(alike) < _MOST_EQUAL:
                alike[sets[row].tobytes()] = sets[row].copy()

    def _insert(self, sets: Sets, latencies: Latencies, correct: Integers, better: Integers) -> None:
        order = better[np.lexsort((-correct[better], latencies[better]))]
        every = np.concatenate([self.latencies, latencies[order]])
        counts = np.concatenate([self.correct, correct[order]])
        members = np.concatenate([self.sets, sets[order]])
        by_latency = np.lexsort((-counts, every))
        before = np.maximum.accumulate(np.concatenate([[-1], counts[by_latency]]))[:-1]
        kept = by_latency[counts[by_latency] > before]
        self.sets, self.latencies, self.correct = members[kept], every[kept], counts[kept]
