"""A front that grows batch by batch, without keeping what fell behind."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..space import SearchSpace
from .front import Front, non_dominated
from .objective import Objective
from .operators import Codes, Values


class RunningFront:
    """The non-dominated rows of everything scored so far.

    Attributes:
        codes, values: (n, D), and the objectives minimised (n, objectives).
        evaluations: rows evaluated.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective]) -> None:
        self.space = space
        self.objectives = objectives
        self.evaluations = 0
        self.codes: Codes = np.empty((0, len(space.columns)), dtype=np.int64)
        self.values: Values = np.empty((0, len(objectives)))

    def score(self, codes: Codes) -> Values:
        """Evaluate feasible rows and take them in: their minimised values (n, objectives)."""
        values = self.evaluate(codes)
        self.add(codes, values)
        return values

    def evaluate(self, codes: Codes) -> Values:
        """Minimised values (n, objectives) of rows (n, D) that were not asked for before."""
        self.evaluations += len(codes)
        return np.stack([objective.minimised(codes) for objective in self.objectives], axis=1)

    def add(self, codes: Codes, values: Values) -> None:
        """Take in evaluated rows."""
        together = np.concatenate([self.values, values])
        keep = np.flatnonzero(non_dominated(together))
        self.codes, self.values = np.concatenate([self.codes, codes])[keep], together[keep]

    def score_all(self, chunks: Iterable[Codes]) -> "RunningFront":
        """Score chunk after chunk."""
        for codes in chunks:
            self.score(codes)
        return self

    def front(self) -> Front:
        """The front in the objectives' own direction."""
        maximised = [objective.maximise for objective in self.objectives]
        values = self.values * np.where(maximised, -1.0, 1.0)
        return Front.of([o.name for o in self.objectives], maximised, self.space.decode(self.codes), values)
