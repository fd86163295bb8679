import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onceforall.errors import ConfigError, InfeasibleConstraint, RunError
from onceforall.search import (
    AccuracyPredictor,
    Constraint,
    LabelStore,
    collect_labels,
    initial_codes,
    run_evolution,
    search_measured,
    search_predicted,
)
from onceforall.search.operators import uniform_family_codes, unique_codes
from onceforall.search.pareto import ALGORITHMS
from onceforall.space import Arch, SearchSpace, create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_small", resolutions=(32, 48))
LAND = Landscape(SPACE)
LISTED = create_space("resnet_small")
COSTS = {"latency_ms": LAND.latency, "macs": LAND.macs}
NOISE = 0.004


class Evaluation:
    """Measured accuracy: a fixed noisy value per network; counts calls; can be killed after some networks."""

    def __init__(self, land: Landscape = LAND, stop_after: int | None = None) -> None:
        self.land = land
        self.asked: list[Arch] = []
        self.stop_after = stop_after

    def __call__(self, archs: list[Arch]) -> Iterator[tuple[float, float]]:
        for arch in archs:
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(arch)
            code = self.land.space.encode([arch])
            noise = np.random.default_rng(code[0]).normal() * NOISE
            yield float(self.land.accuracy(code)[0] + noise), NOISE


def best_random(space: SearchSpace, land: Landscape, limit: float, count: int) -> float:
    rows = space.sample_codes(count, np.random.default_rng(5))
    return float(land.accuracy(rows[land.macs(rows) <= limit]).max())


def test_measured_search_finds_better_than_random_at_the_same_price() -> None:
    evaluation = Evaluation()
    limit = LAND.middle()
    result = search_measured(SPACE, evaluation, COSTS, {"macs": limit}, budget=40, front_cost="macs")
    assert len(evaluation.asked) == len(set(evaluation.asked)) == 40, "the budget is exact and nothing is asked twice"
    assert result.chosen is not None
    assert result.chosen.costs["macs"] <= limit
    others = [search_measured(SPACE, Evaluation(), COSTS, {"macs": limit}, budget=40, seed=seed) for seed in (1, 2)]
    chosen = [member.arch for member in (result.chosen, *(other.chosen for other in others)) if member is not None]
    assert LAND.accuracy(SPACE.encode(chosen)).mean() > best_random(SPACE, LAND, limit, 40)
    assert result.chosen.top1 == max(m.top1 for m in result.evaluated if m.costs["macs"] <= limit)
    assert len(result.evaluated) == 40
    assert all(member.measured for member in result.evaluated)
    front = np.array([(member.costs["macs"], member.top1) for member in result.front])
    assert len(front) >= 5
    assert (np.diff(front, axis=0) > 0).all(), "more MACs buy more accuracy along the front"
    assert {SPACE.smallest, SPACE.largest} <= set(evaluation.asked)
    assert result.quality is not None
    assert result.quality.n_labels == 40


@pytest.mark.parametrize("front_cost", ["macs", "latency_ms"])
def test_front_is_of_the_networks_within_the_limits(front_cost: str) -> None:
    limit = LAND.middle()
    result = search_measured(SPACE, Evaluation(), COSTS, {"macs": limit}, budget=40, front_cost=front_cost)
    within = [member for member in result.evaluated if member.costs["macs"] <= limit]
    better = [
        [o for o in within if o.costs[front_cost] <= m.costs[front_cost] and o.top1 > m.top1]
        + [o for o in within if o.costs[front_cost] < m.costs[front_cost] and o.top1 >= m.top1]
        for m in within
    ]
    expected = {member.arch for member, others in zip(within, better, strict=True) if not others}
    assert {member.arch for member in result.front} == expected
    assert result.chosen in result.front
    assert len(within) < len(result.evaluated) == 40, "networks beyond the limits are kept"


def test_front_is_of_all_where_nothing_measured_is_within_the_limits() -> None:
    costs = {"macs": LAND.macs, "size_saved": lambda codes: -LAND.macs(codes)}
    limits = {"size_saved": float(costs["size_saved"](SPACE.encode([SPACE.largest]))[0])}
    result = search_measured(SPACE, Evaluation(), costs, limits, budget=1)
    assert result.evaluated[0].costs["size_saved"] > limits["size_saved"]
    assert result.chosen is None
    assert result.front == result.evaluated


def test_result_file_has_the_agreed_fields() -> None:
    result = search_measured(SPACE, Evaluation(), COSTS, {"latency_ms": 4.0}, budget=12)
    record = json.loads(json.dumps(result.to_dict("phone", device="note"), allow_nan=False))
    fields = "name space objectives device constraints score chosen front evaluated quality verification seconds seed"
    assert set(fields.split()) == set(record)
    assert record["objectives"] == ["top1", "latency_ms"]
    assert record["constraints"] == {"latency_ms": 4.0}
    member = record["chosen"]
    assert Arch.from_dict(member["arch"]).name == member["name"]
    assert {"top1", "top1_error", "predicted_top1", "latency_ms", "macs", "measured"} <= set(member)


def test_killed_search_ends_with_the_same_result(tmp_path: Path) -> None:
    def search(folder: str, evaluation: Evaluation) -> dict[str, object]:
        store = LabelStore(tmp_path / folder / "labels.jsonl", LISTED, "w", images=300)
        costs = {"macs": evaluation.land.macs}
        limits = {"macs": evaluation.land.middle()}
        result = search_measured(LISTED, evaluation, costs, limits, budget=24, labels=store, seed=2)
        return {**result.to_dict("x"), "seconds": 0}

    whole = Evaluation(Landscape(LISTED))
    expected = search("whole", whole)
    for stop_after in (5, 15, 21):
        killed = Evaluation(Landscape(LISTED), stop_after)
        with pytest.raises(KeyboardInterrupt):
            search(f"killed{stop_after}", killed)
        rest = Evaluation(Landscape(LISTED))
        assert search(f"killed{stop_after}", rest) == expected
        assert killed.asked + rest.asked == whole.asked, "no network is measured twice"


def test_second_search_reuses_the_first_half() -> None:
    store = LabelStore(None, SPACE, "w")
    search_measured(SPACE, Evaluation(), COSTS, {"latency_ms": 4.0}, budget=20, labels=store)
    second = Evaluation()
    result = search_measured(SPACE, second, COSTS, {"latency_ms": 3.0}, budget=20, labels=store)
    assert len(second.asked) <= 10
    assert len(result.evaluated) == len(store) == 20 + len(second.asked)


def test_small_space_is_measured_completely() -> None:
    space = create_space("resnet_small", depths=(1,))
    land = Landscape(space)
    evaluation = Evaluation(land)
    result = search_measured(space, evaluation, {"macs": land.macs}, budget=30)
    assert len(evaluation.asked) == space.size == 27
    assert result.chosen is not None
    assert result.chosen.top1 == max(member.top1 for member in result.evaluated)


@pytest.mark.parametrize("budget", [1, 2, 3, 7])
def test_tiny_budgets_are_exact(budget: int) -> None:
    evaluation = Evaluation()
    progress: list[int] = []
    result = search_measured(
        SPACE, evaluation, COSTS, budget=budget, progress=lambda done, total: progress.append(done)
    )
    assert len(evaluation.asked) == budget == len(result.evaluated)
    assert progress == list(range(1, budget + 1))


def test_nearly_exhausted_space() -> None:
    space = create_space("resnet_small", depths=(1,))
    land = Landscape(space)
    evaluation = Evaluation(land)
    search_measured(space, evaluation, {"macs": land.macs}, {"macs": land.middle()}, budget=26)
    assert len(set(evaluation.asked)) == 26


def test_bad_input_costs_nothing() -> None:
    evaluation = Evaluation()
    with pytest.raises(InfeasibleConstraint, match="feasible range"):
        search_measured(SPACE, evaluation, COSTS, {"latency_ms": 0.001})
    with pytest.raises(ConfigError, match=r"no model for 'latency_gpu'; the costs are latency_ms, macs; run `ofa"):
        search_measured(SPACE, evaluation, COSTS, {"latency_gpu": 1.0})
    with pytest.raises(ConfigError, match="no model for 'memory_bytes'"):
        search_measured(SPACE, evaluation, COSTS, front_cost="memory_bytes")
    with pytest.raises(ConfigError, match="budget=0"):
        search_measured(SPACE, evaluation, COSTS, budget=0)
    with pytest.raises(ConfigError, match="model=forest"):
        search_measured(SPACE, evaluation, COSTS, model="forest")
    with pytest.raises(ConfigError, match="at least one cost"):
        search_measured(SPACE, evaluation, {})
    assert not evaluation.asked
    with pytest.raises(RunError, match="fewer results than the 5 networks"):
        search_measured(SPACE, lambda archs: [(0.5, 0.1)], COSTS, budget=10)


def test_predicted_search_stays_within_limits_and_is_marked() -> None:
    rng = np.random.default_rng(0)
    codes = initial_codes(SPACE, 60, LAND.macs)
    top1 = LAND.accuracy(codes) + rng.normal(size=60) * NOISE
    predictor = AccuracyPredictor(SPACE, LAND.macs).fit(codes, top1)
    limits = {"macs": LAND.middle()}
    result = search_predicted(SPACE, predictor, COSTS, limits, front_cost="macs", population=40, generations=15)
    assert result.score == "predicted"
    assert result.chosen is not None
    assert all(not member.measured and member.top1_error > 0 for member in result.front)
    assert all(member.costs["macs"] <= limits["macs"] for member in result.front)
    assert result.chosen.top1 == max(member.top1 for member in result.front)
    truth = LAND.accuracy(SPACE.encode([result.chosen.arch]))[0]
    best = run_evolution(SPACE, LAND.accuracy, [Constraint("macs", limits["macs"], LAND.macs)], generations=20).score
    assert truth > best - 0.01
    assert len(result.front) <= 101
    other = SPACE.restrict(resolutions=(32,))
    with pytest.raises(ConfigError, match="model of objective top1 was made for space mbv3_small, with other choices"):
        search_predicted(other, predictor, {"macs": Landscape(other).macs})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_gives_a_front_within_the_limits(algorithm: str) -> None:
    land = Landscape(LISTED)
    codes = initial_codes(LISTED, 30, land.macs)
    predictor = AccuracyPredictor(LISTED, land.macs).fit(codes, land.accuracy(codes))
    costs = {"macs": land.macs}
    for limit in (land.middle(), float(land.macs(LISTED.encode([LISTED.smallest]))[0])):
        result = search_predicted(
            LISTED, predictor, costs, {"macs": limit}, algorithm=algorithm, population=20, generations=5
        )
        assert result.chosen in result.front
        assert all(member.costs["macs"] <= limit for member in result.front)


@pytest.mark.parametrize(("algorithm", "expected"), [("nsga2", 100), ("ofa2_nsga2", 1000)])
def test_published_settings_bring_their_number_of_generations(
    algorithm: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onceforall.search import pymoo_bridge

    started: list[int] = []

    def start(*arguments: object) -> object:
        started.append(int(str(arguments[4])))
        return begin(*arguments[:4], 1, *arguments[5:])

    begin = pymoo_bridge.start_optimiser
    monkeypatch.setattr(pymoo_bridge, "start_optimiser", start)
    codes = initial_codes(SPACE, 30, LAND.macs)
    predictor = AccuracyPredictor(SPACE, LAND.macs).fit(codes, LAND.accuracy(codes))
    search_predicted(SPACE, predictor, {"macs": LAND.macs}, algorithm=algorithm)
    assert started == [expected]


def test_initial_networks_cover_the_cost_range() -> None:
    codes = initial_codes(SPACE, 40, LAND.macs, seed=1)
    assert len(codes) == len(unique_codes(codes)) == 40
    np.testing.assert_array_equal(codes, initial_codes(SPACE, 40, LAND.macs, seed=1))
    position = np.log(LAND.macs(codes))
    ends = np.log(LAND.macs(SPACE.encode([SPACE.smallest, SPACE.largest])))
    counts, _ = np.histogram(position, bins=5, range=tuple(ends))
    assert counts.min() >= 4, "no part of the range is empty"
    family = uniform_family_codes(SPACE)
    for resolution in np.unique(family[:, 0]):
        alike = family[family[:, 0] == resolution]
        order = np.argsort(LAND.macs(alike), kind="stable")
        assert {alike[order[0]].tobytes(), alike[order[-1]].tobytes()} <= {row.tobytes() for row in codes}
    tiny = create_space("resnet_small", depths=(1,))
    assert len(initial_codes(tiny, 100, Landscape(tiny).macs)) == 27
    assert len(initial_codes(tiny, 26, Landscape(tiny).macs)) == 26


def test_collecting_labels_resumes(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with pytest.raises(KeyboardInterrupt):
        collect_labels(SPACE, Evaluation(stop_after=7), LAND.macs, 20, LabelStore(path, SPACE, "w"))
    rest = Evaluation()
    labels = collect_labels(SPACE, rest, LAND.macs, 20, LabelStore(path, SPACE, "w"))
    assert len(labels) == 20
    assert len(rest.asked) == 13
