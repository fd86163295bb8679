"""pymoo's algorithms with this package's variation. Imported late: importing pymoo takes a second."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.sms import SMSEMOA, LeastHypervolumeContributionSurvival
from pymoo.algorithms.moo.spea2 import SPEA2, SPEA2Survival
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from ..space import SearchSpace
from .operators import Codes, crossover_codes, mutate_codes, unique_codes


class Variation(Protocol):
    """How rows begin and change."""

    space: SearchSpace

    def first(self, count: int, rng: np.random.Generator) -> Codes:
        """The first population, (count, D)."""
        ...

    def cross(self, first: Codes, second: Codes, rng: np.random.Generator) -> tuple[Codes, Codes]:
        """Two children of every pair of rows."""
        ...

    def mutate(self, rows: Codes, rng: np.random.Generator) -> Codes:
        """Mutants of rows."""
        ...


class CodeVariation:
    """Canonical codes: the given rows first, then uniform samples, all distinct as far as the space allows."""

    def __init__(self, space: SearchSpace, probability: float, initial: Codes | None) -> None:
        self.space = space
        self.probability = probability
        self.initial = initial

    def first(self, count: int, rng: np.random.Generator) -> Codes:
        """The given rows, then samples."""
        rows = [] if self.initial is None else [self.initial]
        return unique_codes(np.concatenate([*rows, self.space.sample_codes(8 * count, rng)]))[:count]

    def cross(self, first: Codes, second: Codes, rng: np.random.Generator) -> tuple[Codes, Codes]:
        """Each gene from either parent."""
        return crossover_codes(self.space, first, second, rng), crossover_codes(self.space, first, second, rng)

    def mutate(self, rows: Codes, rng: np.random.Generator) -> Codes:
        """Each gene redrawn with the given probability."""
        return mutate_codes(self.space, rows, rng, self.probability)


class PublishedVariation:
    """Codes whose inactive blocks have genes as well, with the variation and the first population of OFA².

    Source: arXiv 2303.13683, section 3: uniform crossover with probability 0.5 per gene, every gene redrawn with
    probability 0.1.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space = space
        self.seed = seed
        kernels = space.slots[:, 0]
        self._lowest = np.zeros(len(space.columns), dtype=np.int64)
        self._lowest[kernels] = self._lowest[kernels + 1] = 1
        # The order in which the published program lists its variables; it has no elastic widths.
        self._order = [*kernels, *(kernels + 1), *space.depth_columns, 0, *space.width_columns]

    def first(self, count: int, rng: np.random.Generator) -> Codes:
        """One draw after the other from numpy's legacy generator, network by network."""
        legacy = np.random.RandomState(self.seed)
        choices = self.space.cardinalities - self._lowest
        rows = np.zeros((count, len(choices)), dtype=np.int64)
        for row in rows:
            for column in self._order:
                row[column] = self._lowest[column] + legacy.choice(choices[column])
        return rows

    def cross(self, first: Codes, second: Codes, rng: np.random.Generator) -> tuple[Codes, Codes]:
        """Each gene changes places with probability 0.5."""
        swap = rng.random(first.shape) < 0.5
        return np.where(swap, second, first), np.where(swap, first, second)

    def mutate(self, rows: Codes, rng: np.random.Generator) -> Codes:
        """Each gene redrawn with probability 0.1, perhaps to what it was."""
        drawn = rng.integers(self._lowest, self.space.cardinalities, size=rows.shape)
        return np.where(rng.random(rows.shape) < 0.1, drawn, rows)


class _Sampling(Sampling):
    def __init__(self, variation: Variation) -> None:
        super().__init__()
        self.variation = variation

    def _do(self, problem: Problem, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
        return self.variation.first(n_samples, random_state)


class _Crossover(Crossover):
    def __init__(self, variation: Variation) -> None:
        super().__init__(2, 2, prob=1.0)
        self.variation = variation

    def _do(self, problem: Problem, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
        first, second = np.asarray(X, dtype=np.int64)
        return np.stack(self.variation.cross(first, second, random_state))


class _Mutation(Mutation):
    def __init__(self, variation: Variation) -> None:
        super().__init__(prob=1.0)
        self.variation = variation

    def _do(self, problem: Problem, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Codes:
        return self.variation.mutate(np.asarray(X, dtype=np.int64), random_state)


class _SameRow(DuplicateElimination):
    """Compare bytes instead of pymoo's table of distances."""

    def _do(self, pop: Any, other: Any, is_duplicate: NDArray[np.bool_]) -> NDArray[np.bool_]:
        seen = set() if other is None else {row.tobytes() for row in np.asarray(other.get("X"), dtype=np.int64)}
        for index, row in enumerate(np.asarray(pop.get("X"), dtype=np.int64)):
            key = row.tobytes()
            is_duplicate[index] = key in seen
            seen.add(key)
        return is_duplicate


def start_optimiser(
    variation: Variation, algorithm: str, objectives: int, population: int, generations: int, seed: int
) -> Any:
    """Set up a pymoo algorithm for ask and tell; one inequality constraint carries the excess over all limits."""
    space = variation.space
    problem = Problem(
        n_var=len(space.columns),
        n_obj=objectives,
        n_ieq_constr=1,
        xl=np.zeros(len(space.columns)),
        xu=space.cardinalities - 1,
        vtype=int,
    )
    # A survival of its own for each run: pymoo's default of SPEA2 is one object for the whole process, which carries
    # the range of the objectives from one search into the next.
    optimisers = {
        "nsga2": (NSGA2, RankAndCrowding()),
        "smsemoa": (SMSEMOA, LeastHypervolumeContributionSurvival()),
        "spea2": (SPEA2, SPEA2Survival(normalize=True)),
    }
    create, survival = optimisers[algorithm]
    optimiser = create(
        pop_size=population,
        n_offsprings=population,
        sampling=_Sampling(variation),
        crossover=_Crossover(variation),
        mutation=_Mutation(variation),
        eliminate_duplicates=_SameRow(),
        survival=survival,
    )
    return optimiser.setup(problem, seed=seed, termination=("n_gen", generations))
