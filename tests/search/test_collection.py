from collections.abc import Iterator

import numpy as np
import pytest

from onceforall.errors import ConfigError
from onceforall.search.collection import SAMPLINGS, collect_labels
from onceforall.search.labels import LabelStore
from onceforall.space import Arch, create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0", resolutions=[160, 224])
LAND = Landscape(SPACE)


class Evaluation:
    """Measures without noise, counts, and can be stopped."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.count = 0

    def __call__(self, archs: list[Arch]) -> Iterator[tuple[float, float]]:
        for accuracy in LAND.accuracy(SPACE.encode(archs)):
            if self.count == self.stop_after:
                raise KeyboardInterrupt
            self.count += 1
            yield float(accuracy), 0.001


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_as_many_different_networks_as_asked_for(sampling: str) -> None:
    evaluation = Evaluation()
    labels = collect_labels(SPACE, evaluation, LAND.macs, 50, LabelStore(None, SPACE, ""), sampling=sampling)
    assert len({label.arch for label in labels}) == len(labels) == evaluation.count == 50


@pytest.mark.parametrize("sampling", ["active", "random"])
def test_a_longer_collection_begins_with_the_shorter_one(sampling: str) -> None:
    store = LabelStore(None, SPACE, "")
    short = collect_labels(SPACE, Evaluation(), LAND.macs, 47, store, sampling=sampling)
    rest = Evaluation()
    assert collect_labels(SPACE, rest, LAND.macs, 70, store, sampling=sampling)[:47] == short
    assert rest.count == 70 - 47


def test_a_stopped_collection_goes_on(tmp_path) -> None:
    path = tmp_path / "labels.jsonl"
    with pytest.raises(KeyboardInterrupt):
        collect_labels(SPACE, Evaluation(52), LAND.macs, 60, LabelStore(path, SPACE, "w"), sampling="active")
    rest = Evaluation()
    continued = collect_labels(SPACE, rest, LAND.macs, 60, LabelStore(path, SPACE, "w"), sampling="active")
    assert rest.count == 8
    whole = collect_labels(SPACE, Evaluation(), LAND.macs, 60, LabelStore(None, SPACE, "w"), sampling="active")
    assert [label.arch for label in continued] == [label.arch for label in whole]


def test_active_labels_lie_where_the_front_is() -> None:
    """At equal cost, networks proposed on the predicted front are better than spread ones."""
    labels = collect_labels(SPACE, Evaluation(), LAND.macs, 100, LabelStore(None, SPACE, ""), sampling="active")
    macs = np.log(LAND.macs(SPACE.encode([label.arch for label in labels])))
    top1 = np.array([label.top1 for label in labels])
    expected = np.polyval(np.polyfit(macs[:40], top1[:40], 2), macs[40:])
    assert (top1[40:] > expected).mean() > 0.8


def test_small_spaces_and_unknown_samplings() -> None:
    space = create_space("resnet_small", expand_ratios=[1])
    land = Landscape(space)

    def evaluate(archs: list[Arch]) -> Iterator[tuple[float, float]]:
        return ((float(value), 0.0) for value in land.accuracy(space.encode(archs)))

    for sampling in SAMPLINGS:
        found = collect_labels(space, evaluate, land.macs, 500, LabelStore(None, space, ""), sampling=sampling)
        assert len(found) == space.size
    with pytest.raises(ConfigError, match="sampling=all: use active, spread, random"):
        collect_labels(space, evaluate, land.macs, 5, LabelStore(None, space, ""), sampling="all")
