"""The archive keeps the front of everything it was offered."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onceforall.search.ensemble.archive import Archive

OFFERS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=25)


@given(OFFERS, st.integers(1, 5))
def test_the_archive_is_the_front_in_order(offers, batch):
    archive = Archive(5)
    sets = (np.arange(1, len(offers) + 1)[:, None] >> np.arange(5)) & 1 > 0
    latencies, counts = np.array(offers, dtype=np.float64).T
    for start in range(0, len(offers), batch):
        part = slice(start, start + batch)
        archive.offer(sets[part], latencies[part], counts[part].astype(np.int64))
    for limit in range(8):
        within = [count for latency, count in offers if latency <= limit]
        assert archive.reached(np.array([float(limit)])).tolist() == [max(within, default=-1)]
    assert (np.diff(archive.latencies) > 0).all()
    assert (np.diff(archive.correct) > 0).all()
    for row, latency, count in zip(archive.sets, archive.latencies, archive.correct, strict=True):
        assert any((row == one).all() and offer == (latency, count) for one, offer in zip(sets, offers, strict=True))
        assert archive.best_within(latency).tolist() == row.tolist()


def test_what_is_only_as_good_stays_out_but_is_remembered():
    archive = Archive(3)
    first, second = np.eye(3, dtype=bool)[:2]
    archive.offer(first[None], np.array([2.0]), np.array([5]))
    archive.offer(second[None], np.array([2.0]), np.array([5]))
    archive.offer(second[None], np.array([3.0]), np.array([5]))
    assert archive.sets.tolist() == [first.tolist()]
    assert archive.equal.tolist() == [first.tolist(), second.tolist()]
    archive.offer(~first[None], np.array([2.0]), np.array([6]))
    assert archive.sets.tolist() == archive.equal.tolist() == [(~first).tolist()]


def test_only_some_of_equal_sets_are_remembered():
    archive = Archive(6)
    sets = (np.arange(1, 64)[:, None] >> np.arange(6)) & 1 > 0
    archive.offer(sets, np.full(63, 2.0), np.full(63, 5))
    assert archive.equal.tolist() == sets[:16].tolist()
    assert (Archive(6).equal.shape, Archive(6).equal.dtype) == ((0, 6), np.bool_)
