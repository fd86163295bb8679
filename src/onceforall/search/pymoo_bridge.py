"""pymoo's algorithms with this package's operators. Imported late: importing pymoo takes a second."""

from typing import Any

import numpy as np
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


class _CodeSampling(Sampling):
    """The given rows first, then uniform samples, all distinct as far as the space allows."""

    def __init__(self, space: SearchSpace, initial: Codes | None) -> None:
        super().__init__()
        self.space = space
        self.initial = initial

    def _do(self, problem: Problem, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
        rows = [] if self.initial is None else [self.initial]
        rows.append(self.space.sample_codes(8 * n_samples, random_state))
        return unique_codes(np.concatenate(rows))[:n_samples]


class _CodeCrossover(Crossover):
    """Two parents, two children, each gene from either parent."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(2, 2, prob=1.0)
        self.space = space

    def _do(self, problem: Problem, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
        first, second = np.asarray(X, dtype=np.int64)
        return np.stack([crossover_codes(self.space, first, second, random_state) for _ in range(2)])


class _CodeMutation(Mutation):
    """Redraw each gene with a given probability."""

    def __init__(self, space: SearchSpace, probability: float) -> None:
        super().__init__(prob=1.0)
        self.space = space
        self.probability = probability

    def _do(self, problem: Problem, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Codes:
        return mutate_codes(self.space, np.asarray(X, dtype=np.int64), random_state, self.probability)


class _SameCode(DuplicateElimination):
    """Equal rows are equal networks: compare bytes instead of pymoo's table of distances."""

    def _do(self, pop: Any, other: Any, is_duplicate: Any) -> Any:
        seen = set() if other is None else {row.tobytes() for row in np.asarray(other.get("X"), dtype=np.int64)}
        for index, row in enumerate(np.asarray(pop.get("X"), dtype=np.int64)):
            key = row.tobytes()
            is_duplicate[index] = key in seen
            seen.add(key)
        return is_duplicate


def start_optimiser(
    space: SearchSpace,
    algorithm: str,
    objectives: int,
    population: int,
    generations: int,
    seed: int,
    mutation_probability: float,
    initial: Codes | None,
) -> Any:
    """Set up a pymoo algorithm for ask and tell; one inequality constraint carries the excess over all limits."""
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
        sampling=_CodeSampling(space, initial),
        crossover=_CodeCrossover(space),
        mutation=_CodeMutation(space, mutation_probability),
        eliminate_duplicates=_SameCode(),
        survival=survival,
    )
    return optimiser.setup(problem, seed=seed, termination=("n_gen", generations))
