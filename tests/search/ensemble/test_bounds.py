"""Bounds are never below the count they bound, and pairs are counted exactly."""

import numpy as np
from hypothesis import given, settings

from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.bounds import PairBits, RowBits
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import all_sets, dense_correct, made_table, tables


def sets_of(networks: int, *groups: tuple[int, ...]) -> np.ndarray:
    sets = np.zeros((len(groups), networks), dtype=bool)
    for row, group in zip(sets, groups, strict=True):
        row[list(group)] = True
    return sets


@settings(max_examples=50, deadline=None)
@given(tables(most_networks=5))
def test_bits_count_what_the_vote_counts(case):
    table, labels = case
    votes = VoteTable(array_blocks(table, labels))
    rows, networks = RowBits(votes), len(table)
    for inclusion in all_sets(networks)[::3]:
        others = np.flatnonzero(~inclusion)
        grown = np.repeat(inclusion[None], len(others), axis=0)
        grown[np.arange(len(others)), others] = True
        exact = dense_correct(table, labels, grown)
        assert rows.count(rows.with_each(inclusion, others)).tolist() == exact
        assert (rows.bounds(inclusion, others) >= exact).all()


@settings(max_examples=50, deadline=None)
@given(tables(most_networks=6))
def test_pairs_are_exact_and_triples_bounded(case):
    table, labels = case
    networks = len(table)
    votes = VoteTable(array_blocks(table, labels))
    pairs = PairBits(RowBits(votes), networks)
    every_pair = list(zip(*np.triu_indices(networks, 1), strict=True))
    assert pairs.counts().tolist() == dense_correct(table, labels, sets_of(networks, *every_pair))
    for low, middle in every_pair:
        later = range(middle + 1, networks)
        if later:
            exact = dense_correct(table, labels, sets_of(networks, *((low, middle, one) for one in later)))
            assert (pairs.triple_bounds(low, middle) >= exact).all()


def test_bounds_are_tight_enough_to_rule_ensembles_out():
    table, labels = made_table(np.random.default_rng(0), 8, 2000, 10, noise=0.5)
    votes = VoteTable(array_blocks(table, labels))
    rows = RowBits(votes)
    pairs = PairBits(rows, 8)
    exact = votes.correct(sets_of(8, *((0, 1, one) for one in range(2, 8))))
    all_open = votes.always_right + votes.open_images
    slack = pairs.triple_bounds(0, 1) - exact
    assert (slack >= 0).all()
    assert slack.max() < 0.5 * (all_open - exact).min()
    singles = rows.bounds(np.arange(8) == 0, np.arange(1, 8))
    assert (singles < all_open).all()


def test_a_table_without_open_images_is_constant():
    table, labels = made_table(np.random.default_rng(1), 1, 20, 3)
    votes = VoteTable(array_blocks(np.repeat(table, 3, axis=0), labels))
    rows = RowBits(votes)
    assert rows.bounds(np.array([True, False, False]), np.array([1, 2])).tolist() == [votes.always_right] * 2
    assert PairBits(rows, 3).counts().tolist() == [votes.always_right] * 3
