"""The ensemble searches of OFA3 as published: genetic algorithms that start with all networks in the ensemble."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError
from .ensembles import (
    EnsembleFront,
    Rule,
    Sets,
    check_choice,
    check_latencies,
    front_of,
    latencies_of,
    reference_point,
)
from .votes import VoteTable

ALGORITHMS = ("nsga2", "smsemoa", "spea2")


@dataclass(frozen=True)
class Preset:
    """One published search: what latency means, how many members are needed, how long it ran.

    `top` is the vote: each network speaks for its five best classes, every other gets nothing from it. `seeds` are
    those that were published.
    """

    rule: Rule
    at_least: int
    generations: int
    population: int = 100
    mutation_probability: float = 0.01
    top: int = 5
    seeds: tuple[int, ...] = (1, 2, 3)

    @property
    def evaluations(self) -> int:
        """Ensembles that are counted: all copies of the first one are one."""
        return 1 + self.population * (self.generations - 1)


PRESETS = {
    "ofa3_summed": Preset("summed", at_least=2, generations=200),
    "ofa3_max": Preset("maximal", at_least=1, generations=2000),
    "ofa3_summed_1000": Preset("summed", at_least=2, generations=1000),
    # What ran in place of NSGA-II with seed 2 under maximal latency.
    "ofa3_max_1500": Preset("maximal", at_least=1, generations=1500, seeds=(2,)),
}


def published_selection(
    votes: VoteTable,
    latencies_ms: ArrayLike,
    preset: Preset,
    algorithm: str = "nsga2",
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> EnsembleFront:
    """Run a published search; the front of its last population.

    `votes` should be of the preset's truncated vote (`VoteTable(blocks, top=preset.top)`). `progress(generation)` is
    called after each generation. Numbers differ from run to run of other library versions: those of pymoo here, 0.6.0.1
    with another fitness in SPEA2 there.

    Raises:
        ConfigError: an unknown algorithm, a latency that is missing, fewer than two networks, all of them equal.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"unknown algorithm {algorithm!r}; choose one of {', '.join(ALGORITHMS)}")
    check_choice(votes, preset.at_least, preset.population, votes.members)
    latencies = check_latencies(latencies_ms, votes.members)
    optimiser = _start(algorithm, votes.members, preset, seed)
    evaluations = 0
    while optimiser.has_next():
        with np.errstate(invalid="ignore"):  # the first population has no extent to be scaled by
            asked = optimiser.ask()
        if asked is None or not len(asked):
            break  # no ensemble is left that the population does not hold
        sets = np.asarray(asked.get("X"), dtype=bool)
        evaluations += len(sets)
        errors = 100 - 100 * _counts(votes, sets) / votes.images
        asked.set("F", np.stack([latencies_of(sets, latencies, preset.rule), errors], axis=1))
        asked.set("G", (preset.at_least - sets.sum(axis=1, keepdims=True)).astype(np.float64))
        for individual in asked:
            individual.evaluated.update({"F", "G"})
        with np.errstate(invalid="ignore"):
            optimiser.tell(infills=asked)
        if progress is not None:
            progress(optimiser.n_iter - 1)
    last = np.asarray(optimiser.pop.get("X"), dtype=bool)
    last = last[last.sum(axis=1) >= preset.at_least]
    singles = votes.correct(np.eye(votes.members))
    reference = reference_point(latencies, singles, votes.images, preset.rule)
    return front_of(last, _counts(votes, last), latencies, preset.rule, votes.images, evaluations, reference)


def _counts(votes: VoteTable, sets: Sets) -> NDArray[np.int64]:
    """Images right per set; nobody is right about nothing."""
    counts = np.zeros(len(sets), dtype=np.int64)
    filled = sets.any(axis=1)
    counts[filled] = votes.correct(sets[filled])
    return counts


def _start(algorithm: str, networks: int, preset: Preset, seed: int) -> Any:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.moo.sms import SMSEMOA, LeastHypervolumeContributionSurvival
    from pymoo.algorithms.moo.spea2 import SPEA2, SPEA2Survival
    from pymoo.core.crossover import Crossover
    from pymoo.core.mutation import Mutation
    from pymoo.core.problem import Problem
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

    class Exchange(Crossover):
        """Two parents, two children: each gene changes hands with probability one half."""

        def _do(self, problem: Any, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
            swap = random_state.random(X.shape[1:]) < 0.5
            return np.stack([np.where(swap, X[1], X[0]), np.where(swap, X[0], X[1])])

    class Redraw(Mutation):
        """Each gene is drawn anew with a probability, half of the time as it was."""

        def _do(self, problem: Any, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
            redraw = random_state.random(X.shape) < preset.mutation_probability
            return np.where(redraw, random_state.random(X.shape) < 0.5, X)

    # A survival object for each run: pymoo's default of SPEA2 carries the range of the objectives into the next one.
    optimisers: dict[str, tuple[Any, Any]] = {
        "nsga2": (NSGA2, RankAndCrowding()),
        "smsemoa": (SMSEMOA, LeastHypervolumeContributionSurvival()),
        "spea2": (SPEA2, SPEA2Survival(normalize=True)),
    }
    create, survival = optimisers[algorithm]
    optimiser = create(
        pop_size=preset.population,
        n_offsprings=preset.population,
        # The published start is a hundred copies of "all in"; without duplicates that is a population of one.
        sampling=np.ones((1, networks), dtype=bool),
        crossover=Exchange(2, 2, prob=1.0),
        mutation=Redraw(prob=1.0),
        survival=survival,
    )
    problem = Problem(n_var=networks, n_obj=2, n_ieq_constr=1, xl=0, xu=1, vtype=bool)
    return optimiser.setup(problem, seed=seed, termination=("n_gen", preset.generations))
