"""Selection: the true front where it can be known, limits that hold, the same result every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.errors import ConfigError
from onceforall.search.ensemble import selection
from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.ensembles import RULES, latencies_of
from onceforall.search.ensemble.selection import select_ensembles
from onceforall.search.ensemble.votes import VoteTable
from onceforall.search.front import non_dominated

from .tables_of_numbers import all_sets, dense_correct, made_table

both_rules = pytest.mark.parametrize("rule", RULES)


def made(seed: int, networks: int, images: int = 150, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    table, labels = made_table(rng, networks, images, 5, noise)
    return table, labels, np.sort(rng.uniform(1, 10, networks))


def true_front(table, labels, latencies, rule, at_least=1):
    """Every set of members, counted the plain way."""
    sets = all_sets(len(table))
    sets = sets[sets.sum(axis=1) >= at_least]
    counts = np.concatenate([dense_correct(table, labels, part) for part in np.array_split(sets, 8)])
    points = np.stack([latencies_of(sets, latencies, rule), -counts], axis=1)
    return np.unique(points[non_dominated(points)], axis=0).tolist()


def points_of(front):
    return [[one.latency_ms, -one.correct] for one in front.ensembles]


@both_rules
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0, 2.0]))
def test_all_sets_of_twelve_networks_are_matched(rule, seed, noise):
    table, labels, latencies = made(seed, 12, 60, noise)
    front = select_ensembles(VoteTable(array_blocks(table, labels)), latencies, rule)
    assert points_of(front) == true_front(table, labels, latencies, rule)
    assert front.evaluations == 4095


@both_rules
@pytest.mark.parametrize("at_least", [1, 2, 3])
def test_the_search_finds_every_front_of_three_and_never_more_than_there_is(rule, at_least, monkeypatch):
    monkeypatch.setattr(selection, "EXHAUSTIVE_NETWORKS", 0)
    for seed in range(4):
        table, labels, latencies = made(seed, 9, noise=0.5)
        front = select_ensembles(VoteTable(array_blocks(table, labels)), latencies, rule, at_least=at_least)
        true = true_front(table, labels, latencies, rule, at_least)
        for latency, missing in points_of(front):
            assert min(count for fast, count in true if fast <= latency) <= missing
        sets = all_sets(9)
        small = sets[(sets.sum(axis=1) <= 3) & (sets.sum(axis=1) >= at_least)]
        counts = dense_correct(table, labels, small)
        for latency, count in zip(latencies_of(small, latencies, rule), counts, strict=True):
            best = front.best_within(latency)
            assert best is not None
            assert best.correct >= count
        for one in front.ensembles:
            assert len(one.members) >= at_least
            members = np.isin(np.arange(9), one.members)
            assert [one.correct] == dense_correct(table, labels, members[None])
            assert one.latency_ms == pytest.approx(latencies_of(members[None], latencies, rule)[0])


@both_rules
def test_the_search_comes_close_to_the_true_front(rule, monkeypatch):
    """Independent networks, the hardest case: in every ensemble almost every member counts."""
    monkeypatch.setattr(selection, "EXHAUSTIVE_NETWORKS", 0)
    shares = []
    for seed in range(5):
        table, labels, latencies = made(seed, 12, 200, noise=2.0)
        votes = VoteTable(array_blocks(table, labels))
        found = select_ensembles(votes, latencies, rule)
        monkeypatch.setattr(selection, "EXHAUSTIVE_NETWORKS", 12)
        shares.append(found.hypervolume() / select_ensembles(votes, latencies, rule, most=10**6).hypervolume())
        monkeypatch.setattr(selection, "EXHAUSTIVE_NETWORKS", 0)
    assert min(shares) > 0.98
    assert np.mean(shares) > 0.997


@both_rules
def test_a_budget_holds_and_more_of_it_does_not_hurt(rule):
    table, labels, latencies = made(7, 30, 400)
    votes = VoteTable(array_blocks(table, labels))
    volumes = []
    for evaluations in (30, 100, 1000, None):
        front = select_ensembles(votes, latencies, rule, evaluations=evaluations)
        assert evaluations is None or front.evaluations <= evaluations
        volumes.append(front.hypervolume())
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]


@both_rules
def test_ensembles_of_many_members_begin_with_the_fastest(rule):
    """Also where one member more makes none of the smaller ensembles more accurate."""
    table, labels = made_table(np.random.default_rng(1), 20, 200, 6)
    latencies = np.linspace(1, 5, 20)
    for at_least in (4, 8, 12):
        front = select_ensembles(VoteTable(array_blocks(table, labels)), latencies, rule, at_least=at_least, mixtures=0)
        assert min(len(one.members) for one in front.ensembles) >= at_least
        fastest = (sum if rule == "summed" else max)(np.sort(latencies)[:at_least])
        assert front.ensembles[0].latency_ms == pytest.approx(fastest)


@both_rules
def test_ensembles_of_at_least_three_are_found_within_a_budget(rule):
    table, labels, latencies = made(7, 30, 400)
    front = select_ensembles(VoteTable(array_blocks(table, labels)), latencies, rule, at_least=3, evaluations=500)
    assert front.evaluations <= 500
    assert front.ensembles
    assert min(len(one.members) for one in front.ensembles) >= 3


@both_rules
def test_no_ensemble_is_below_the_single_networks(rule):
    table, labels, latencies = made(8, 20, 300)
    votes = VoteTable(array_blocks(table, labels))
    front = select_ensembles(votes, latencies, rule)
    for latency, correct in zip(latencies, votes.correct(np.eye(20)), strict=True):
        best = front.best_within(latency)
        assert best is not None
        assert best.correct >= correct


@both_rules
def test_same_arguments_same_front_and_no_ensemble_twice(rule):
    table, labels, latencies = made(9, 20, 300)
    votes = VoteTable(array_blocks(table, labels))
    first = select_ensembles(votes, latencies, rule, seed=3)
    assert first == select_ensembles(votes, latencies, rule, seed=3)
    assert len({one.members for one in first.ensembles}) == len(first.ensembles)
    few = select_ensembles(votes, latencies, rule, seed=3, most=5)
    assert len(few.ensembles) == 5
    assert few.ensembles[-1] == first.ensembles[-1]


def test_equal_latencies_are_no_obstacle():
    table, labels, _ = made(10, 16, 200)
    front = select_ensembles(VoteTable(array_blocks(table, labels)), np.full(16, 2.0), "maximal")
    assert len(front.ensembles) == 1
    assert front.ensembles[0].latency_ms == 2.0
    assert len(front.ensembles[0].members) > 1


@pytest.mark.parametrize(
    ("networks", "options", "message"),
    [
        (1, {}, "one network is no ensemble"),
        (3, {"rule": "mean"}, "rule=mean"),
        (3, {"at_least": 4}, "at_least=4"),
        (3, {"at_least": 0}, "at_least=0"),
        (3, {"most": 0}, "most=0"),
        (3, {"evaluations": 2}, "evaluations=2"),
    ],
)
def test_impossible_selections_are_refused(networks, options, message):
    table, labels, latencies = made(11, networks)
    with pytest.raises(ConfigError, match=message):
        select_ensembles(VoteTable(array_blocks(table, labels)), latencies, **options)


def test_networks_that_all_agree_are_refused():
    table, labels, _ = made(12, 1)
    votes = VoteTable(array_blocks(np.repeat(table, 3, axis=0), labels))
    with pytest.raises(ConfigError, match="all 3 networks and their votes are right on the same images"):
        select_ensembles(votes, [1.0, 2.0, 3.0])


def test_a_missing_latency_is_named():
    table, labels, _ = made(13, 3)
    with pytest.raises(ConfigError, match="latency of network 1 is missing"):
        select_ensembles(VoteTable(array_blocks(table, labels)), [1.0, np.nan, 3.0])
