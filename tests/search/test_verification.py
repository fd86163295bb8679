from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onceforall.search import AccuracyPredictor, LabelStore, collect_labels, search_predicted, verify
from onceforall.space import Arch, create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0", resolutions=[160, 224])
LAND = Landscape(SPACE)
COSTS = {"macs": LAND.macs, "latency_ms": LAND.latency}


def evaluate(archs: list[Arch]) -> Iterator[tuple[float, float]]:
    return ((float(value), 0.002) for value in LAND.accuracy(SPACE.encode(archs)))


@pytest.fixture(scope="module")
def predicted():
    store = LabelStore(None, SPACE, "")
    labels = collect_labels(SPACE, evaluate, LAND.macs, 60, store)
    predictor = AccuracyPredictor(SPACE, LAND.macs).fit([one.arch for one in labels], [one.top1 for one in labels])
    limit = {"macs": LAND.middle()}
    result = search_predicted(SPACE, predictor, COSTS, limit, population=30, generations=20)
    return result, store


def test_the_front_is_measured_and_the_best_of_it_is_chosen(predicted, tmp_path: Path) -> None:
    result, _ = predicted
    store = LabelStore(tmp_path / "labels.jsonl", SPACE, "w")
    checked = verify(result, evaluate, store)
    assert checked.score == "verified"
    assert all(member.measured for member in checked.evaluated)
    assert {member.arch for member in checked.evaluated} >= {member.arch for member in result.front}
    for member in checked.evaluated:
        assert member.top1 == pytest.approx(LAND.accuracy(SPACE.encode([member.arch]))[0])
        better = [o for o in checked.evaluated if o.costs["macs"] < member.costs["macs"] and o.top1 >= member.top1]
        assert (member in checked.front) == (not better)
    assert checked.chosen is not None
    assert checked.chosen.top1 == max(m.top1 for m in checked.evaluated if m.costs["macs"] <= result.limits["macs"])
    assert len(LabelStore(tmp_path / "labels.jsonl", SPACE, "w")) == len(checked.evaluated)


def test_the_comparison_is_that_of_the_numbers(predicted) -> None:
    result, _ = predicted
    found = verify(result, evaluate, LabelStore(None, SPACE, "")).verification
    assert found is not None
    guesses = {member.arch: (member.top1, member.top1_error) for member in (*result.front, result.chosen)}
    truth = LAND.accuracy(SPACE.encode(list(guesses)))
    guess, bar = np.array(list(guesses.values())).T
    assert found.networks == len(guesses)
    assert found.mean_error == pytest.approx((guess - truth).mean())
    assert found.mean_absolute_error == pytest.approx(np.abs(guess - truth).mean())
    assert found.within == pytest.approx((np.abs(guess - truth) <= 2 * np.hypot(bar, 0.002)).mean())


def test_what_the_predictor_has_learnt_from_says_nothing_about_it(predicted) -> None:
    result, store = predicted
    seen = sum(member.arch in store for member in {m.arch: m for m in (*result.front, result.chosen)}.values())
    checked = verify(result, evaluate, store)
    assert checked.verification is not None
    assert checked.verification.networks == len(checked.evaluated) - seen
    again = verify(result, evaluate, store)
    assert again.verification is None, "now all of them have labels"
    assert [member.arch for member in again.front] == [member.arch for member in checked.front]


def test_a_network_that_was_learnt_from_may_be_better_than_what_was_predicted(predicted) -> None:
    result, _ = predicted
    store = LabelStore(None, SPACE, "")
    limit = result.limits["macs"]
    codes = SPACE.sample_codes(200, np.random.default_rng(5))
    size = LAND.macs(codes)
    inside, outside = SPACE.decode(codes[[np.argmin(size), np.argmax(size)]])
    assert size.min() < limit < size.max()
    for arch in (inside, outside):
        store.add(arch, 0.999, 0.001)
    checked = verify(result, evaluate, store, costs=COSTS)
    assert checked.chosen is not None
    assert checked.chosen.arch == inside
    assert inside in {member.arch for member in checked.front}
    assert outside not in {member.arch for member in checked.evaluated}, "it is beyond the limit"
    (member,) = [member for member in checked.evaluated if member.arch == inside]
    assert member.costs == {name: cost(SPACE.encode([inside]))[0] for name, cost in COSTS.items()}
    assert verify(result, evaluate, LabelStore(None, SPACE, ""), costs=COSTS).verification == checked.verification
