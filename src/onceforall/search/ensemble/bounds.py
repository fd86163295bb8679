"""How many images an ensemble can have right at most, from what its parts win, without adding up its votes.

A row (see `compaction`) is won when the summed margin is above zero, a won tie counting as one unit. Parts that cover
an ensemble evenly (two parts that make it up, or the three pairs of a triple) sum to a multiple of its margin: where
all parts lose a row, the ensemble loses it. So the rows that some part wins bound the ensemble from above. They are
kept as bits, which makes a bound many times cheaper than a count.
"""

import numpy as np
from numpy.typing import NDArray

from .blocks import Integers
from .votes import VoteTable

Bits = NDArray[np.uint8]


class RowBits:
    """Rows won, as bits: layer by layer, each layer filled up to whole bytes."""

    def __init__(self, votes: VoteTable) -> None:
        self._votes = votes
        self._layers = votes.layers
        widths = [-(-(stop - start) // 8) for start, stop in votes.layers]
        ends = np.cumsum([0, *widths])
        self._places = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        self.bytes_per_set = int(ends[-1])
        self._singles = self.with_each(np.zeros(votes.members, dtype=bool), np.arange(votes.members))

    def pack(self, won: NDArray[np.bool_]) -> Bits:
        """Rows won (n, rows) as bits (n, bytes); the bits that fill a layer up are 1 in all but the first layer."""
        bits = np.empty((len(won), self.bytes_per_set), dtype=np.uint8)
        for (start, stop), (first, end) in zip(self._layers, self._places, strict=True):
            bits[:, first:end] = np.packbits(won[:, start:stop], axis=1)
            if first and (stop - start) % 8:
                bits[:, end - 1] |= 0xFF >> (stop - start) % 8
        return bits

    def count(self, bits: Bits) -> Integers:
        """Images whose rows are all won, (n, bytes) -> (n,), constants of the table included."""
        if not self._places:
            return np.full(len(bits), self._votes.always_right, dtype=np.int64)
        right = bits[:, : self._places[0][1]].copy()
        for first, end in self._places[1:]:
            right[:, : end - first] &= bits[:, first:end]
        return self._votes.always_right + np.bitwise_count(right).sum(axis=1, dtype=np.int64)

    def with_each(self, inclusion: NDArray[np.bool_], changes: Integers) -> Bits:
        """Rows won by the members and each network of `changes` in turn, (n, bytes)."""
        return self.pack(self._votes.won_rows(self._votes.sums(inclusion), changes))

    def bounds(self, inclusion: NDArray[np.bool_], changes: Integers) -> Integers:
        """Most images that the members and each network of `changes` in turn can have right, (n,)."""
        return self.count(self.pack(self._votes.sums(inclusion)[None] > 0) | self._singles[changes])


class PairBits:
    """Rows won by every pair of networks: exact counts of all pairs, and bounds of all triples."""

    def __init__(self, rows: RowBits, networks: int) -> None:
        self._rows = rows
        self._first = np.cumsum([0, *range(networks - 1, 0, -1)])  # where the pairs of each network begin
        parts = [
            rows.with_each(np.arange(networks) == low, np.arange(low + 1, networks)) for low in range(networks - 1)
        ]
        self._bits = np.concatenate(parts) if parts else np.zeros((0, rows.bytes_per_set), dtype=np.uint8)

    def counts(self) -> Integers:
        """Images right for every pair, in the order of `numpy.triu_indices(N, 1)`."""
        parts = np.array_split(self._bits, 1 + len(self._bits) // 512)
        return np.concatenate([self._rows.count(part) for part in parts])

    def triple_bounds(self, low: int, middle: int) -> Integers:
        """Most images that the triples of two networks and every later one can have right."""
        start = self._pair(low, middle) + 1
        rest = self._pair(middle, middle + 1)
        later = self._first[low + 1] - start
        either = self._bits[start : start + later] | self._bits[rest : rest + later]
        either |= self._bits[start - 1]
        return self._rows.count(either)

    def _pair(self, low: int, high: int) -> int:
        return int(self._first[low]) + high - low - 1
