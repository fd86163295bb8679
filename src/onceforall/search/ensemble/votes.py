"""The soft vote: how many images a set of networks classifies right, exactly, for many sets at once."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError
from .blocks import Block, Integers
from .compaction import compact

_TILE = 2048  # rows at a time: their margins stay in the processor's cache
_SETS = 256  # inclusion vectors at a time
_EXACT_MEMBERS = 127  # votes of so many networks fit into 32 bits


class VoteTable:
    """Votes of N networks on M images, reduced to what a set of members can change (see `compaction`).

    Rows stand in layers: layer k holds the k-th rival of every image that has so many, images with most rivals first,
    so that layer k belongs to the first images and "right against every rival" is an AND over the layers.

    Attributes:
        members: number of networks N. images: number of images M. always_right: images right for every set.
        layers: per layer its first row and the row after its last; the first layer has a row for every open image.
    """

    def __init__(self, blocks: Iterable[Block], top: int | None = None) -> None:
        """Reduce blocks of images; `top`: each network votes for that many classes only. Raises DataError."""
        found = compact(blocks if top is None else (block.truncated(top) for block in blocks))
        self.members, self.images, self.always_right = found.members, found.images, found.always_right
        ordered = sorted(found.open, key=lambda image: -len(image.margins))
        dtype = np.int32 if self.members <= _EXACT_MEMBERS else np.int64
        rows = sum(len(image.margins) for image in ordered)
        self._margins = np.empty((self.members, rows), dtype=dtype)
        self._ties = np.empty(rows, dtype=dtype)
        layers: list[tuple[int, int]] = []
        start = 0
        while ordered:
            stop = start + len(ordered)
            self._margins[:, start:stop] = np.stack([image.margins[len(layers)] for image in ordered], axis=1)
            self._ties[start:stop] = [image.wins_ties[len(layers)] for image in ordered]
            layers.append((start, stop))
            start = stop
            ordered = [image for image in ordered if len(image.margins) > len(layers)]
        self.layers = tuple(layers)
        self._tiles = [
            (first, min(first + _TILE, stop), first - start)
            for start, stop in layers
            for first in range(start, stop, _TILE)
        ]

    @property
    def open_images(self) -> int:
        """Images on which two sets of members can differ."""
        return self.layers[0][1] if self.layers else 0

    @property
    def rows(self) -> int:
        """Rivals of all open images together."""
        return self._margins.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory of the table in bytes."""
        return self._margins.nbytes + self._ties.nbytes

    def all_equal(self) -> bool:
        """Whether every set of members is right on the same images."""
        return not self.rows or bool((self._margins == self._margins[0]).all())

    def correct(self, weights: ArrayLike) -> Integers:
        """Images classified right by each set: `weights` (P, N), 0 or False for networks that are not in it -> (P,).

        The class with the largest weighted sum of probabilities is the answer, the lowest of equal ones. With equal
        weights this is the exact count: probabilities are whole numbers of 2^-24.

        Raises:
            ConfigError: a wrong shape, a negative weight, a set without members.
        """
        table = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        if table.ndim != 2 or table.shape[1] != self.members:
            raise ConfigError(
                f"weights of shape {table.shape}: one row per ensemble and {self.members} columns are needed"
            )
        if not ((table >= 0) & np.isfinite(table)).all() or not table.any(axis=1).all():
            raise ConfigError("weights must not be negative, and every ensemble needs a member")
        parts = [self._correct(table[start : start + _SETS]) for start in range(0, len(table), _SETS)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def _correct(self, weights: NDArray[np.float64]) -> Integers:
        weights = weights / weights.max(axis=1, keepdims=True)
        narrow = weights.astype(np.float32)
        # A float32 sum of s products errs by at most s 2^-24 of the sum of their magnitudes, each at most w 2^24.
        doubt = (1.01 * ((weights > 0).sum(axis=1) + 2) * weights.sum(axis=1) + 1).astype(np.float32)[:, None]
        right = np.ones((len(weights), self.open_images), dtype=bool)
        for start, stop, image in self._tiles:
            sums = narrow @ self._margins[:, start:stop].astype(np.float32)
            certain, possible = sums > doubt, sums >= -doubt
            if np.count_nonzero(certain) != np.count_nonzero(possible):
                sets, rows = np.nonzero(certain != possible)
                exact = np.einsum("ij,ij->i", weights[sets], self._margins[:, start + rows].T.astype(np.float64))
                certain[sets, rows] = (exact > 0) | ((exact == 0) & (self._ties[start + rows] > 0))
            right[:, image : image + stop - start] &= certain
        return self.always_right + np.count_nonzero(right, axis=1)

    def sums(self, inclusion: NDArray[np.bool_]) -> Integers:
        """Summed margins (rows,) of a set of members (N,), in whole units, a won tie counted as one unit."""
        return self._margins[inclusion].sum(axis=0, dtype=self._margins.dtype) + self._ties

    def correct_with(self, sums: Integers, changes: Integers, sign: int = 1) -> Integers:
        """Images right when each network of `changes` (n,) in turn is added to (sign 1) or taken from (-1) `sums`."""
        right = np.ones((len(changes), self.open_images), dtype=bool)
        for start, stop, image in self._tiles:
            # sums + margin > 0, written so that nothing but the comparison has to be stored
            bound = -sums[start:stop] if sign > 0 else sums[start:stop]
            margins = self._margins[changes, start:stop]
            right[:, image : image + stop - start] &= margins > bound if sign > 0 else margins < bound
        return self.always_right + np.count_nonzero(right, axis=1)

    def won_rows(self, sums: Integers, changes: Integers) -> NDArray[np.bool_]:
        """Whether each row is won when each network of `changes` (n,) in turn is added to `sums`, (n, rows)."""
        return self._margins[changes] > -sums
