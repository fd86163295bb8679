"""Blocks: units, truncation, temperatures, and lists of classes that say the same as dense probabilities."""

import numpy as np
import pytest

from onceforall.errors import ConfigError, DataError
from onceforall.search.ensemble.blocks import Block, array_blocks, in_units

from .tables_of_numbers import made_table


def listed_block() -> Block:
    """Two networks, two images, six classes, two classes listed each."""
    return Block(
        labels=np.array([4, 0]),
        probabilities=np.array([[[0.5, 0.25], [0.75, 0.125]], [[0.25, 0.25], [0.5, 0.5]]], dtype=np.float16),
        classes=np.array([[[4, 1], [2, 0]], [[3, 1], [5, 2]]]),
        elsewhere=np.array([[0.0625, 0.03125], [0.125, 0.0]], dtype=np.float16),
        class_count=6,
    )


def test_every_float16_probability_is_a_whole_number_of_units():
    every = np.arange(0x3C01, dtype=np.uint16).view(np.float16)
    assert in_units(every).tolist() == (every.astype(np.float64) * 2**24).tolist()
    assert in_units(np.array([1.0, 0.5 + 2**-26])).tolist() == [2**24, 2**23]


def test_listed_classes_become_dense():
    dense = listed_block().dense()
    assert dense.classes is None
    assert dense.probabilities[0].tolist() == [
        [0.0625, 0.25, 0.0625, 0.0625, 0.5, 0.0625],
        [0.125, 0.03125, 0.75, 0.03125, 0.03125, 0.03125],
    ]
    assert dense.dense() is dense


def test_first_classes_are_the_lowest_of_the_most_probable():
    assert listed_block().first_classes().tolist() == [[4, 2], [1, 2]]
    assert listed_block().dense().first_classes().tolist() == [[4, 2], [1, 2]]
    knows_nothing = Block(np.array([1]), np.full((1, 1, 1), 0.25), np.array([[[3]]]), np.full((1, 1), 0.25), 4)
    assert knows_nothing.first_classes().tolist() == [[0]]


def test_an_image_of_listed_classes_holds_the_label_and_one_class_nobody_lists():
    classes, values = listed_block().image(0)
    assert classes.tolist() == [0, 1, 3, 4]
    assert (values / 2**24).tolist() == [[0.0625, 0.25, 0.0625, 0.5], [0.125, 0.25, 0.25, 0.125]]
    classes, _ = listed_block().image(1)
    assert classes.tolist() == [0, 1, 2, 5]


def test_truncation_keeps_the_best_and_the_lowest_of_equal_classes():
    table = np.array([[[0.25, 0.125, 0.25, 0.25, 0.125]]], dtype=np.float16)
    cut = Block(np.array([0]), table).truncated(2)
    assert cut.dense().probabilities.tolist() == [[[0.25, 0, 0.25, 0, 0]]]
    assert listed_block().truncated(1).dense().probabilities[1].tolist() == [
        [0, 0, 0, 0.25, 0, 0],
        [0, 0, 0, 0, 0, 0.5],
    ]
    as_numbers = Block(np.array([0]), table.astype(np.float64)).truncated(2)
    assert as_numbers.dense().probabilities.tolist() == cut.dense().probabilities.tolist()
    with pytest.raises(ConfigError, match="top=0"):
        listed_block().truncated(0)


def test_temperatures_keep_order_and_sum_to_one():
    table, labels = made_table(np.random.default_rng(0), 3, 5, 4)
    temperatures = np.array([0.5, 1.0, 2.0])
    warm = Block(labels, table).tempered(temperatures).probabilities
    expected = table.astype(np.float64) ** (1 / temperatures)[:, None, None]
    np.testing.assert_allclose(warm, expected / expected.sum(axis=2, keepdims=True), rtol=1e-12)
    listed, dense = listed_block(), listed_block().dense()
    two = np.array([0.5, 3.0])
    np.testing.assert_allclose(
        listed.tempered(two).dense().probabilities, dense.tempered(two).probabilities, rtol=1e-12
    )


def test_label_probabilities_of_both_forms():
    expected = [[0.5, 0.125], [0.125, 0.0]]
    assert listed_block().label_probabilities().tolist() == expected
    assert listed_block().dense().label_probabilities().tolist() == expected


def test_array_blocks_cover_all_images_in_order():
    table, labels = made_table(np.random.default_rng(1), 2, 11, 3)
    blocks = list(array_blocks(table, labels, images=4))
    assert [len(block.labels) for block in blocks] == [4, 4, 3]
    assert np.concatenate([block.probabilities for block in blocks], axis=1).tolist() == table.tolist()


@pytest.mark.parametrize("top", [None, 3])
def test_blocks_of_the_same_images_are_put_together(top):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, size=20)
    table = rng.dirichlet(np.ones(6), size=(5, 20)).astype(np.float16)
    whole, first, second = (Block(labels, part) for part in (table, table[:2], table[2:]))
    if top is not None:
        whole, first, second = (block.truncated(top) for block in (whole, first, second))
    found = Block.together([first, second])
    np.testing.assert_array_equal(found.dense().probabilities, whole.dense().probabilities)
    np.testing.assert_array_equal(found.label_probabilities(), whole.label_probabilities())
    for other in (Block(labels[::-1], table[2:]), Block(labels, table[2:, :, :5]), Block(labels[:5], table[2:, :5])):
        with pytest.raises(DataError, match="of the same images"):
            Block.together([first, other])
