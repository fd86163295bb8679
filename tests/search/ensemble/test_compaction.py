"""Only what a vote can change is kept, and nothing that it can."""

import numpy as np
import pytest
from hypothesis import given, settings

from onceforall.errors import DataError
from onceforall.search.ensemble.blocks import Block, array_blocks, in_units
from onceforall.search.ensemble.compaction import compact, rivals

from .tables_of_numbers import all_sets, made_table, tables


def units(*rows: list[float]) -> np.ndarray:
    return in_units(np.array(rows, dtype=np.float16))


def test_a_rival_that_is_always_below_is_dropped():
    found = rivals(np.arange(3), units([0.5, 0.4, 0.1], [0.3, 0.6, 0.1]), label=0)
    assert found is not None
    assert len(found.margins) == 1
    assert found.margins[0].tolist() == (units([0.5], [0.3]) - units([0.4], [0.6])).ravel().tolist()


def test_an_image_that_every_set_has_wrong_is_dropped():
    assert rivals(np.arange(3), units([0.2, 0.7, 0.1], [0.2, 0.2, 0.6]), label=0) is not None
    assert rivals(np.arange(3), units([0.2, 0.7, 0.1], [0.2, 0.3, 0.5]), label=0) is None


def test_ties_go_to_the_lowest_class():
    level = units([0.5, 0.5], [0.5, 0.5])
    assert rivals(np.arange(2), level, label=1) is None
    right = rivals(np.arange(2), level, label=0)
    assert right is not None
    assert len(right.margins) == 0


def test_of_two_equal_rivals_the_lower_one_decides():
    values = units([0.2, 0.4, 0.4], [0.2, 0.1, 0.1])
    found = rivals(np.arange(3), values[:, [1, 0, 2]], label=1)
    assert found is not None
    assert found.wins_ties.tolist() == [False]


def test_images_on_which_all_networks_agree_are_constants():
    table, labels = made_table(np.random.default_rng(0), 4, 50, 5, noise=0.0)
    found = compact(array_blocks(table, labels, 8))
    assert found.open == []
    assert found.always_right == (table[0].argmax(axis=1) == labels).sum()


@settings(max_examples=60, deadline=None)
@given(tables(most_networks=5))
def test_what_is_left_decides_every_set(case):
    table, labels = case
    found = compact(array_blocks(table, labels, 16))
    votes = np.einsum("pn,nmc->pmc", all_sets(len(table)).astype(np.float64), table.astype(np.float64))
    right = votes.argmax(axis=2) == labels
    open_images = [image.image for image in found.open]
    closed = np.setdiff1d(np.arange(len(labels)), open_images)
    assert (right[:, closed] == right[:1, closed]).all()
    assert right[0, closed].sum() == found.always_right
    for image in found.open:
        sums = all_sets(len(table)).astype(np.int64) @ image.margins.T.astype(np.int64)
        assert ((sums + image.wins_ties > 0).all(axis=1) == right[:, image.image]).all()
        assert len(set(right[:, image.image])) == 2 or len(image.margins)


def test_images_are_needed_and_of_the_same_networks():
    with pytest.raises(DataError, match="at least one image"):
        compact([])
    one, two = np.full((1, 1, 2), 0.5), np.full((2, 1, 2), 0.5)
    with pytest.raises(DataError, match="1 and of 2 networks"):
        compact([Block(np.array([0]), one), Block(np.array([0]), two)])
