"""Promises: close to the counts that come, sure where they were counted, and worth what the front would gain."""

import numpy as np
from scipy.stats import norm

from onceforall.search.ensemble.archive import Archive
from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.promise import Promise, expected_gains
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import front_like_table


def test_a_promise_is_closer_than_the_single_networks_say_and_knows_what_it_has_seen():
    rng = np.random.default_rng(0)
    table, labels, _ = front_like_table(rng, 40, 1000, 20)
    votes = VoteTable(array_blocks(table, labels))
    sets = rng.random((600, 40)) < 0.08
    sets = sets[sets.any(axis=1)]
    counts = votes.correct(sets)
    singles = votes.correct(np.eye(40))
    promise = Promise(singles, sets[:400], counts[:400])
    errors = promise.means(sets[400:]) - counts[400:]
    plain = np.polynomial.Polynomial.fit(sets[:400] @ singles / sets[:400].sum(axis=1), counts[:400], 2)
    without = plain(sets[400:] @ singles / sets[400:].sum(axis=1)) - counts[400:]
    assert errors.std() < 0.95 * without.std()
    assert 0.5 < errors.std() / promise.deviations(sets[400:]).mean() < 2
    assert promise.deviations(sets[:400]).max() < promise.deviations(sets[400:]).mean()


def test_the_expected_gain_is_the_mean_growth_of_the_hypervolume():
    rng = np.random.default_rng(0)
    archive = Archive(3)
    archive.offer(np.eye(3, dtype=bool), np.array([2.0, 3.0, 5.0]), np.array([10, 14, 20]))
    latencies, means, deviations = np.array([1.0, 3.5, 6.0, 9.0]), np.array([9.0, 15, 19, 30]), np.array([2.0, 3, 1, 4])
    gains = expected_gains(archive, latencies, means, deviations, (8.0, 5))
    grid = np.arange(0, 8, 0.01) + 0.005
    reached = np.maximum(archive.reached(grid), 5)
    for latency, mean, deviation, gain in zip(latencies, means, deviations, gains, strict=True):
        drawn = norm(mean, deviation).ppf((np.arange(400) + 0.5) / 400)
        growth = np.maximum(rng.permutation(drawn)[:, None] - reached, 0) * (grid >= latency)
        assert abs(growth.sum(axis=1).mean() * 0.01 - gain) < 0.05
