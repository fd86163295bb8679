from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onceforall.errors import ConfigError
from onceforall.search import Front, hypervolume, non_dominated, reduce_front
from onceforall.search import subset as subset_module
from onceforall.search.subset import best_subset
from onceforall.space import create_space


def fronts(objectives: int) -> st.SearchStrategy[np.ndarray]:
    shapes = st.integers(2, 20).map(lambda n: (n, objectives))
    tables = hnp.arrays(np.float64, shapes, elements=st.integers(0, 9).map(float))
    return tables.map(lambda table: np.unique(table[non_dominated(table)], axis=0)[:8])


def optimum(points: np.ndarray, corner: np.ndarray, count: int) -> float:
    return max(hypervolume(points[list(chosen)], corner) for chosen in combinations(range(len(points)), count))


@settings(deadline=None, max_examples=80)
@given(fronts(2), st.integers(1, 8), st.sampled_from([6.0, 10.0]))
def test_two_objectives_are_exact(points: np.ndarray, count: int, edge: float) -> None:
    corner = np.array([edge, edge])  # some points may lie beyond it
    chosen = best_subset(points, corner, count)
    assert len(np.unique(chosen)) == min(count, len(points))
    best = optimum(points, corner, min(count, len(points)))
    assert hypervolume(points[chosen], corner) == pytest.approx(best)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([2, 3]).flatmap(fronts), st.integers(1, 8))
def test_greedy_is_close(points: np.ndarray, count: int) -> None:
    corner = np.full(points.shape[1], 10.0)
    chosen = subset_module._greedy(points, corner, min(count, len(points)))
    assert len(np.unique(chosen)) == min(count, len(points))
    best = optimum(points, corner, min(count, len(points)))
    assert hypervolume(points[chosen], corner) >= (1 - 1 / np.e) * best


def test_reduced_front_keeps_its_hypervolume_and_direction() -> None:
    space = create_space("mbv3_w1.0")
    archs = space.sample_many(300, np.random.default_rng(0))
    angle = np.linspace(0, np.pi / 2, 300)
    values = np.stack([0.6 + 0.3 * np.sin(angle), 50 - 40 * np.cos(angle)], axis=1)
    front = Front.of(["top1", "ms"], [True, False], archs, values)
    assert len(front) == 300
    few = reduce_front(front, 30, reference=(0.5, 60.0))
    assert len(few) == len(set(few.archs)) == 30
    assert few.names == front.names
    assert few.hypervolume((0.5, 60.0)) > 0.99 * front.hypervolume((0.5, 60.0))
    every_tenth = Front.of(front.names, front.maximised, front.archs[::10], front.values[::10])
    assert few.hypervolume((0.5, 60.0)) > every_tenth.hypervolume((0.5, 60.0))
    assert len(reduce_front(front, 10)) == 10
    assert reduce_front(front, 300) == front
    with pytest.raises(ConfigError, match="count=0"):
        reduce_front(front, 0)
