"""Selection by likelihood, against every pair and against what it promises about latencies."""

import numpy as np
import pytest

from onceforall.errors import ConfigError
from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.likelihood import select_by_likelihood
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import all_sets, dense_correct, front_like_table

NETWORKS = 9


@pytest.fixture(scope="module")
def example():
    table, labels, latencies = front_like_table(np.random.default_rng(0), NETWORKS, 500, 8)
    return table, labels, latencies, table[:, np.arange(500), labels].astype(np.float64)


def whole_votes(sets):
    """Shares of the vote as votes, so that equal classes are equal."""
    counts = np.arange(1, 13)
    rows = []
    for row in sets / sets.sum(axis=1, keepdims=True):
        off = np.abs(row[:, None] * counts - np.rint(row[:, None] * counts)).max(axis=0)
        rows.append(np.rint(row * counts[off.argmin()]))
    return np.array(rows)


def likelihoods(given, sets):
    return np.log(np.maximum(sets @ given / sets.sum(axis=1, keepdims=True), 1e-12)).mean(axis=1)


def test_an_ensemble_leads_the_likeliest_network_by_a_standard_error():
    seen = 0
    for seed in range(3):
        table, labels, latencies = front_like_table(np.random.default_rng(seed), NETWORKS, 1000, 6)
        given = np.maximum(table[:, np.arange(1000), labels].astype(np.float64), 1e-12)
        front = select_by_likelihood(VoteTable(array_blocks(table, labels)), given, latencies, "maximal")
        for one, weights in zip(front.ensembles, front.sets(NETWORKS), strict=True):
            if len(one.members) > 1:
                seen += 1
                fast = latencies <= one.latency_ms
                alone = given[fast][likelihoods(given, np.eye(NETWORKS)[fast]).argmax()]
                lead = np.log(weights @ given / weights.sum()) - np.log(alone)
                assert lead.mean() > lead.std() / len(lead) ** 0.5 - 2e-6
    assert seen


@pytest.mark.parametrize(
    ("first", "second", "lead", "members"),
    [
        ([0.75] * 68 + [0.2] * 32, [0.5] * 100, (1, 2), {"summed": 1, "maximal": 2}),
        ([0.9] * 50 + [0.3] * 50, [0.3] * 50 + [0.9] * 50, (2, 3), {"summed": 1, "maximal": 2}),
        ([0.95] * 50 + [0.05] * 50, [0.05] * 50 + [0.95] * 50, (4, 6), {"summed": 2, "maximal": 2}),
    ],
)
def test_a_small_lead_is_enough_side_by_side_only(first, second, lead, members):
    given = np.array([first, second])
    difference = np.log(given.mean(axis=0)) - np.log(given[1])
    assert lead[0] < difference.mean() / (difference.std() / 10) < lead[1]
    table, labels, _ = front_like_table(np.random.default_rng(0), 2, 100, 4)
    votes = VoteTable(array_blocks(table, labels))
    for rule, most in members.items():
        found = select_by_likelihood(votes, given, [1.0, 2.0], rule).ensembles
        assert max(len(one.members) for one in found) == most
        for needed, wanted in ((lead[0], 2), (lead[1], 1)):
            found = select_by_likelihood(votes, given, [1.0, 2.0], rule, lead=needed).ensembles
            assert max(len(one.members) for one in found) == wanted


def assert_doubtful(given, members, fast, errors):
    """The members together are not likelier by so many standard errors than the likeliest of the networks."""
    alone = given[fast][likelihoods(given, np.eye(len(given))[fast]).argmax()]
    difference = np.log(np.maximum(members @ given / members.sum(), 1e-12) / np.maximum(alone, 1e-12))
    assert difference.mean() <= errors * difference.std() / len(difference) ** 0.5 + 2e-6


@pytest.mark.parametrize("rule", ["summed", "maximal"])
@pytest.mark.parametrize("at_least", [1, 2, 3])
@pytest.mark.parametrize("networks", [12, 16])
def test_of_twelve_networks_no_set_and_of_more_no_triple_as_fast_is_likelier(networks, rule, at_least):
    table, labels, latencies = front_like_table(np.random.default_rng(0), networks, 500, 8)
    given = table[:, np.arange(500), labels].astype(np.float64)
    front = select_by_likelihood(VoteTable(array_blocks(table, labels)), given, latencies, rule, at_least=at_least)
    sets = front.sets(networks)
    found = likelihoods(given, sets)
    assert [one.correct for one in front.ensembles] == dense_correct(table, labels, whole_votes(sets))
    assert min(len(one.members) for one in front.ensembles) >= at_least
    total = sum if rule == "summed" else max
    for one in front.ensembles:
        assert one.latency_ms == pytest.approx(total(latencies[list(one.members)]))
    times = [one.latency_ms for one in front.ensembles]
    assert times == sorted(set(times))
    every = all_sets(networks)
    every = every[(every.sum(axis=1) >= at_least) & ((networks == 12) | (every.sum(axis=1) <= 3))].astype(np.float64)
    for members, value in zip(every, likelihoods(given, every), strict=True):
        fast = [i for i, ms in enumerate(times) if ms <= total(latencies[members > 0]) + 1e-9]
        in_force = fast[-1]
        if at_least > 1 or len(front.ensembles[in_force].members) > 1:
            assert found[in_force] >= value - 2e-6
        else:
            assert_doubtful(given, members, latencies <= total(latencies[members > 0]), 4 if rule == "summed" else 1)


def test_where_a_network_alone_is_likeliest_the_most_accurate_one_as_fast_stands():
    table, labels, latencies = front_like_table(np.random.default_rng(1), 3, 400, 6)
    given = np.repeat(np.array([[0.2], [0.3], [0.4]]), 400, axis=1)  # nothing to gain from a mixture
    votes = VoteTable(array_blocks(table, labels))
    front = select_by_likelihood(votes, given, latencies, "maximal")
    right = votes.correct(np.eye(3))
    best = [int(np.argmax(right[: count + 1])) for count in range(3)]
    assert [one.members for one in front.ensembles] == [(member,) for member in dict.fromkeys(best)]


def test_members_that_may_not_stand_alone_vote_with_others_only():
    table, labels, latencies = front_like_table(np.random.default_rng(2), 12, 400, 6)
    latencies = np.tile(latencies[::2], 2)  # six networks and their likes, as fast as they are
    given = table[:, np.arange(400), labels].astype(np.float64)
    votes = VoteTable(array_blocks(table, labels))
    single = np.arange(12) < 6
    front = select_by_likelihood(votes, given, latencies, "maximal", single=single)
    alone = [one.members[0] for one in front.ensembles if len(one.members) == 1]
    together = {member for one in front.ensembles if len(one.members) > 1 for member in one.members}
    assert max(alone, default=0) < 6 <= max(together)


def test_a_member_that_may_not_stand_alone_hides_no_vote_it_is_part_of():
    """The second is likelier than any vote, but only votes may be delivered."""
    table, labels, _ = front_like_table(np.random.default_rng(0), 2, 400, 4)
    low, high = np.tile([0.2, 0.6], 200), np.tile([0.7, 0.9], 200)
    votes = VoteTable(array_blocks(table, labels))
    for rule, latency in (("maximal", 2.0), ("summed", 4.0)):
        front = select_by_likelihood(votes, np.stack([low, high]), [2, 2], rule, single=np.array([True, False]))
        assert (front.ensembles[-1].members, front.ensembles[-1].latency_ms) == ((0, 1), latency)


def test_few_are_chosen_from_fast_to_slow(example):
    table, labels, latencies, given = example
    votes = VoteTable(array_blocks(table, labels))
    every = select_by_likelihood(votes, given, latencies, "maximal")
    few = select_by_likelihood(votes, given, latencies, "maximal", most=3)
    assert len(few.ensembles) == 3
    assert set(few.ensembles) <= set(every.ensembles)
    assert few == select_by_likelihood(votes, given, latencies, "maximal", most=3)


def test_where_there_are_too_many_networks_alone_stay():
    table, labels, latencies = front_like_table(np.random.default_rng(0), 16, 500, 8)
    given = table[:, np.arange(500), labels].astype(np.float64)
    votes = VoteTable(array_blocks(table, labels))
    every = select_by_likelihood(votes, given, latencies, lead=0).ensembles
    alone = [one for one in every if len(one.members) == 1]
    for more in (0, 1, 2):
        few = select_by_likelihood(votes, given, latencies, lead=0, most=len(alone) + more).ensembles
        assert len(every) > len(few) == len(alone) + more
        assert [one for one in few if len(one.members) == 1] == alone


@pytest.mark.parametrize(("options", "message"), [({"at_least": 13}, "at_least=13"), ({"rule": "mean"}, "rule=mean")])
def test_impossible_selections_are_refused(example, options, message):
    table, labels, latencies, given = example
    with pytest.raises(ConfigError, match=message):
        select_by_likelihood(VoteTable(array_blocks(table, labels)), given, latencies, **options)


def test_equal_networks_are_refused(example):
    table, labels, latencies, given = example
    votes = VoteTable(array_blocks(np.repeat(table[:1], 3, axis=0), labels))
    with pytest.raises(ConfigError, match="all 3 networks"):
        select_by_likelihood(votes, given[:3], latencies[:3])
