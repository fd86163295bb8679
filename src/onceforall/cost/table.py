"""A cost that is known part by part: one table per space, whole arrays of codes by gathering from it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import InvalidArch
from ..space import Arch, SearchSpace
from .places import Place, Values, fillings, places

_ROWS = 8192  # gathered at a time: the indices of that many codes stay in the processor's cache


def as_codes(space: SearchSpace, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
    """Codes of architectures; an array is taken to hold codes of the space already. Raises InvalidArch."""
    if not isinstance(archs, np.ndarray):
        return space.encode(archs)
    if archs.ndim != 2 or archs.shape[1] != len(space.columns):
        raise InvalidArch(
            f"codes of space {space.name} have shape (n, {len(space.columns)}), not {archs.shape}; "
            "a restricted space has codes of its own"
        )
    return archs


class Term(NamedTuple):
    """One summand: its value for every choice in some columns of a code.

    Attributes:
        columns: of the code.
        values: one axis per column, as long as its cardinality; 0 where no block is active.
    """

    columns: tuple[int, ...]
    values: np.ndarray


class CostTable:
    """A cost that is a sum (or a maximum) of terms, each decided by a few columns of a code."""

    def __init__(self, space: SearchSpace, terms: Sequence[Term]) -> None:
        """Terms are added in the order given, so a sum in float64 is that of a plain loop bit for bit."""
        self.space = space
        widest = max(len(term.columns) for term in terms)
        self._columns = np.zeros((widest, len(terms)), dtype=np.int64)
        self._strides = np.zeros((widest, len(terms), 1), dtype=np.int64)
        for index, (columns, values) in enumerate(terms):
            shape = tuple(space.cardinalities[list(columns)])
            if values.shape != shape:
                raise ValueError(f"term {index} has values of shape {values.shape}; its columns need {shape}")
            self._columns[: len(columns), index] = columns
            strides = np.cumprod((1, *shape[:0:-1]))[::-1]
            self._strides[: len(columns), index, 0] = strides
        sizes = [values.size for _, values in terms]
        self._starts = np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int64)[:, None]
        self._values = np.concatenate([values.ravel() for _, values in terms])

    @classmethod
    def build(cls, space: SearchSpace, cost: Callable[[Place, Values], float], dtype: type = np.int64) -> "CostTable":
        """Fill a table from `cost(place, values)` of everything that can stand at a place of the space."""
        filled: dict[tuple[str, int | None], np.ndarray] = {}  # places of one label and stage are filled alike
        terms = []
        for place in places(space):
            values = filled.get((place.label, place.stage))
            if values is None:
                values = np.zeros(space.cardinalities[list(place.columns)], dtype=dtype)
                for codes, chosen in fillings(space, place):
                    values[codes] = cost(place, chosen)
                filled[place.label, place.stage] = values
            terms.append(Term(place.columns, values))
        return cls(space, terms)

    def _gather(self, codes: np.ndarray) -> np.ndarray:
        """Every term, shape (T, n)."""
        rows = np.ascontiguousarray(codes.T)  # a column of all codes at a time: contiguous, and sums run over axis 0
        index = rows[self._columns[0]] * self._strides[0]
        for columns, strides in zip(self._columns[1:], self._strides[1:], strict=True):
            index += rows[columns] * strides
        index += self._starts
        return self._values.take(index)

    def total(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Sum over the terms of every network: (n,) in the table's type, from n architectures or (n, D) codes."""
        return self._reduce(archs, np.add)

    def largest(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Largest term of every network: (n,) in the table's type, from n architectures or (n, D) codes."""
        return self._reduce(archs, np.maximum)

    def _reduce(self, archs: Sequence[Arch] | np.ndarray, combine: np.ufunc) -> np.ndarray:
        codes = as_codes(self.space, archs)
        result = np.empty(len(codes), dtype=self._values.dtype)
        for start in range(0, len(codes), _ROWS):
            part = slice(start, start + _ROWS)
            terms = self._gather(codes[part])
            # NumPy adds a lone column in pairs, which rounds otherwise than one term after another does.
            lone = terms.shape[1] == 1
            result[part] = combine.accumulate(terms, axis=0)[-1] if lone else combine.reduce(terms, axis=0)
        return result
