"""Multi-objective search through pymoo: NSGA-II, SMS-EMOA and SPEA2 on canonical codes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from ..space import SearchSpace
from .constraints import Constraint, checked_values, violations
from .front import Front, non_dominated
from .operators import CodeFunction, Codes, Values

ALGORITHMS = ("nsga2", "smsemoa", "spea2")


@dataclass(frozen=True)
class Objective:
    """One thing to optimise: `function(codes (n, D)) -> (n,)`; minimised unless `maximise`."""

    name: str
    function: CodeFunction
    maximise: bool = False

    def minimised(self, codes: Codes) -> Values:
        """The values with the sign that makes smaller better."""
        values = checked_values(self.name, self.function, codes)
        return -values if self.maximise else values


def pareto_search(
    space: SearchSpace,
    objectives: Sequence[Objective],
    algorithm: str = "nsga2",
    population: int = 100,
    generations: int = 100,
    seed: int = 0,
    *,
    constraints: Sequence[Constraint] = (),
    initial: Codes | None = None,
    mutation_probability: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> Front:
    """Search the front of several objectives; every architecture is evaluated at most once.

    Rows are canonical codes, so pymoo's duplicate removal compares networks and not genotypes. `initial` rows (n, D)
    start the population (the rest is sampled); `progress(generation, evaluations)` is called after each generation.
    Infeasible rows rank behind feasible ones and never enter the front. The front comes from all evaluated networks,
    not only from the last population.

    Raises:
        ConfigError: an unknown algorithm, fewer than two objectives, an empty population, an objective without values.
    Source: Deb 2002 (NSGA-II), Beume 2007 (SMS-EMOA), Zitzler 2001 (SPEA2); settings of arXiv 2303.13683, section 3.
    """
    _check(objectives, algorithm, population, generations)
    from .pymoo_bridge import start_optimiser  # importing pymoo takes a second: only for those who search with it

    optimiser = start_optimiser(
        space, algorithm, len(objectives), population, generations, seed, mutation_probability, initial
    )
    archive = _Archive(objectives, constraints)
    while optimiser.has_next():
        asked = optimiser.ask()
        if asked is None or not len(asked):
            break  # no network is left that the population does not hold
        rows = archive.evaluate(np.asarray(asked.get("X"), dtype=np.int64))
        asked.set("F", rows[:, :-1])
        asked.set("G", rows[:, -1:])
        for individual in asked:
            individual.evaluated.update({"F", "G"})
        optimiser.tell(infills=asked)
        if progress is not None:
            progress(optimiser.n_iter - 1, len(archive.rows))
    return archive.front(space)


def _check(objectives: Sequence[Objective], algorithm: str, population: int, generations: int) -> None:
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"unknown search algorithm {algorithm!r}; choose one of {', '.join(ALGORITHMS)}")
    if len(objectives) < 2:
        raise ConfigError("a front needs at least two objectives; use evolve for one")
    if len({objective.name for objective in objectives}) < len(objectives):
        raise ConfigError("two objectives have the same name; name each one differently")
    if population < 2 or generations < 1:
        raise ConfigError(
            f"population={population} generations={generations}: at least 2 networks and 1 generation are needed"
        )


class _Archive:
    """Every evaluated row once: its minimised values and, in the last column, its excess over the constraints."""

    def __init__(self, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> None:
        self.objectives = objectives
        self.constraints = constraints
        self.rows: dict[bytes, Values] = {}

    def evaluate(self, codes: Codes) -> Values:
        """Values and excess of rows, (n, objectives + 1); only rows not seen before reach the callables."""
        keys = [row.tobytes() for row in np.ascontiguousarray(codes)]
        fresh = codes[[index for index, key in enumerate(keys) if key not in self.rows]]
        if len(fresh):
            columns = [objective.minimised(fresh) for objective in self.objectives]
            table = np.stack([*columns, violations(self.constraints, fresh)], axis=1)
            self.rows.update(zip([row.tobytes() for row in fresh], table, strict=True))
        return np.array([self.rows[key] for key in keys])

    def front(self, space: SearchSpace) -> Front:
        """The feasible front of everything evaluated, in the objectives' own direction."""
        table = np.array(list(self.rows.values()))
        codes = np.frombuffer(b"".join(self.rows), dtype=np.int64).reshape(len(table), -1)
        feasible = np.flatnonzero(table[:, -1] <= 0)
        best = feasible[non_dominated(table[feasible, :-1])]
        maximised = [objective.maximise for objective in self.objectives]
        values = table[best, :-1] * np.where(maximised, -1.0, 1.0)
        return Front.of([objective.name for objective in self.objectives], maximised, space.decode(codes[best]), values)
