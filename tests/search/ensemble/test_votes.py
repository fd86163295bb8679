"""The reduced vote counts what the dense vote counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.errors import ConfigError
from onceforall.search.ensemble.blocks import Block, array_blocks
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import all_sets, dense_correct, made_table, tables


@settings(max_examples=80, deadline=None)
@given(tables())
def test_every_set_is_counted_as_by_the_dense_vote(case):
    table, labels = case
    sets = all_sets(len(table))
    assert VoteTable(array_blocks(table, labels, 9)).correct(sets).tolist() == dense_correct(table, labels, sets)


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(1, 5))
def test_a_truncated_vote_is_the_dense_vote_of_the_cut_table(case, top):
    table, labels = case
    cut = Block(labels, table).truncated(top)
    sets = all_sets(len(table))
    expected = dense_correct(cut.dense().probabilities, labels, sets)
    assert VoteTable(array_blocks(table, labels), top=top).correct(sets).tolist() == expected
    assert VoteTable([cut]).correct(sets).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(0, 2**32 - 1))
def test_weighted_members(case, seed):
    table, labels = case
    # Weights of few bits: products and sums are exact, so that ties are ties in any order of summation.
    weights = np.random.default_rng(seed).integers(0, 5, size=(20, len(table))) / 4
    weights[:, 0] = 1
    assert VoteTable(array_blocks(table, labels)).correct(weights).tolist() == dense_correct(table, labels, weights)


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(0, 2**32 - 1))
def test_adding_and_removing_one_member(case, seed):
    table, labels = case
    votes = VoteTable(array_blocks(table, labels))
    inclusion = np.random.default_rng(seed).random(len(table)) < 0.5
    inclusion[0] = True
    sums = votes.sums(inclusion)
    for members, sign in ((np.flatnonzero(~inclusion), 1), (np.flatnonzero(inclusion)[1:], -1)):
        flipped = np.repeat(inclusion[None], len(members), axis=0)
        flipped[np.arange(len(members)), members] ^= True
        assert votes.correct_with(sums, members, sign).tolist() == dense_correct(table, labels, flipped)


def test_a_hundred_networks_stay_exact_where_votes_are_close():
    """Pairs of networks that cancel each other to the last unit: float32 sums alone would be wrong."""
    rng = np.random.default_rng(0)
    half = rng.random((50, 400, 1)).astype(np.float16) / 2
    table = np.concatenate([np.concatenate([half, 0.5 - half], axis=2), np.concatenate([0.5 - half, half], axis=2)])
    labels = rng.integers(2, size=400)
    table[7, ::3, 1] += np.float16(2**-11)
    sets = rng.random((64, 50)) < 0.7
    sets = np.concatenate([sets, sets], axis=1)
    counts = VoteTable(array_blocks(table, labels)).correct(sets)
    assert counts.tolist() == dense_correct(table, labels, sets)
    in_float32 = np.einsum("pn,nmc->pmc", sets.astype(np.float32), table.astype(np.float32)).argmax(axis=2) == labels
    assert counts.tolist() != in_float32.sum(axis=1).tolist()


def test_temperatures_change_numbers_but_not_which_images_are_open():
    table, labels = made_table(np.random.default_rng(2), 4, 200, 5)
    temperatures = np.array([0.5, 0.8, 1.5, 3.0])
    cold = VoteTable(array_blocks(table, labels))
    warm = VoteTable(block.tempered(temperatures) for block in array_blocks(table, labels))
    assert (warm.images, warm.always_right, warm.open_images) == (cold.images, cold.always_right, cold.open_images)
    sets = all_sets(4)
    expected = dense_correct(Block(labels, table).tempered(temperatures).probabilities, labels, sets)
    assert warm.correct(sets).tolist() == expected
    assert warm.correct(sets).tolist() != cold.correct(sets).tolist()


def test_networks_that_agree_leave_nothing_to_choose():
    table, labels = made_table(np.random.default_rng(3), 1, 30, 4)
    same = VoteTable(array_blocks(np.repeat(table, 3, axis=0), labels))
    assert same.all_equal()
    assert len(set(same.correct(all_sets(3)).tolist())) == 1
    other, _ = made_table(np.random.default_rng(4), 1, 30, 4)
    assert not VoteTable(array_blocks(np.concatenate([table, other]), labels)).all_equal()


@pytest.mark.parametrize(
    ("weights", "message"),
    [([[1, 0, 1]], "2 columns"), ([[0, 0]], "needs a member"), ([[1, -1]], "negative"), ([[1, np.nan]], "negative")],
)
def test_impossible_weights_are_refused(weights, message):
    table, labels = made_table(np.random.default_rng(5), 2, 10, 3)
    with pytest.raises(ConfigError, match=message):
        VoteTable(array_blocks(table, labels)).correct(weights)
