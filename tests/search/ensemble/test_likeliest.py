"""The likeliest ensembles against every pair, triple and neighbour, computed the plain way."""

import itertools

import numpy as np
import pytest

from onceforall.search.ensemble.likeliest import MOST_VOTES, front_rows, likeliest_ensembles

ALIKE = 2e-6


def made(seed, networks, images):
    """What networks that share what is hard give the true class, and latencies that rise with their skill."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(1, 2, size=images) + rng.normal(size=(networks, images)) + np.linspace(0, 1, networks)[:, None]
    return 1 / (1 + np.exp(-logits)), np.sort(rng.uniform(1, 5, size=networks))


def likelihood(shares, probabilities):
    return float(np.log(np.maximum(shares @ probabilities / shares.sum(), 1e-12)).mean())


def latency(shares, latencies, rule):
    return (sum if rule == "summed" else max)(latencies[shares > 0])


class Known:
    """A found front: the likelihood within each latency."""

    def __init__(self, shares, probabilities, latencies, rule):
        self.times = np.array([latency(row, latencies, rule) for row in shares])
        self.values = np.array([likelihood(row, probabilities) for row in shares])

    def within(self, time):
        return self.values[self.times <= time + 1e-9].max(initial=-np.inf)


@pytest.mark.parametrize("rule", ["summed", "maximal"])
@pytest.mark.parametrize("at_least", [1, 2, 3])
@pytest.mark.parametrize(("networks", "images"), [(3, 1), (8, 2), (15, 45), (17, 46), (16, 47)])
def test_no_pair_and_no_triple_as_fast_is_likelier(rule, at_least, networks, images):
    probabilities, latencies = made(images, networks, images)
    shares, _ = likeliest_ensembles(probabilities, latencies, rule, at_least, np.ones(networks, dtype=bool))
    known = Known(shares, probabilities, latencies, rule)
    assert (np.count_nonzero(shares, axis=1) >= at_least).all()
    for size in range(at_least, 4):
        for members in itertools.combinations(range(networks), size):
            row = np.isin(np.arange(networks), members)
            assert likelihood(row, probabilities) <= known.within(latency(row, latencies, rule)) + ALIKE


@pytest.mark.parametrize("rule", ["summed", "maximal"])
@pytest.mark.parametrize("at_least", [4, 5, 12])
@pytest.mark.parametrize("seed", range(3))
def test_ensembles_of_many_members_begin_with_the_fastest(rule, at_least, seed):
    """Also where one member more makes none of the smaller ensembles likelier."""
    probabilities, latencies = made(seed, 20, 40)
    shares, _ = likeliest_ensembles(probabilities, latencies, rule, at_least, np.ones(20, dtype=bool))
    fastest = np.arange(20) < at_least
    assert latency(shares[0], latencies, rule) == pytest.approx(latency(fastest, latencies, rule))
    assert (np.count_nonzero(shares, axis=1) >= at_least).all()


@pytest.mark.parametrize("rule", ["summed", "maximal"])
@pytest.mark.parametrize("networks", [2, 9, 16, 20])
def test_no_vote_added_taken_away_or_moved_makes_an_ensemble_likelier(rule, networks):
    probabilities, latencies = made(networks, networks, 40)
    shares, _ = likeliest_ensembles(probabilities, latencies, rule, 1, np.ones(networks, dtype=bool))
    known = Known(shares, probabilities, latencies, rule)
    assert (np.diff(known.times) > 0).all()
    assert (np.diff(known.values) > 0).all()
    one = np.eye(networks, dtype=np.int64)
    for row in shares:
        assert row.sum() <= MOST_VOTES
        fewer = [row - one[member] for member in np.flatnonzero(row) if row.sum() > 1]
        for changed in [*fewer, *(base + vote for base in [row, *fewer] for vote in one)]:
            if changed.sum() <= MOST_VOTES:
                within = known.within(latency(changed, latencies, rule))
                assert likelihood(changed, probabilities) <= within + ALIKE


def test_a_network_that_two_others_make_superfluous_is_taken_out():
    """Growing alone would keep the first network: it is the best start for a pair, and of no use in the best three."""
    probabilities = np.array(
        [[0.5, 0.5, 0.5, 0.5], [0.98, 0.98, 0.1, 0.1], [0.1, 0.98, 0.98, 0.1], [0.1, 0.1, 0.98, 0.98]]
    )
    shares, looked_at = likeliest_ensembles(probabilities, np.ones(4), "maximal", 1, np.ones(4, dtype=bool))
    assert shares.tolist() == [[0, 1, 0, 1]]
    assert looked_at > 4 + 6 + 4


def test_impossible_probabilities_are_held_as_very_small_ones():
    probabilities = np.array([[0.0, 1.0], [0.0, 0.5], [0.0, 0.25]])
    shares, _ = likeliest_ensembles(probabilities, np.array([3.0, 2.0, 1.0]), "summed", 1, np.ones(3, dtype=bool))
    assert (shares > 0).tolist() == [[False, False, True], [False, True, False], [True, False, False]]


def test_the_front_is_what_is_likelier_than_everything_as_fast():
    rows = front_rows(np.array([2.0, 1.0, 1.0, 3.0]), np.array([-0.5, -0.6, -0.7, -0.5]))
    assert rows.tolist() == [1, 0]
