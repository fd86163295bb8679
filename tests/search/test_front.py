import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onceforall.errors import ConfigError, FileFormatError
from onceforall.search import Front, hypervolume, non_dominated
from onceforall.space import create_space


def slow_non_dominated(points: np.ndarray) -> np.ndarray:
    beaten = [((points <= p).all(axis=1) & (points < p).any(axis=1)).any() for p in points]
    return ~np.array(beaten, dtype=bool)


def tables(objectives: int) -> st.SearchStrategy[np.ndarray]:
    shapes = st.integers(1, 30).map(lambda n: (n, objectives))
    return hnp.arrays(np.float64, shapes, elements=st.integers(-4, 4).map(float))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4).flatmap(tables))
def test_non_dominated_agrees_with_the_definition(points: np.ndarray) -> None:
    np.testing.assert_array_equal(non_dominated(points), slow_non_dominated(points))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([2, 3]).flatmap(tables))
def test_hypervolume_counts_unit_cells(points: np.ndarray) -> None:
    """With integer points the dominated region is a set of unit cells that can be counted."""
    corners = np.stack(np.meshgrid(*[np.arange(-4, 5)] * points.shape[1], indexing="ij"), axis=-1)
    cells = corners.reshape(-1, points.shape[1])
    covered = (cells[:, None] >= points[None]).all(axis=2).any(axis=1).sum()
    assert hypervolume(points, [5.0] * points.shape[1]) == pytest.approx(covered)


def test_hypervolume_agrees_with_moocore() -> None:
    import moocore

    points = np.random.default_rng(0).random((500, 2))
    assert hypervolume(points, (0.9, 1.1)) == pytest.approx(moocore.hypervolume(points, ref=(0.9, 1.1)), rel=1e-12)
    assert hypervolume(points + 2, (0.9, 1.1)) == 0.0
    assert hypervolume([[2.0], [1.0]], [4.0]) == 3.0


def test_large_tables_are_quick() -> None:
    points = np.random.default_rng(0).random((200_000, 2))
    assert 1 <= non_dominated(points).sum() < 100
    assert non_dominated(np.random.default_rng(0).random((20_000, 3))).sum() > 20


def test_points_must_be_numbers() -> None:
    with pytest.raises(ConfigError, match="NaN"):
        non_dominated([[1.0, np.nan]])
    with pytest.raises(ConfigError, match="2 numbers, the points have 3 objectives"):
        hypervolume([[1.0, 2.0, 3.0]], (1.0, 2.0))
    assert non_dominated(np.zeros((0, 2))).shape == (0,)


def test_front_keeps_the_best_in_order_and_round_trips() -> None:
    space = create_space("resnet_small")
    archs = space.sample_many(40, np.random.default_rng(0))
    values = np.random.default_rng(1).random((40, 2))
    front = Front.of(["top1", "latency_ms"], [True, False], archs, values)
    minimised = front.values * [-1, 1]
    assert non_dominated(minimised).all()
    assert (np.diff(front.values[:, 0]) < 0).all(), "best accuracy first"
    assert len(set(front.archs)) == len(front)
    assert front.hypervolume((0.0, 1.0)) == pytest.approx(hypervolume(minimised, (0.0, 1.0)))
    assert Front.from_dict(front.to_dict()) == front
    assert len(Front.of(["a", "b"], [False, False], [], np.zeros((0, 2)))) == 0
    with pytest.raises(FileFormatError, match="not the description of a front"):
        Front.from_dict({"objectives": [{"name": "a"}]})
