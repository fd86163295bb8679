"""Best architecture under constraints: an evolutionary search that never scores a network twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from .baselines import listed
from .constraints import Constraint, cost_values, require_feasible
from .niche_search import NicheSearch
from .objective import Objective
from .operators import CodeFunction, Codes, Values


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
    generations: int = 200,
    seed: int = 0,
    warm_start: Codes | None = None,
    budget: int | None = None,
    progress: Callable[[EvolutionStep], None] | None = None,
) -> EvolutionResult:
    """Maximise `score(codes (n, D)) -> (n,)` among the networks that meet every constraint.

    A `NicheSearch` with one niche: each generation scores up to `population` new networks, chosen from eight times as
    many feasible children of the best ones by a linear model of the score. Feasibility is settled before anything is
    scored; costs of constraints are computed for all children. `warm_start` rows come first in the initial population.
    `budget`, by default `population * (generations + 1)`, limits the number of scored networks exactly; a space with no
    more networks than that is enumerated. The same seed gives the same result.

    Raises:
        InfeasibleConstraint: no network meets the constraints; states the feasible range.
        ConfigError: an empty population, or a score that is not a number.
    Source: after arXiv 1908.09791, section 3.3 (evolutionary search); results/search tells what the changes bring.
    """
    budget = population * (generations + 1) if budget is None else budget
    if population < 1 or budget < 1:
        raise ConfigError(f"population={population} budget={budget}: at least one network must be scored")
    feasible = require_feasible(space, constraints, seed)
    search = NicheSearch(space, [Objective("the score", score, maximise=True)], constraints, budget, population, seed)
    if space.size <= budget:
        batches = ((rows, search.found.score(rows)) for rows in listed(space, constraints))
    else:
        batches = search.run(warm_start, feasible)
    scored: list[tuple[Codes, Values]] = []
    history: list[EvolutionStep] = []
    for rows, values in batches:
        scored.append((rows, -values[:, 0]))
        history.append(EvolutionStep(len(history), search.found.evaluations, -float(search.found.values[0, 0])))
        if progress is not None:
            progress(history[-1])
    codes, scores = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    winner = search.found.codes[:1]
    return EvolutionResult(
        best=space.decode(winner)[0],
        score=history[-1].best_score,
        costs={constraint.name: float(cost_values(constraint, winner)[0]) for constraint in constraints},
        history=history,
        evaluations=len(scores),
        codes=codes,
        scores=scores,
    )
