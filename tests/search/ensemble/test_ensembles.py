"""Ensembles and fronts as values: latency, hypervolume, the best subset, JSON."""

import itertools
import json

import numpy as np
import pytest

from onceforall.errors import ConfigError
from onceforall.search.ensemble.ensembles import (
    Ensemble,
    EnsembleFront,
    check_latencies,
    check_rule,
    front_of,
    latencies_of,
    reference_point,
)
from onceforall.search.front import hypervolume

SETS = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=bool)
LATENCIES = np.array([1.0, 2.0, 4.0])


def test_latency_one_after_the_other_and_side_by_side():
    assert latencies_of(SETS, LATENCIES, "summed").tolist() == [1, 6, 7]
    assert latencies_of(SETS, LATENCIES, "maximal").tolist() == [1, 4, 4]
    assert latencies_of(np.zeros((1, 3), dtype=bool), LATENCIES, "maximal").tolist() == [0]


def test_the_reference_is_slower_than_the_slowest_and_as_wrong_as_the_worst():
    singles = np.array([70, 80, 90])
    assert reference_point(LATENCIES, singles, 100, "summed") == (16.0, 30.0)
    assert reference_point(LATENCIES, singles, 100, "maximal") == (pytest.approx(4.4), 30.0)


def test_a_front_knows_its_points_and_its_best_within_a_latency():
    front = front_of(SETS, np.array([70, 60, 90]), LATENCIES, "summed", 100, 17, (10.0, 40.0))
    assert front.ensembles == (Ensemble((0,), 1.0, 70), Ensemble((0, 1, 2), 7.0, 90))
    assert front.points.tolist() == [[1, 30], [7, 10]]
    assert front.hypervolume() == pytest.approx(9 * 10 + 3 * 20)
    assert front.hypervolume((7, 40)) == pytest.approx(6 * 10)
    assert front.best_within(0.5) is None
    assert front.best_within(6.9) == Ensemble((0,), 1.0, 70)
    assert front.best_within(7.0) == Ensemble((0, 1, 2), 7.0, 90)
    assert front.evaluations == 17
    assert front.sets(3).tolist() == [[1, 0, 0], [1, 1, 1]]


def test_of_equal_ensembles_one_stays():
    front = front_of(SETS, np.array([70, 90, 90]), LATENCIES, "maximal", 100, 3, (10.0, 40.0))
    assert [one.members for one in front.ensembles] == [(0,), (1, 2)]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_too_many_are_reduced_to_the_largest_hypervolume(most):
    rng = np.random.default_rng(most)
    latencies = np.sort(rng.uniform(1, 10, 7))
    counts = np.sort(rng.choice(np.arange(50, 100), 7, replace=False))
    reference = (12.0, 55.0)
    front = front_of(np.eye(7, dtype=bool), counts, latencies, "summed", 100, 7, reference, most)
    assert len(front.ensembles) == most
    points = np.stack([latencies, 100.0 - counts], axis=1)
    ends = {0, 6} if most > 1 else set()
    best = max(
        hypervolume(points[list(chosen)], reference)
        for chosen in itertools.combinations(range(7), most)
        if ends <= set(chosen)
    )
    assert front.hypervolume() == pytest.approx(best)


def test_weights_travel_with_an_ensemble():
    one = Ensemble((1, 3), 2.0, 9, (0.25, 0.75))
    assert json.loads(json.dumps(one.to_dict())) == {
        "members": [1, 3],
        "weights": [0.25, 0.75],
        "latency_ms": 2.0,
        "correct": 9,
    }
    front = EnsembleFront("summed", 10, (one,), 1, (4.0, 100.0))
    assert front.sets(4).tolist() == [[0, 0.25, 0, 0.75]]


def test_impossible_rules_and_latencies_are_refused():
    with pytest.raises(ConfigError, match="rule=median"):
        check_rule("median")
    with pytest.raises(ConfigError, match=r"3 networks, but latencies of shape \(2,\)"):
        check_latencies([1, 2], 3)
    for missing in (np.nan, 0, -1, np.inf):
        with pytest.raises(ConfigError, match="latency of network 1 is missing"):
            check_latencies([1, missing, 2], 3)
