"""A few images seen by all networks: the form in which predictions travel from a table to the vote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError

UNIT = 2.0**-24  # every float16 probability is a whole number of these, so that votes can be added without rounding

Integers = NDArray[np.int64]
Units = NDArray[np.int32]
Probabilities = NDArray[np.floating]


@dataclass(frozen=True)
class Block:
    """Class probabilities of N networks on m images.

    Dense: `probabilities` (N, m, C) and nothing else. Listed: each network names k `classes` (N, m, k) per image with
    their `probabilities` (N, m, k) in descending order, and every other of the `class_count` classes has the
    probability `elsewhere` (N, m) for that network.
    """

    labels: Integers
    probabilities: Probabilities
    classes: Integers | None = None
    elsewhere: Probabilities | None = None
    class_count: int = 0

    @classmethod
    def together(cls, blocks: "Sequence[Block]") -> "Block":
        """The same images as seen by the networks of all blocks, in their order. Raises DataError for other images."""
        first = blocks[0]
        for block in blocks:
            alike = block.probabilities.shape[1:] == first.probabilities.shape[1:]
            if not alike or (block.labels != first.labels).any() or (block.classes is None) != (first.classes is None):
                raise DataError("predictions that are put together must be of the same images, kept in the same way")
        listed = (
            {}
            if first.classes is None
            else {
                "classes": np.concatenate([b.classes for b in blocks if b.classes is not None]),
                "elsewhere": np.concatenate([b._elsewhere() for b in blocks]),
            }
        )
        return replace(first, probabilities=np.concatenate([b.probabilities for b in blocks]), **listed)

    def first_classes(self) -> Integers:
        """The most probable class of every network on every image, (N, m); of equal ones the lowest."""
        if self.classes is None:
            return _ordered(self.probabilities).argmax(axis=2)
        if (self.probabilities[:, :, 0] <= self._elsewhere()).any():  # a network that knows nothing
            return self.dense().first_classes()
        leading = self.probabilities == self.probabilities[:, :, :1]
        return np.where(leading, self.classes, self.class_count).min(axis=2)

    def image(self, index: int) -> tuple[Integers, Units]:
        """Classes (K,) of an image that can matter to a vote, and what each network gives them in units, (N, K).

        Of the classes that nobody lists only the lowest and the label are there: the others get the same from every
        network as the lowest, which wins ties among them.
        """
        if self.classes is None:
            return np.arange(self.probabilities.shape[2]), in_units(self.probabilities[:, index])
        listed = self.classes[:, index]
        known = np.unique(np.append(listed, self.labels[index]))
        beyond = np.setdiff1d(np.arange(min(len(known) + 1, self.class_count)), known)[:1]
        known = np.union1d(known, beyond)
        values = np.repeat(in_units(self._elsewhere()[:, index])[:, None], len(known), axis=1)
        np.put_along_axis(values, np.searchsorted(known, listed), in_units(self.probabilities[:, index]), axis=1)
        return known, values

    def dense(self) -> "Block":
        """The same with a probability for every class."""
        if self.classes is None:
            return self
        full = np.repeat(self._elsewhere()[:, :, None], self.class_count, axis=2)
        np.put_along_axis(full, self.classes, self.probabilities, axis=2)
        return Block(self.labels, full)

    def truncated(self, count: int) -> "Block":
        """Each network keeps its `count` best classes; every other class gets nothing from it."""
        if count < 1:
            raise ConfigError(f"top={count}: a vote needs at least one class of every network")
        nothing = np.zeros(self.probabilities.shape[:2], dtype=self.probabilities.dtype)
        if self.classes is not None:
            return replace(
                self,
                probabilities=self.probabilities[:, :, :count],
                classes=self.classes[:, :, :count],
                elsewhere=nothing,
            )
        best = np.argsort(~_ordered(self.probabilities), axis=2, kind="stable")[:, :, :count].astype(np.int64)
        kept = np.take_along_axis(self.probabilities, best, axis=2)
        return Block(self.labels, kept, best, nothing, self.probabilities.shape[2])

    def tempered(self, temperatures: NDArray[np.float64]) -> "Block":
        """Each network's probabilities to the power 1 / its temperature (N,), again summing to one."""
        power = (1 / temperatures)[:, None, None]
        raised = self.probabilities.astype(np.float64) ** power
        total = raised.sum(axis=2)
        if self.classes is None:
            return Block(self.labels, raised / total[:, :, None])
        elsewhere = self._elsewhere().astype(np.float64) ** power[:, :, 0]
        total += elsewhere * (self.class_count - self.probabilities.shape[2])
        return replace(self, probabilities=raised / total[:, :, None], elsewhere=elsewhere / total)

    def label_probabilities(self) -> NDArray[np.float64]:
        """What every network gives the true class of every image, (N, m)."""
        if self.classes is None:
            picked = np.take_along_axis(self.probabilities, self.labels[None, :, None], axis=2)
            return picked[:, :, 0].astype(np.float64)
        named = self.classes == self.labels[None, :, None]
        inside = (self.probabilities * named).sum(axis=2, dtype=np.float64)
        return np.where(named.any(axis=2), inside, self._elsewhere())

    def _elsewhere(self) -> Probabilities:
        if self.elsewhere is None:
            raise ConfigError("a block with listed classes needs the probability of all others")
        return self.elsewhere


def in_units(probabilities: Probabilities) -> Units:
    """Probabilities as whole numbers of `UNIT`; exact for float16, the nearest for others."""
    if probabilities.dtype == np.float16:
        # From the bits, as casting numbers below 2^-14 takes ten times as long: the value is the lower ten bits, with a
        # one before them and shifted when the upper bits, the exponent, are not zero.
        bits = probabilities.view(np.uint16).astype(np.int32)
        exponent = bits >> 10
        return np.where(exponent > 0, (bits & 1023 | 1024) << np.maximum(exponent - 1, 0), bits)
    return np.rint(probabilities.astype(np.float64) / UNIT).astype(np.int32)


def as_float16(probabilities: Probabilities) -> NDArray[np.float16]:
    """The nearest float16 numbers; those below 2^-14 are written as their bits, which is ten times as fast."""
    if probabilities.dtype == np.float16:
        return probabilities
    small = probabilities < 2.0**-14
    units = np.rint(np.where(small, probabilities, 0) / UNIT).astype(np.uint16)
    return np.where(small, units, np.where(small, 1, probabilities).astype(np.float16).view(np.uint16)).view(np.float16)


def array_blocks(probabilities: Probabilities, labels: Integers, images: int = 512) -> Iterator[Block]:
    """Blocks of an array (N, M, C) in memory and its labels (M,)."""
    for start in range(0, len(labels), images):
        yield Block(labels[start : start + images], probabilities[:, start : start + images])


def _ordered(probabilities: Probabilities) -> NDArray[np.integer]:
    """Integers in the order of the probabilities; those of float16 are its bits, many times faster to compare."""
    return probabilities.view(np.uint16) if probabilities.dtype == np.float16 else in_units(probabilities)
