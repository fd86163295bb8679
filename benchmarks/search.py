"""How good the fronts and the constrained searches are, and how fast: algorithm x seed x budget.

    python benchmarks/search.py [--official FOLDER] [--seeds 5] [--quick] [--results FOLDER]

The published accuracy predictor of the Once-for-All tutorial and its Note10 latency table over mbv3_w1.2, as in OFA²
(arXiv 2303.13683): error in percent against milliseconds, hypervolume towards (100 ms, 25 %) and (60 ms, 25 %). An
evaluation is one network whose accuracy was predicted; the default search also looks up the latency of networks that it
does not go on to score. Seconds are processor time of one thread.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import circumstances, finish

from onceforall.interop.official import load_accuracy_predictor, load_latency_table
from onceforall.search import (
    Constraint,
    Front,
    Objective,
    pareto_search,
    random_search,
    reduce_front,
    run_evolution,
    uniform_search,
)
from onceforall.space import create_space

SPACE = create_space("mbv3_w1.2", resolutions=(160, 176, 192, 208, 224))
REFERENCES = ((100.0, 25.0), (60.0, 25.0))
DELIVERED = 100
# The official constrained search: mean accuracy of seeds 1, 2, 3 within a limit of milliseconds, 50,100 predictions.
OFFICIAL = {15: 0.78438, 20: 0.80423, 25: 0.81713, 30: 0.82708, 35: 0.83159}
OFFICIAL_SECONDS = {15: 15.9, 20: 10.2, 25: 9.7, 30: 9.4, 35: 9.2}


class Counted:
    """A predictor or table that counts the networks it was asked about."""

    def __init__(self, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        self.predict = predict
        self.asked = 0

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        self.asked += len(codes)
        return self.predict(codes)


class Stand:
    """The two published models, and what a search of their space costs."""

    def __init__(self, official: Path) -> None:
        self.predictor = load_accuracy_predictor(official / "acc_predictor.pth", SPACE)
        self.table = load_latency_table(official / "note10", SPACE)
        codes = SPACE.sample_codes(1000, np.random.default_rng(0))
        self.table.predict(codes), self.predictor.predict(codes)  # tables are built, caches warmed

    def front(self, search: Callable[[list[Objective]], Front]) -> dict[str, Any]:
        """Run a search for a front: hypervolumes, counts, seconds."""
        accuracy, latency = Counted(self.predictor.predict), Counted(self.table.predict)
        objectives = [
            Objective("latency_ms", latency, cheap=True),
            Objective("error", lambda codes: 100 - 100 * accuracy(codes)),
        ]
        begin = time.process_time()
        front = search(objectives)
        seconds = time.process_time() - begin
        delivered = reduce_front(front, DELIVERED, REFERENCES[0])
        assert len(set(delivered.archs)) == len(delivered)
        return {
            "hv_100_25": front.hypervolume(REFERENCES[0]),
            "hv_60_25": front.hypervolume(REFERENCES[1]),
            "hv_100_25_delivered": delivered.hypervolume(REFERENCES[0]),
            "members": len(front),
            "evaluations": accuracy.asked,
            "latency_lookups": latency.asked,
            "seconds": seconds,
            "front": front.values.tolist(),
        }

    def constrained(self, limit: float, seed: int) -> dict[str, Any]:
        """The best network within a limit of milliseconds."""
        accuracy = Counted(self.predictor.predict)
        begin = time.process_time()
        found = run_evolution(SPACE, accuracy, [Constraint("latency_ms", limit, self.table.predict)], seed=seed)
        return {
            "accuracy": found.score,
            "latency_ms": found.costs["latency_ms"],
            "evaluations": accuracy.asked,
            "seconds": time.process_time() - begin,
        }


class Contest(NamedTuple):
    """One row of the table: an algorithm with its budget, and how many seeds of it are run."""

    algorithm: str
    budget: int
    seeds: int
    search: Callable[[int, list[Objective]], Front]


def contests(seeds: int, quick: bool) -> Iterable[Contest]:
    """Every algorithm with every budget that is to be measured."""

    def by(algorithm: str, budget: int, count: int = seeds) -> Contest:
        def run(seed: int, objectives: list[Objective]) -> Front:
            if algorithm == "random":
                return random_search(SPACE, objectives, budget, seed)
            if algorithm == "uniform":
                return uniform_search(SPACE, objectives)
            return pareto_search(SPACE, objectives, algorithm, 100, -(-budget // 100), seed)

        return Contest(algorithm, budget, count, run)

    family = 135  # networks whose blocks are all alike
    yield by("niches", 100_000)
    yield by("random", 100_000)
    if quick:
        return
    yield by("uniform", family, 1)
    for budget in (family, 1_000, 10_000):
        yield by("random", budget)
        yield by("niches", budget)
    for algorithm in ("nsga2", "ofa2_nsga2", "ofa2_smsemoa", "ofa2_spea2"):
        yield by(algorithm, 100_000, min(seeds, 3))
    yield by("niches", 1_000_000, min(seeds, 3))
    yield by("niches", 5_000_000, min(seeds, 2))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds."""
    keys = [key for key, value in rows[0].items() if isinstance(value, int | float)]
    means = {key: statistics.fmean(row[key] for row in rows) for key in keys}
    values = [row["hv_100_25"] for row in rows]
    return {**means, "hv_100_25_smallest": min(values), "hv_100_25_largest": max(values)}


def show(contest: Contest, figures: dict[str, Any]) -> str:
    """A line of the table."""
    rate = figures["evaluations"] / figures["seconds"]
    return (
        f"| {contest.algorithm} | {contest.budget:,} | {contest.seeds} | {figures['hv_100_25']:.1f} "
        f"({figures['hv_100_25_smallest']:.1f} to {figures['hv_100_25_largest']:.1f}) | "
        f"{figures['hv_100_25_delivered']:.1f} | {figures['hv_60_25']:.1f} | {figures['seconds']:.2f} | {rate:,.0f} |"
    )


def draw(fronts: dict[str, list[list[float]]], path: Path) -> None:
    """The fronts of one seed per algorithm, error over milliseconds."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, front in fronts.items():
        points = np.array(front)
        axes.step(points[:, 0], 100 - points[:, 1], where="post", label=name, linewidth=1)
    axes.set_xlabel("Note10 latency, ms (published table)")
    axes.set_ylabel("predicted top-1 accuracy, % (published predictor)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parent.parent.parent / "shared"
    parser.add_argument("--official", type=Path, default=shared / "official", help="folder of the published files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the default search and random search only")
    parser.add_argument("--results", type=Path, default=None, help="folder for search.json and fronts.svg")
    options = parser.parse_args()
    stand = Stand(options.official)
    pareto_search(SPACE, [Objective("a", stand.table.predict), Objective("b", stand.table.predict)], "nsga2", 10, 1)

    print("| algorithm | evaluations | seeds | HV (100, 25) (range) | of 100 delivered | HV (60, 25) | s | per s |")
    print("|---|---|---|---|---|---|---|---|")
    table, fronts = {}, {}
    for contest in contests(options.seeds, options.quick):
        rows = [stand.front(partial(contest.search, seed)) for seed in range(1, contest.seeds + 1)]
        name = f"{contest.algorithm} {contest.budget:,}"
        fronts[name] = rows[0]["front"]
        table[name] = {"mean": summary(rows), "seeds": [{k: v for k, v in row.items() if k != "front"} for row in rows]}
        print(show(contest, table[name]["mean"]), flush=True)

    print("\n| limit ms | mean accuracy, seeds 1 to 3 | official | gain, points | evaluations | s | official s |")
    print("|---|---|---|---|---|---|---|")
    limits = {}
    for limit, official in OFFICIAL.items():
        rows = [stand.constrained(limit, seed) for seed in (1, 2, 3)]
        limits[limit] = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
        mean = limits[limit]
        print(
            f"| {limit} | {mean['accuracy']:.5f} | {official:.5f} | {100 * (mean['accuracy'] - official):+.2f} | "
            f"{mean['evaluations']:,.0f} | {mean['seconds']:.2f} | {OFFICIAL_SECONDS[limit]} |"
        )
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        record = {"fronts": table, "constrained": limits, "circumstances": circumstances()}
        (options.results / "search.json").write_text(json.dumps(record, indent=1) + "\n")
        wanted = ("niches 100,000", "ofa2_nsga2 100,000", "ofa2_smsemoa 100,000", "random 100,000", "uniform 135")
        draw({name: fronts[name] for name in wanted if name in fronts}, options.results / "fronts.svg")
    default = table["niches 100,000"]["mean"]
    codes = SPACE.sample_codes(20_000, np.random.default_rng(1))
    begin = time.process_time()
    for first in range(0, len(codes), 2_000):
        stand.table.predict(codes[first : first + 2_000])
        stand.predictor.predict(codes[first : first + 2_000])
    evaluators = len(codes) / (time.process_time() - begin)
    finish(
        {
            "hv_100_25_mean": round(default["hv_100_25"], 2),
            "hv_60_25_mean": round(default["hv_60_25"], 2),
            "seconds_mean": round(default["seconds"], 3),
            "archs_per_second": round(evaluators),  # of predictor and table; benchmarks/evaluators.py has more
            "evaluations_per_second": round(default["evaluations"] / default["seconds"]),  # of the whole search
            "constrained_gain_points": {k: round(100 * (v["accuracy"] - OFFICIAL[k]), 3) for k, v in limits.items()},
            "constrained_seconds": round(statistics.fmean(v["seconds"] for v in limits.values()), 3),
        }
    )


if __name__ == "__main__":
    main()
