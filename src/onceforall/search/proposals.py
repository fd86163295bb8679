"""Which networks to measure next: the predicted front and the predicted best under the limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from .constraints import Constraint, checked_values, violations
from .evolution import run_evolution
from .front import non_dominated
from .objective import Objective
from .operators import CodeFunction, Codes, Values, enumerate_codes, spread_codes, unique_codes
from .pareto import pareto_search
from .predictor import FEWEST_LABELS, AccuracyPredictor

_POPULATION = 100
_GENERATIONS = 40
_OPTIMISM = 0.5  # error bars added to the mean: prefer what is good and little known
_LISTABLE = 20_000  # spaces up to this size are scored completely instead of searched


@dataclass(frozen=True)
class Goal:
    """Costs by name, upper limits for some of them, and the cost that the front is drawn against."""

    costs: Mapping[str, CodeFunction]
    limits: Mapping[str, float]
    front_cost: str

    @classmethod
    def of(
        cls, costs: Mapping[str, CodeFunction], limits: Mapping[str, float] | None, front_cost: str | None
    ) -> "Goal":
        """Check that every limit and the front have a cost; the front's default is the first cost.

        Raises ConfigError naming the costs there are.
        """
        if not costs:
            raise ConfigError("a search needs at least one cost, such as macs")
        front_cost = next(iter(costs)) if front_cost is None else front_cost
        for name in [*(limits or {}), front_cost]:
            if name not in costs:
                hint = "; run `ofa measure` first" if name.startswith("latency") else ""
                raise ConfigError(f"there is no model for {name!r}; the costs are {', '.join(costs)}{hint}")
        return cls(costs, dict(limits or {}), front_cost)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The limits as constraints."""
        return tuple(Constraint(name, float(limit), self.costs[name]) for name, limit in self.limits.items())

    def new_predictor(self, space: SearchSpace, model: str = "gaussian_process") -> AccuracyPredictor:
        """An unfitted predictor whose capacity feature is the MACs, or the front's cost when there are none."""
        name = "macs" if "macs" in self.costs else self.front_cost
        return AccuracyPredictor(space, self.costs[name], name, model=model)


def propose_codes(
    space: SearchSpace, goal: Goal, archs: Sequence[Arch], top1: ArrayLike, count: int, seed: int
) -> Codes:
    """Propose `count` networks (count, D) that are not among the measured `archs` with accuracies `top1` (n,).

    With limits, half are the predicted best within them; the others lie on the predicted front, far from each other
    and from what was measured. With fewer labels than a predictor needs, larger networks are taken to be better.
    """
    measured = space.encode(list(archs))
    score = _score(space, goal, measured, top1)
    cost = goal.costs[goal.front_cost]
    known = {row.tobytes() for row in measured}
    chosen = measured[:0]

    def take(rows: Codes, wanted: int) -> None:
        nonlocal chosen
        chosen = np.concatenate([chosen, unique_codes(rows, known)[:wanted]])
        known.update(row.tobytes() for row in chosen)

    if goal.constraints:
        take(_best_within(space, goal.constraints, score, seed), -(-count // 2))
    front = unique_codes(_predicted_front(space, score, cost, measured, seed), known)
    around = np.concatenate([measured[_front_of(score, cost, measured)], chosen])
    take(_farthest_first(front, around, cost, count - len(chosen)), count - len(chosen))
    if goal.constraints and len(chosen) < count:
        take(_best_within(space, goal.constraints, score, seed), count - len(chosen))
    if len(chosen) < count:  # the front is short: look elsewhere
        small = space.size <= _LISTABLE
        rng = np.random.default_rng([seed, len(measured)])
        rows = rng.permutation(enumerate_codes(space)) if small else spread_codes(space, 10 * count, rng)
        take(rows, count - len(chosen))
    return chosen


def _score(space: SearchSpace, goal: Goal, measured: Codes, top1: ArrayLike) -> CodeFunction:
    if len(measured) < FEWEST_LABELS:
        return goal.costs[goal.front_cost]
    predictor = goal.new_predictor(space).fit(measured, top1)

    def optimistic(codes: Codes) -> Values:
        mean, error = predictor.predict_with_error(codes)
        return mean + _OPTIMISM * error

    return optimistic


def _best_within(space: SearchSpace, constraints: Sequence[Constraint], score: CodeFunction, seed: int) -> Codes:
    """Networks that meet the constraints, best score first."""
    if space.size <= _LISTABLE:
        rows = enumerate_codes(space)
        rows = rows[violations(constraints, rows) <= 0]
        return rows[np.argsort(-score(rows), kind="stable")]
    found = run_evolution(space, score, constraints, population=_POPULATION, generations=_GENERATIONS, seed=seed)
    return found.codes[np.argsort(-found.scores, kind="stable")]


def _predicted_front(space: SearchSpace, score: CodeFunction, cost: CodeFunction, start: Codes, seed: int) -> Codes:
    if space.size <= _LISTABLE:
        rows = enumerate_codes(space)
        return rows[_front_of(score, cost, rows)]
    objectives = [Objective("score", score, maximise=True), Objective("cost", cost, cheap=True)]
    initial = start[_front_of(score, cost, start)]
    found = pareto_search(space, objectives, "niches", _POPULATION, _GENERATIONS, seed, initial=initial)
    return space.encode(found.archs)


def _front_of(score: CodeFunction, cost: CodeFunction, codes: Codes) -> NDArray[np.bool_]:
    return non_dominated(np.stack([checked_values("the cost", cost, codes), -score(codes)], axis=1))


def _farthest_first(rows: Codes, around: Codes, cost: CodeFunction, count: int) -> Codes:
    """Order rows so that each has the log cost farthest from all before it and from the rows `around`."""
    if not len(rows) or count < 1:
        return rows[:0]
    values = np.log(np.maximum(checked_values("the cost", cost, np.concatenate([rows, around])), 1e-12))
    own, taken = values[: len(rows)], values[len(rows) :]
    distance = np.abs(own[:, None] - taken[None]).min(axis=1, initial=np.inf)
    order = []
    for _ in range(min(count, len(rows))):
        best = int(np.argmax(distance))
        order.append(best)
        distance = np.minimum(distance, np.abs(own - own[best]))
        distance[best] = -1.0
    return rows[order]
