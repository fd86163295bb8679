"""The searches behind `ofa search`: a front that was measured, or one that was predicted."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ConfigError
from ..space import SearchSpace
from .collection import Evaluate, Progress, collect_active, top1_of
from .constraints import checked_values, require_feasible
from .evolution import run_evolution
from .labels import Label, LabelStore
from .objective import Objective
from .operators import CodeFunction, Codes, Values, unique_codes
from .pareto import pareto_search
from .predictor import FEWEST_LABELS, AccuracyPredictor, PredictorQuality
from .proposals import Goal
from .result import SearchMember, SearchResult, chosen_and_front
from .subset import reduce_front

_DELIVERED = 100  # networks of a predicted front: more than anyone compares, enough to keep its hypervolume
_GENERATIONS = 100


def search_measured(
    space: SearchSpace,
    evaluate: Evaluate,
    costs: Mapping[str, CodeFunction],
    limits: Mapping[str, float] | None = None,
    *,
    budget: int = 60,
    front_cost: str | None = None,
    labels: LabelStore | None = None,
    model: str = "gaussian_process",
    seed: int = 0,
    progress: Progress | None = None,
) -> SearchResult:
    """Find the most accurate network within the limits, and the front within them, both by measured accuracy.

    Networks are measured as `collect_active` chooses them.

    Args:
        space: the space to search.
        evaluate: measures networks and gives (top-1 in 0..1, standard error) for each in order; a generator is
            consumed one network at a time and each result stored before the next.
        costs: callables on codes (n, D) -> (n,), by name with unit (`latency_ms`, `macs`, ...).
        limits: upper limits for some of the costs.
        budget: networks to look at, exactly; those with a label in `labels` count but are not measured again.
        front_cost: the cost of the front; default the first of `costs`.
        labels: where results are kept; a search that was killed continues and ends with the same result.
        model: kind of accuracy predictor (see `AccuracyPredictor`) that predicts the measured networks, each without
            its own label. Which networks are measured does not depend on it.
        seed: the same seed, labels and measurements give the same result.
        progress: called with (networks done, budget) after each network.

    Raises:
        InfeasibleConstraint: before anything is measured; states the feasible range.
        ConfigError: a limit or a front cost that has no cost, an unknown model, or an empty budget.
        RunError: `evaluate` gave fewer results than networks.
    """
    started = time.perf_counter()
    goal = Goal.of(costs, limits, front_cost)
    if budget < 1:
        raise ConfigError(f"budget={budget}: at least one network must be measured")
    predictor = goal.new_predictor(space, model)
    require_feasible(space, goal.constraints, seed)
    store = LabelStore(None, space, "") if labels is None else labels
    collect_active(space, evaluate, goal, budget, store, seed=seed, progress=progress)
    known = list(store)
    quality = _quality(predictor, known)
    predicted = [None] * len(known) if quality is None else [pair[1] for pair in quality.pairs]
    errors = np.array([label.top1_error for label in known])
    codes = space.encode([label.arch for label in known])
    members = _members(space, goal, codes, top1_of(known), errors, predicted, measured=True)
    seconds = time.perf_counter() - started
    return _result(space, goal, members, quality, seed, seconds)


def search_predicted(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    costs: Mapping[str, CodeFunction],
    limits: Mapping[str, float] | None = None,
    *,
    front_cost: str | None = None,
    algorithm: str = "niches",
    population: int = 100,
    generations: int | None = None,
    seed: int = 0,
) -> SearchResult:
    """Find the most accurate network within the limits, and the front within them, by predicted accuracy.

    Nothing is measured. The front comes from `pareto_search` by `algorithm`, reduced to the 100 networks that keep most
    of its hypervolume; the chosen network comes from `run_evolution`; members carry the predictor's error bar.
    `generations` are those of both; None: 100, but 1,000 for a front with published settings ("ofa2_...").

    Raises:
        InfeasibleConstraint: no network meets the limits; states the feasible range.
        ConfigError: a limit or a front cost that has no cost, an unknown algorithm, a predictor of another space.
    """
    started = time.perf_counter()
    goal = Goal.of(costs, limits, front_cost)
    cost = goal.costs[goal.front_cost]
    objectives = [
        Objective.of("top1", predictor, space, maximise=True),
        Objective(goal.front_cost, cost, cheap=True),
    ]
    best = run_evolution(
        space,
        predictor.predict,
        goal.constraints,
        population=population,
        generations=_GENERATIONS if generations is None else generations,
        seed=seed,
    )
    front = pareto_search(
        space,
        objectives,
        algorithm,
        population,
        generations,
        seed,
        constraints=goal.constraints,
        initial=None if algorithm.startswith("ofa2_") else space.encode([best.best]),  # a published population is fixed
    )
    delivered = reduce_front(front, _DELIVERED)
    codes = unique_codes(np.concatenate([space.encode([best.best]), space.encode(delivered.archs)]))
    top1, errors = predictor.predict_with_error(codes)
    members = _members(space, goal, codes, top1, errors, top1.tolist(), measured=False)
    seconds = time.perf_counter() - started
    return _result(space, goal, members, predictor.quality, seed, seconds)


def _quality(predictor: AccuracyPredictor, labels: Sequence[Label]) -> PredictorQuality | None:
    if len(labels) < FEWEST_LABELS:
        return None
    return predictor.fit([label.arch for label in labels], top1_of(labels)).quality


def _members(
    space: SearchSpace,
    goal: Goal,
    codes: Codes,
    top1: Values,
    errors: Values,
    predicted: Sequence[float | None],
    *,
    measured: bool,
) -> list[SearchMember]:
    costs = {name: checked_values(name, cost, codes).tolist() for name, cost in goal.costs.items()}
    return [
        SearchMember(
            arch,
            float(top1[row]),
            float(errors[row]),
            {name: values[row] for name, values in costs.items()},
            measured,
            predicted[row],
        )
        for row, arch in enumerate(space.decode(codes))
    ]


def _result(
    space: SearchSpace,
    goal: Goal,
    members: Sequence[SearchMember],
    quality: PredictorQuality | None,
    seed: int,
    seconds: float,
) -> SearchResult:
    chosen, front = chosen_and_front(members, goal.limits, goal.front_cost)
    return SearchResult(
        space=space,
        score="measured" if members[0].measured else "predicted",
        front_cost=goal.front_cost,
        limits=dict(goal.limits),
        chosen=chosen,
        front=front,
        evaluated=tuple(members),
        quality=quality,
        seconds=seconds,
        seed=seed,
    )
