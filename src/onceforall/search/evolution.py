"""Best architecture under constraints: an evolutionary search that never scores a network twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from .constraints import Constraint, checked_values, cost_values, require_feasible, violations
from .operators import (
    CodeFunction,
    Codes,
    Values,
    crossover_codes,
    enumerate_codes,
    mutate_codes,
    unique_codes,
)

_START_ROUNDS = 20  # rounds of uniform samples before the initial population is grown from what was found
_CHILD_ROUNDS = 5  # rounds of breeding before a generation goes on with the children it has


@dataclass(frozen=True)
class EvolutionStep:
    """State after one generation: networks scored so far and the best score among them."""

    generation: int
    evaluations: int
    best_score: float


@dataclass(frozen=True)
class EvolutionResult:
    """The best network found and everything that was scored.

    `codes` (n, D) and `scores` (n,) hold all evaluated networks in the order of evaluation; all of them are feasible.
    """

    best: Arch
    score: float
    costs: dict[str, float]
    history: list[EvolutionStep]
    evaluations: int
    codes: Codes = field(repr=False)
    scores: Values = field(repr=False)


def evolve(space: SearchSpace, score: CodeFunction, constraints: Sequence[Constraint] = (), **options: Any) -> Arch:
    """The best architecture under the constraints; options, errors and method are those of `run_evolution`."""
    return run_evolution(space, score, constraints, **options).best


def run_evolution(
    space: SearchSpace,
    score: CodeFunction,
    constraints: Sequence[Constraint] = (),
    *,
    population: int = 100,
    generations: int = 500,
    mutation_probability: float = 0.1,
    parent_ratio: float = 0.25,
    mutation_ratio: float = 0.5,
    seed: int = 0,
    warm_start: Codes | None = None,
    budget: int | None = None,
    progress: Callable[[EvolutionStep], None] | None = None,
) -> EvolutionResult:
    """Maximise `score(codes (n, D)) -> (n,)` among the networks that meet every constraint.

    Each generation scores up to `population` new networks: `mutation_ratio` of them mutants, the rest crossovers, of
    the best `parent_ratio * population` networks scored so far. Feasibility is settled before anything is scored;
    infeasible children are dropped, never scored. `warm_start` rows come first in the initial population. `budget`
    limits the number of scored networks exactly; a space with no more feasible networks than that is enumerated.
    The same seed gives the same result.

    Raises:
        InfeasibleConstraint: no network meets the constraints; states the feasible range.
        ConfigError: an empty population, a ratio outside 0..1, or a score that is not a number.
    Source: arXiv 1908.09791, section 3.3 (evolutionary search), with duplicates removed and rejection bounded.
    """
    for name, ratio in (("mutation_probability", mutation_probability), ("parent_ratio", parent_ratio)):
        if not 0 < ratio <= 1:
            raise ConfigError(f"{name}={ratio} must be above 0 and at most 1")
    if not 0 <= mutation_ratio <= 1:
        raise ConfigError(f"mutation_ratio={mutation_ratio} must lie between 0 and 1")
    budget = population * (generations + 1) if budget is None else budget
    if population < 1 or budget < 1:
        raise ConfigError(f"population={population} budget={budget}: at least one network must be scored")

    rng = np.random.default_rng(seed)
    proposals = _Proposals(space, constraints, mutation_probability, rng)
    pool = _Pool(score, budget, max(1, round(parent_ratio * population)))
    history: list[EvolutionStep] = []

    def score_generation(codes: Codes) -> None:
        pool.add(codes)
        history.append(EvolutionStep(len(history), budget - pool.left, float(pool.leading[0])))
        if progress is not None:
            progress(history[-1])

    feasible = require_feasible(space, constraints, seed)
    if space.size <= budget:
        rows = enumerate_codes(space, budget)
        score_generation(rows[violations(constraints, rows) <= 0])
    else:
        score_generation(proposals.start(min(population, budget), warm_start, feasible))
        for _ in range(generations):
            children = proposals.children(pool.leaders, min(population, pool.left), mutation_ratio)
            if not len(children):
                break  # the budget is spent, or no new feasible network was found
            score_generation(children)

    codes, scores = (np.concatenate(parts) for parts in zip(*pool.added, strict=True))
    winner = pool.leaders[:1]
    return EvolutionResult(
        best=space.decode(winner)[0],
        score=float(pool.leading[0]),
        costs={constraint.name: float(cost_values(constraint, winner)[0]) for constraint in constraints},
        history=history,
        evaluations=len(scores),
        codes=codes,
        scores=scores,
    )


class _Pool:
    """All scored networks in order, and the best `parents` of them, best first; ties keep the order of evaluation."""

    def __init__(self, score: CodeFunction, budget: int, parents: int) -> None:
        self.score = score
        self.left = budget
        self.parents = parents
        self.added: list[tuple[Codes, Values]] = []
        self.leaders: Codes = np.empty((0, 0), dtype=np.int64)
        self.leading: Values = np.empty(0)

    def add(self, codes: Codes) -> None:
        """Score rows, at most as many as the budget still allows."""
        codes = codes[: self.left]
        scores = checked_values("the score", self.score, codes)
        self.left -= len(codes)
        self.added.append((codes, scores))
        contenders = np.concatenate([self.leaders, codes]) if len(self.leaders) else codes
        scores = np.concatenate([self.leading, scores])
        order = np.argsort(-scores, kind="stable")[: self.parents]
        self.leaders, self.leading = contenders[order], scores[order]


class _Proposals:
    """New feasible networks, each proposed once in the life of a search."""

    def __init__(
        self, space: SearchSpace, constraints: Sequence[Constraint], probability: float, rng: np.random.Generator
    ) -> None:
        self.space = space
        self.constraints = constraints
        self.probability = probability
        self.rng = rng
        self.given: set[bytes] = set()

    def _new(self, codes: Codes, count: int) -> Codes:
        """At most `count` feasible rows among `codes` that were never given out before."""
        fresh = unique_codes(codes, self.given)
        fresh = fresh[violations(self.constraints, fresh) <= 0][:count] if len(fresh) else fresh
        self.given.update(row.tobytes() for row in fresh)
        return fresh

    def start(self, count: int, warm_start: Codes | None, feasible: Codes) -> Codes:
        """The initial population: warm start, uniform samples, and when those rarely fit, walks from feasible rows."""
        found = self._new(feasible[:0] if warm_start is None else np.asarray(warm_start, dtype=np.int64), count)
        for _ in range(_START_ROUNDS):
            found = np.concatenate([found, self._new(self.space.sample_codes(2 * count, self.rng), count - len(found))])
            if len(found) == count:
                return found
        found = np.concatenate([found, self._new(feasible, count - len(found))])
        for _ in range(_START_ROUNDS):
            found = np.concatenate([found, self._repeat(self._mutate, found, count - len(found))])
        return found

    def children(self, parents: Codes, count: int, mutation_ratio: float) -> Codes:
        """Up to `count` new feasible children of the parents; fewer when bounded tries do not find them."""
        crossed = self._repeat(self._cross, parents, count - round(mutation_ratio * count))
        return np.concatenate([crossed, self._repeat(self._mutate, parents, count - len(crossed))])

    def _repeat(self, breed: Callable[[Codes, int], Codes], parents: Codes, count: int) -> Codes:
        found = parents[:0]
        for attempt in range(_CHILD_ROUNDS):
            if len(found) == count:
                break
            chosen = parents[self.rng.integers(0, len(parents), 2 * (count - len(found)))]
            found = np.concatenate([found, self._new(breed(chosen, attempt), count - len(found))])
        return found

    def _mutate(self, parents: Codes, attempt: int) -> Codes:
        """Mutants; bolder with every attempt, because near-copies of converged parents are all known already."""
        return mutate_codes(self.space, parents, self.rng, min(self.probability * (1 + attempt), 1.0))

    def _cross(self, parents: Codes, attempt: int) -> Codes:
        others = parents[self.rng.integers(0, len(parents), len(parents))]
        return crossover_codes(self.space, parents, others, self.rng)
