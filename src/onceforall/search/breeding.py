"""Children that differ little from their parents: a segment of the mate, then one or two genes redrawn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..space import SearchSpace

Rows = NDArray[np.integer[Any]]  # codes of any integer type

_CROSSED = 0.7  # share of children that take a segment of the mate at all
_TWO_GENES = 0.2  # share of children with a second gene redrawn; small steps win once a search has converged


class Breeder:
    """Makes children of code rows of one space; all rows may be of any integer type, children are of their parents'.

    A gene is the resolution, a stage's depth, an elastic width, or a block (kernel size and expand ratio together).
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        kernels = space.slots[:, 0]
        scalars = np.concatenate([[0], space.depth_columns, space.width_columns])
        scalars = scalars[space.cardinalities[scalars] > 1]
        blocks = kernels[(space.cardinalities[kernels] > 2) | (space.cardinalities[kernels + 1] > 2)]
        # The two columns of every gene; a gene of one column names it twice.
        self._genes = np.concatenate([np.stack([scalars, scalars], 1), np.stack([blocks, blocks + 1], 1)])
        self._blocks = slice(len(scalars), None)
        self._lowest = np.zeros(len(space.columns), dtype=np.int64)
        self._lowest[kernels] = self._lowest[kernels + 1] = 1

    def children(self, first: Rows, second: Rows, rng: np.random.Generator, genes: int = 1) -> Rows:
        """One child of every pair of rows, (n, D): a run of columns from `second`, then `genes` or one more redrawn.

        Blocks that a deeper stage lacks come from a parent that has them, or are drawn.
        """
        count, columns = first.shape
        ends = np.sort(rng.integers(0, columns + 1, size=(2, count, 1)), axis=0)
        crossed = rng.random((count, 1)) < _CROSSED
        place = np.arange(columns)
        children = np.where(crossed & (place >= ends[0]) & (place < ends[1]), second, first)
        self._redraw(children, rng, genes)
        self._fill(children, first, second, rng)
        return self.space.canonical(children)

    def _redraw(self, rows: Rows, rng: np.random.Generator, genes: int) -> None:
        """Draw `genes` or one more of the active genes of every row anew."""
        if not len(self._genes):
            return
        order = rng.random((len(rows), len(self._genes)), dtype=np.float32)
        order[:, self._blocks] *= rows[:, self._genes[self._blocks, 0]] > 0
        chosen = np.arange(len(rows))
        for number in range(min(genes + 1, len(self._genes))):
            if number == genes:
                chosen = chosen[rng.random(len(rows)) < _TWO_GENES]
            gene = order[chosen].argmax(axis=1)
            order[chosen, gene] = 0
            for column in self._genes[gene].T:
                rows[chosen, column] = rng.integers(self._lowest[column], self.space.cardinalities[column])

    def _fill(self, rows: Rows, first: Rows, second: Rows, rng: np.random.Generator) -> None:
        """Give values to the blocks that run but have none yet."""
        active = self.space.active_slots(rows)
        for columns in (self.space.slots[:, 0], self.space.slots[:, 0] + 1):
            row, slot = np.nonzero(active & (rows[:, columns] == 0))
            column: NDArray[np.int64] = columns[slot]
            inherited = np.maximum(first[row, column], second[row, column])
            drawn = rng.integers(1, self.space.cardinalities[column])
            rows[row, column] = np.where(inherited > 0, inherited, drawn)
