"""Temperatures: the best there are, by a slow search."""

import numpy as np

from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.temperature import fit_temperatures

from .tables_of_numbers import made_table


def log_likelihood(table, labels, temperature):
    raised = table.astype(np.float64) ** (1 / temperature)
    given = raised[np.arange(len(labels)), labels] / raised.sum(axis=1)
    return np.log(np.maximum(given, 1e-12)).mean()


def test_temperatures_are_the_best_of_a_fine_grid():
    table, labels = made_table(np.random.default_rng(0), 3, 400, 6)
    sharp = table[2].astype(np.float64) ** 2.5
    table[2] = sharp / sharp.sum(axis=1, keepdims=True)
    found = fit_temperatures(lambda: array_blocks(table, labels, images=150))
    grid = np.geomspace(0.25, 4, 1000)
    for network, temperature in enumerate(found):
        best = max(log_likelihood(table[network], labels, value) for value in grid)
        assert log_likelihood(table[network], labels, temperature) >= best - 1e-5
    assert found[2] > 1.5


def test_listed_classes_have_temperatures_too():
    table, labels = made_table(np.random.default_rng(1), 2, 300, 6)
    whole = fit_temperatures(lambda: array_blocks(table, labels))
    listed = fit_temperatures(lambda: (block.truncated(6) for block in array_blocks(table, labels)))
    np.testing.assert_allclose(listed, whole, rtol=1e-6)
