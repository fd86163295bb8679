import numpy as np
import pytest

from onceforall.errors import ConfigError, InfeasibleConstraint
from onceforall.search import Constraint, Objective, pareto_search, random_search
from onceforall.search.pareto import ALGORITHMS
from onceforall.space import create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0", resolutions=(160, 192, 224))
LAND = Landscape(SPACE)
REFERENCE = (0.6, float(LAND.macs(SPACE.encode([SPACE.largest]))[0]))


class Counting:
    """A function of codes that remembers its rows."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        self.rows += [row.tobytes() for row in codes]
        return LAND.accuracy(codes)


def objectives(score: Counting | None = None) -> list[Objective]:
    return [Objective("top1", score or LAND.accuracy, maximise=True), Objective("macs", LAND.macs)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_front_is_better_than_random_and_evaluates_nothing_twice(algorithm: str) -> None:
    score = Counting()
    front = pareto_search(SPACE, objectives(score), algorithm, population=30, generations=40, seed=1)
    assert len(score.rows) == len(set(score.rows)) <= 1200
    assert front.hypervolume(REFERENCE) > random_search(SPACE, objectives(), 1200, seed=1).hypervolume(REFERENCE)
    assert len(set(front.archs)) == len(front) > 10
    np.testing.assert_allclose(front.values[:, 0], LAND.accuracy(SPACE.encode(front.archs)))
    again = pareto_search(SPACE, objectives(), algorithm, population=30, generations=40, seed=1)
    assert again == front, "the same seed gives the same front"


@pytest.mark.parametrize("algorithm", ["niches", "nsga2", "ofa2_nsga2"])
def test_constraints_bind_the_front(algorithm: str) -> None:
    limit = Constraint("macs", LAND.middle(), LAND.macs)
    front = pareto_search(SPACE, objectives(), algorithm, population=20, generations=10, constraints=[limit])
    assert len(front)
    assert (front.values[:, 1] <= limit.limit).all()


@pytest.mark.parametrize("algorithm", ["niches", "nsga2"])
def test_initial_rows_and_progress(algorithm: str) -> None:
    start = SPACE.encode([SPACE.smallest, SPACE.largest])
    score = Counting()
    calls: list[tuple[int, int]] = []
    front = pareto_search(
        SPACE,
        objectives(score),
        algorithm,
        population=10,
        generations=4,
        initial=start,
        progress=lambda generation, evaluations: calls.append((generation, evaluations)),
    )
    assert score.rows[:2] == [row.tobytes() for row in start]
    assert calls[0][0] == 1
    assert calls[-1][1] == 40
    assert calls == sorted(calls)
    assert SPACE.smallest in front.archs
    assert SPACE.largest in front.archs


def test_three_objectives_and_a_tiny_space() -> None:
    space = create_space("resnet_small", depths=(1,))
    land = Landscape(space)
    three = [
        Objective("top1", land.accuracy, maximise=True),
        Objective("macs", land.macs),
        Objective("latency_ms", land.latency),
    ]
    front = pareto_search(space, three, population=40, generations=5)
    assert 1 <= len(front) <= space.size == 27
    assert front.names == ("top1", "macs", "latency_ms")


def test_bad_input() -> None:
    for algorithm in ALGORITHMS:
        with pytest.raises(InfeasibleConstraint, match="the feasible range in space mbv3"):
            pareto_search(SPACE, objectives(), algorithm, constraints=[Constraint("macs", 1.0, LAND.macs)])
    with pytest.raises(ConfigError, match="ofa2_nsga2 begins with the published population"):
        pareto_search(SPACE, objectives(), "ofa2_nsga2", initial=SPACE.encode([SPACE.largest]))
    with pytest.raises(ConfigError, match="unknown search algorithm 'nsga9'; choose one of niches, nsga2"):
        pareto_search(SPACE, objectives(), "nsga9")
    with pytest.raises(ConfigError, match="at least two objectives"):
        pareto_search(SPACE, objectives()[:1])
    with pytest.raises(ConfigError, match="same name"):
        pareto_search(SPACE, objectives()[:1] * 2)
    with pytest.raises(ConfigError, match="population=0"):
        pareto_search(SPACE, objectives(), population=0)
    broken = Objective("latency_ms", lambda codes: np.full(len(codes), np.inf))
    with pytest.raises(ConfigError, match="latency_ms is inf"):
        pareto_search(SPACE, [objectives()[0], broken], population=4, generations=1)
