"""The pool holds every neighbour of a front, nothing twice, nothing empty, and not too much."""

import numpy as np

from onceforall.search.ensemble import pool
from onceforall.search.ensemble.pool import around, random_sets


def test_all_sets_one_change_away_are_in_the_pool():
    front = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1]], dtype=bool)
    found = around(front, np.random.default_rng(0))
    assert found.any(axis=1).all()
    known = {row.tobytes() for row in found}
    assert len(known) == len(found)
    for row in front:
        for change in range(6):
            changed = row ^ (np.arange(6) == change)
            assert changed.tobytes() in known or not changed.any()
            for other in range(6):
                exchanged = changed ^ (np.arange(6) == other)
                assert row[change] == row[other] or exchanged.tobytes() in known


def test_a_large_pool_is_a_sample_and_the_same_for_the_same_generator(monkeypatch):
    monkeypatch.setattr(pool, "_MOST", 500)
    front = random_sets(np.random.default_rng(1), 30, 4, 10)
    assert front.sum(axis=1).tolist() == [4, 5] * 5
    first, second = (around(front, np.random.default_rng(2)) for _ in range(2))
    assert len(first) == 500
    assert first.tolist() == second.tolist()
    assert random_sets(np.random.default_rng(3), 3, 3, 4).all()
