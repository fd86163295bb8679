import numpy as np
import pytest

from onceforall.errors import ConfigError, InfeasibleConstraint
from onceforall.search import Constraint, evolve, run_evolution, uniform_family_codes
from onceforall.search.operators import enumerate_codes, unique_codes
from onceforall.space import create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0", resolutions=(160, 192, 224))
LAND = Landscape(SPACE)
LIMIT = Constraint("macs", LAND.middle(), LAND.macs)


class Counting:
    """A score that remembers every row it was asked for."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        self.rows += [row.tobytes() for row in codes]
        return LAND.accuracy(codes)


def test_beats_random_search_within_the_limit() -> None:
    result = run_evolution(SPACE, LAND.accuracy, [LIMIT], population=50, generations=19, seed=0)
    assert evolve(SPACE, LAND.accuracy, [LIMIT], population=50, generations=19, seed=0) == result.best
    rows = SPACE.sample_codes(20_000, np.random.default_rng(0))
    random = LAND.accuracy(rows[LAND.macs(rows) <= LIMIT.limit])[:1000].max()
    assert result.evaluations <= 1000
    assert result.score > random
    assert result.costs["macs"] <= LIMIT.limit
    assert result.score == pytest.approx(LAND.accuracy(SPACE.encode([result.best]))[0])
    best = [step.best_score for step in result.history]
    assert best == sorted(best)
    assert result.history[-1].evaluations == result.evaluations


def test_never_scores_a_network_twice_or_outside_the_limit() -> None:
    score = Counting()
    result = run_evolution(SPACE, score, [LIMIT], population=40, generations=10, seed=1)
    assert len(score.rows) == len(set(score.rows)) == result.evaluations
    assert (LAND.macs(result.codes) <= LIMIT.limit).all()
    np.testing.assert_array_equal(LAND.accuracy(result.codes), result.scores)


@pytest.mark.parametrize("budget", [1, 2, 30, 137])
def test_budget_is_exact(budget: int) -> None:
    score = Counting()
    result = run_evolution(SPACE, score, [LIMIT], population=40, generations=50, budget=budget)
    assert result.evaluations == len(score.rows) == budget


def test_same_seed_same_result() -> None:
    first, again, other = (run_evolution(SPACE, LAND.accuracy, [LIMIT], generations=3, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.codes, again.codes)
    assert first.best == again.best
    assert first.codes.tobytes() != other.codes.tobytes()


def test_warm_start_comes_first() -> None:
    rows = uniform_family_codes(SPACE)
    rows = rows[LAND.macs(rows) <= LIMIT.limit][:10]
    result = run_evolution(SPACE, LAND.accuracy, [LIMIT], population=20, generations=1, warm_start=rows)
    np.testing.assert_array_equal(result.codes[:10], rows)


def test_a_limit_that_samples_never_meet() -> None:
    """Only a handful of the smallest networks fit: they are found by walking, and the search ends when none is new."""
    smallest = LAND.macs(SPACE.encode([SPACE.smallest]))[0]
    tight = Constraint("macs", smallest * 1.02, LAND.macs)
    result = run_evolution(SPACE, LAND.accuracy, [tight], population=30, generations=5)
    assert 1 <= result.evaluations <= 180
    assert result.costs["macs"] <= tight.limit


def test_small_space_is_enumerated() -> None:
    space = create_space("resnet_small")
    land = Landscape(space)
    limit = Constraint("macs", land.middle(), land.macs)
    rows = enumerate_codes(space)
    rows = rows[land.macs(rows) <= limit.limit]
    result = run_evolution(space, land.accuracy, [limit], population=100, generations=50)
    assert result.evaluations == len(unique_codes(rows))
    assert result.score == land.accuracy(rows).max()


def test_bad_input() -> None:
    with pytest.raises(InfeasibleConstraint, match="feasible range"):
        run_evolution(SPACE, LAND.accuracy, [Constraint("macs", 1.0, LAND.macs)])
    with pytest.raises(ConfigError, match="population=0"):
        run_evolution(SPACE, LAND.accuracy, population=0)
    with pytest.raises(ConfigError, match="budget=0"):
        run_evolution(SPACE, LAND.accuracy, budget=0)
    with pytest.raises(ConfigError, match="the score is nan"):
        run_evolution(SPACE, lambda codes: np.full(len(codes), np.nan), budget=5)
