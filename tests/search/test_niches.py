import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onceforall.search import non_dominated
from onceforall.search.niches import best_of_each, nearest, shortfall, spread_out


def tables(objectives: int) -> st.SearchStrategy[np.ndarray]:
    shapes = st.integers(1, 30).map(lambda n: (n, objectives))
    return hnp.arrays(np.float64, shapes, elements=st.integers(-4, 4).map(float))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3).flatmap(tables), st.integers(1, 10))
def test_spread_out_begins_with_the_best_of_each_objective(points: np.ndarray, count: int) -> None:
    chosen = spread_out(points, count)
    different = len(np.unique(points, axis=0))
    assert 1 <= len(chosen) <= min(count, different)
    assert len(np.unique(points[chosen], axis=0)) == len(chosen), "a point is chosen once, and its equals never"
    if count >= max(different, points.shape[1]):
        assert len(chosen) == different
    if count >= points.shape[1]:
        np.testing.assert_array_equal(points[chosen].min(axis=0), points.min(axis=0))


def test_spread_out_then_takes_the_farthest() -> None:
    line = np.stack([np.arange(101.0), 100 - np.arange(101.0)], axis=1)
    assert line[spread_out(line, 5), 0].tolist() == [0, 100, 50, 25, 75]


def test_nearest() -> None:
    assert nearest(np.array([[0.0, 0.0], [0.9, 1.2], [0.4, 0.4]]), np.array([[0.0, 0.0], [1.0, 1.0]])).tolist() == [
        0,
        1,
        0,
    ]


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 4).flatmap(lambda m: st.tuples(tables(m), tables(m))))
def test_shortfall_is_the_gain_that_ends_dominance(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    points, others = drawn
    front = others[non_dominated(others)]
    short = shortfall(points, front)
    for point, value in zip(points, short, strict=True):
        assert value == max(min(point - other) for other in front)
        beaten = ((front < point).all(axis=1)).any()
        assert (value > 0) == beaten
    assert (shortfall(front, front) == 0).all()


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 4)), st.integers(1, 6), st.data())
def test_best_of_each(niche: np.ndarray, count: int, data: st.DataObject) -> None:
    short = data.draw(hnp.arrays(np.float64, len(niche), elements=st.integers(0, 5).map(float)))
    kept = best_of_each(niche, short, count)
    assert (np.diff(niche[kept]) >= 0).all()
    for name in range(5):
        inside = np.flatnonzero(niche == name)
        own = kept[niche[kept] == name]
        assert len(set(own.tolist())) == len(own) == min(count, len(inside))
        assert np.sort(short[own]).tolist() == np.sort(short[inside])[: len(own)].tolist()
