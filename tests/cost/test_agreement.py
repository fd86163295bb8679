"""Numbers that say how well predictions agree with measurements."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from onceforall.cost import kendall_tau, mean_relative_error

VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30)


@given(VALUES)
def test_rank_correlation_equals_the_reference(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(kendall_tau(a, b))
    else:
        assert kendall_tau(a, b) == pytest.approx(kendalltau(a, b)[0])


def test_relative_error_is_relative_to_the_measurement() -> None:
    assert mean_relative_error(np.array([2.0, 4.0]), np.array([3.0, 4.0])) == pytest.approx(0.25)
