"""Multi-objective search: our own by default; NSGA-II, SMS-EMOA and SPEA2 through pymoo, also as published for OFA²."""

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ConfigError
from ..space import SearchSpace
from .baselines import listed
from .constraints import Constraint, require_feasible, violations
from .front import Front
from .niche_search import NicheSearch
from .objective import Objective, check_objectives
from .operators import Codes, Values, unique_codes
from .running_front import RunningFront

ALGORITHMS = ("niches", "nsga2", "smsemoa", "spea2", "ofa2_nsga2", "ofa2_smsemoa", "ofa2_spea2")
_POPULATION, _GENERATIONS = 100, 100
_PUBLISHED_GENERATIONS = 1000

Progress = Callable[[int, int], None]


def pareto_search(
    space: SearchSpace,
    objectives: Sequence[Objective],
    algorithm: str = "niches",
    population: int | None = None,
    generations: int | None = None,
    seed: int = 0,
    *,
    constraints: Sequence[Constraint] = (),
    initial: Codes | None = None,
    mutation_probability: float = 0.1,
    progress: Progress | None = None,
) -> Front:
    """Search the front of several objectives; no architecture is scored twice.

    Args:
        space: the space to search.
        objectives: two or more; several latency models are several objectives.
        algorithm: "niches" (see `NicheSearch`) enumerates spaces that the budget covers; "nsga2", "smsemoa" and "spea2"
            are pymoo's, on canonical codes, so that duplicates are equal networks; "ofa2_nsga2", "ofa2_smsemoa" and
            "ofa2_spea2" are as published (arXiv 2303.13683, section 3): genes of inactive blocks vary too, and the
            first population is the published one for the same seed.
        population: networks per generation, 100 by default. The budget is population * generations networks; "niches"
            scores it in larger batches when there are more than 200 generations.
        generations: 100 by default, 1,000 with the published settings.
        seed: the same seed gives the same front.
        constraints: infeasible networks never enter the front; "niches" does not even score them.
        initial: rows (n, D) that begin the population; the rest is sampled. Not with the published settings.
        mutation_probability: of a gene, with pymoo's algorithms on codes.
        progress: called with (generation, networks scored) after each generation.

    Returns:
        The front of everything that was scored, not only of the last population; see `reduce_front` for fewer.

    Raises:
        InfeasibleConstraint: no network meets the constraints; states the feasible range.
        ConfigError: an unknown algorithm, fewer than two objectives, an empty population, an objective without values.
    Source: Deb 2002 (NSGA-II), Beume 2007 (SMS-EMOA), Zitzler 2001 (SPEA2).
    """
    population = _POPULATION if population is None else population
    if generations is None:
        generations = _PUBLISHED_GENERATIONS if algorithm.startswith("ofa2_") else _GENERATIONS
    _check(objectives, algorithm, population, generations, initial)
    feasible = require_feasible(space, constraints, seed)
    if algorithm != "niches":
        return _pymoo_search(
            space, objectives, algorithm, population, generations, seed, constraints, initial, mutation_probability,
            progress,
        )  # fmt: skip
    budget = population * generations
    search = NicheSearch(space, objectives, constraints, budget, population, seed)
    small = space.size <= budget
    batches = map(search.found.score, listed(space, constraints)) if small else search.run(initial, feasible)
    for generation, _ in enumerate(batches, start=1):
        if progress is not None:
            progress(generation, search.found.evaluations)
    return search.found.front()


def _check(
    objectives: Sequence[Objective], algorithm: str, population: int, generations: int, initial: Codes | None
) -> None:
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"unknown search algorithm {algorithm!r}; choose one of {', '.join(ALGORITHMS)}")
    check_objectives(objectives)
    if population < 2 or generations < 1:
        raise ConfigError(
            f"population={population} generations={generations}: at least 2 networks and 1 generation are needed"
        )
    if initial is not None and algorithm.startswith("ofa2_"):
        raise ConfigError(f"{algorithm} begins with the published population; use {algorithm[5:]} to begin with others")


def _pymoo_search(
    space: SearchSpace,
    objectives: Sequence[Objective],
    algorithm: str,
    population: int,
    generations: int,
    seed: int,
    constraints: Sequence[Constraint],
    initial: Codes | None,
    mutation_probability: float,
    progress: Progress | None,
) -> Front:
    from .pymoo_bridge import CodeVariation, PublishedVariation, start_optimiser  # importing pymoo takes a second

    if algorithm.startswith("ofa2_"):
        variation = PublishedVariation(space, seed)
    else:
        variation = CodeVariation(space, mutation_probability, initial)
    optimiser = start_optimiser(
        variation, algorithm.removeprefix("ofa2_"), len(objectives), population, generations, seed
    )
    scored = _Scored(RunningFront(space, objectives), constraints)
    while optimiser.has_next():
        asked = optimiser.ask()
        if asked is None or not len(asked):
            break  # no network is left that the population does not hold
        rows = scored.values(space.canonical(np.asarray(asked.get("X"), dtype=np.int64)))
        asked.set("F", rows[:, :-1])
        asked.set("G", rows[:, -1:])
        for individual in asked:
            individual.evaluated.update({"F", "G"})
        with np.errstate(invalid="ignore"):  # SPEA2 divides by the population's extent, 0 where one network is feasible
            optimiser.tell(infills=asked)
        if progress is not None:
            progress(optimiser.n_iter - 1, len(scored.rows))
    return scored.found.front()


class _Scored:
    """Every row that was asked for once: its minimised values and, last, its excess over the constraints."""

    def __init__(self, found: RunningFront, constraints: Sequence[Constraint]) -> None:
        self.found = found
        self.constraints = constraints
        self.rows: dict[bytes, Values] = {}

    def values(self, codes: Codes) -> Values:
        """Values and excess of rows, (n, objectives + 1); only rows not seen before reach the callables."""
        fresh = unique_codes(codes, self.rows)
        if len(fresh):
            excess = violations(self.constraints, fresh)
            values = self.found.evaluate(fresh)
            self.found.add(fresh[excess <= 0], values[excess <= 0])
            table = np.column_stack([values, excess])
            self.rows.update(zip([row.tobytes() for row in fresh], table, strict=True))
        return np.array([self.rows[row.tobytes()] for row in np.ascontiguousarray(codes)])
