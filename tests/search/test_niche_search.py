import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from onceforall.errors import ConfigError
from onceforall.interop.official import load_accuracy_predictor, load_latency_table
from onceforall.search import (
    Constraint,
    Front,
    Objective,
    hypervolume,
    non_dominated,
    pareto_search,
    reduce_front,
    require_feasible,
    run_evolution,
)
from onceforall.search.niche_search import NicheSearch
from onceforall.search.operators import enumerate_codes, neighbour_codes
from onceforall.space import SearchSpace, create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0", resolutions=(160, 192, 224))
LAND = Landscape(SPACE)
LIMIT = Constraint("macs", LAND.middle(), LAND.macs)


class Counting:
    """A function of codes that remembers its rows."""

    def __init__(self, function) -> None:
        self.function = function
        self.rows: Counter[bytes] = Counter()

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        self.rows.update(row.tobytes() for row in codes)
        return self.function(codes)


def objectives(land: Landscape) -> tuple[Counting, Counting, list[Objective]]:
    score, cost = Counting(land.accuracy), Counting(land.macs)
    return score, cost, [Objective("top1", score, maximise=True), Objective("macs", cost, cheap=True)]


def search(space: SearchSpace, wanted: list[Objective], budget: int, seed: int = 0, limits=(), batch: int = 50):
    running = NicheSearch(space, wanted, limits, budget, batch, seed)
    batches = list(running.run(None, require_feasible(space, limits)))
    return running.found, np.concatenate([rows for rows, _ in batches]), np.concatenate([v for _, v in batches])


@pytest.mark.parametrize("limits", [(), (LIMIT,)])
def test_scores_feasible_networks_once_and_exactly_as_many_as_allowed(limits: tuple[Constraint, ...]) -> None:
    score, cost, wanted = objectives(LAND)
    found, rows, values = search(SPACE, wanted, 1234, limits=limits)
    assert found.evaluations == len(rows) == len(score.rows) == 1234
    assert set(score.rows.values()) == {1}
    assert len(cost.rows) > 3000, "what is cheap is asked about many more networks"
    assert all(LIMIT.cost(rows).max() <= LIMIT.limit for _ in limits)
    np.testing.assert_array_equal(values, np.stack([-LAND.accuracy(rows), LAND.macs(rows)], axis=1))
    best = values[non_dominated(values)]
    assert sorted(map(tuple, found.values)) == sorted(map(tuple, best))
    again = search(SPACE, objectives(LAND)[2], 1234, limits=limits)
    np.testing.assert_array_equal(again[1], rows)
    assert not np.array_equal(search(SPACE, objectives(LAND)[2], 1234, seed=1, limits=limits)[1], rows)


def test_finds_the_exact_front_of_a_space_that_can_be_listed() -> None:
    space = create_space("resnet50", resolutions=(224,)).restrict(depths=(0, 2, 4), expand_ratios=(0.25,))
    land = Landscape(space)
    rows = enumerate_codes(space)
    assert len(rows) > 5000
    values = np.stack([-land.accuracy(rows), land.macs(rows)], axis=1)
    exact = values[non_dominated(values)]
    corner = values.max(axis=0)
    found, scored, _ = search(space, objectives(land)[2], len(rows) // 10)
    assert len(scored) == len(rows) // 10
    assert hypervolume(found.values, corner) > 0.999 * hypervolume(exact, corner)


def test_every_feasible_network_is_found_when_there_are_few() -> None:
    """The search ends by itself once nothing new turns up."""
    space = create_space("mbv3_small", resolutions=(32,))
    land = Landscape(space)
    tight = Constraint("macs", float(land.macs(space.encode([space.smallest]))[0]) * 1.2, land.macs)
    reachable = space.encode([space.smallest])
    size = 0
    while size < len(reachable):  # all networks that small steps inside the limit reach
        size = len(reachable)
        around = np.concatenate([reachable, *(neighbour_codes(space, row) for row in reachable)])
        reachable = np.unique(around[land.macs(around) <= tight.limit], axis=0)
    assert 10 < size < 1000
    found, rows, _ = search(space, objectives(land)[2], 5000, limits=[tight])
    assert {row.tobytes() for row in reachable} <= {row.tobytes() for row in rows}
    assert found.evaluations == len(rows) < 5000


@pytest.mark.parametrize("name", ["resnet50", "proxyless_w1.3", "compound_w1.0", "cifar_kdw", "mbv3_small"])
def test_any_space(name: str) -> None:
    space = create_space(name)
    land = Landscape(space)
    _, rows, _ = search(space, objectives(land)[2], min(400, space.size - 3))
    assert len(np.unique(rows, axis=0)) == len(rows)
    space.decode(rows)
    if space.size > 400:
        assert len(rows) == 400


def test_objectives_of_one_scale_or_none() -> None:
    """A front of one point has no extent; constant objectives have none ever."""
    flat = [Objective("a", lambda codes: np.ones(len(codes))), Objective("b", lambda codes: np.zeros(len(codes)))]
    found, rows, _ = search(SPACE, flat, 300)
    assert len(rows) == len(found.codes) == 300
    agreeing = [Objective("a", LAND.macs, cheap=True), Objective("b", lambda codes: 2 * LAND.macs(codes))]
    found, _, _ = search(SPACE, agreeing, 2000)
    assert SPACE.decode(found.codes) == [SPACE.smallest]


def test_better_than_nsga2_with_the_same_number_of_networks() -> None:
    corner = (0.6, float(LAND.macs(SPACE.encode([SPACE.largest]))[0]))
    for seed in range(3):
        ours, theirs = (
            pareto_search(SPACE, objectives(LAND)[2], algorithm, 50, 40, seed).hypervolume(corner)
            for algorithm in ("niches", "nsga2")
        )
        assert ours > theirs


def test_three_objectives_and_three_devices() -> None:
    other = Landscape(SPACE, seed=7)
    wanted = [
        Objective("top1", LAND.accuracy, maximise=True),
        Objective("phone_ms", LAND.latency, cheap=True),
        Objective("board_ms", other.latency, cheap=True),
        Objective("macs", LAND.macs, cheap=True),
    ]
    ends = SPACE.encode([SPACE.largest])
    corner = (0.6, *(float(objective.function(ends)[0]) for objective in wanted[1:]))
    front = pareto_search(SPACE, wanted, population=50, generations=30, seed=3)
    rows = SPACE.sample_codes(1500, np.random.default_rng(3))
    values = np.stack([objective.function(rows) for objective in wanted], axis=1)
    random = Front.of(front.names, front.maximised, SPACE.decode(rows), values)
    assert front.hypervolume(corner) > random.hypervolume(corner)
    for column, objective in enumerate(wanted):
        np.testing.assert_allclose(front.values[:, column], objective.function(SPACE.encode(front.archs)))


def test_a_score_that_is_no_number() -> None:
    broken = Objective("top1", lambda codes: np.full(len(codes), np.nan), maximise=True)
    with pytest.raises(ConfigError, match="top1 is nan"):
        search(SPACE, [broken, objectives(LAND)[2][1]], 100)


def test_beats_the_published_searches_on_their_own_models(shared: Path) -> None:
    """OFA² (arXiv 2303.13683): the best of nine published runs of 100,000 evaluations; the official search at 20 ms."""
    space = create_space("mbv3_w1.2", resolutions=(160, 176, 192, 208, 224))
    predictor = load_accuracy_predictor(shared / "official/acc_predictor.pth", space)
    table = load_latency_table(shared / "official/note10", space)
    wanted = [
        Objective("latency_ms", table.predict, cheap=True),
        Objective("error", lambda codes: 100 - 100 * predictor.predict(codes)),
    ]
    front = pareto_search(space, wanted, population=100, generations=1000, seed=1)
    published = json.loads((shared / "golden/ofa2/ofa2_published.json").read_text())["hv_final"]
    best = max(value for runs in published.values() for value in runs.values())
    delivered = reduce_front(front, 100, (100.0, 25.0))
    assert len(set(delivered.archs)) == 100
    assert delivered.hypervolume((100.0, 25.0)) > best + 10
    found = run_evolution(space, predictor.predict, [Constraint("latency_ms", 20, table.predict)], seed=1)
    official = json.loads((shared / "golden/evolution_note10_public.json").read_text())["entries"]
    assert found.evaluations <= 50_100
    assert found.costs["latency_ms"] <= 20
    assert found.score > max(entry["best_acc"] for entry in official if entry["limit_ms"] == 20)
