"""How many measured networks an accuracy predictor needs: Kendall's tau over the number of labels.

    python benchmarks/predictor.py ACC_PREDICTOR [--seeds 10] [--models NAME ...] [--quick] [--results FOLDER]

ACC_PREDICTOR is the published accuracy predictor of the Once-for-All tutorial; it stands for a trained supernet, and
every label it gives carries the noise of 10,000 hold-out images. Samplings and models are compared on networks that no
label was collected for: random ones, and those near the true front of accuracy and MACs, where a search looks. Among
these, pairs whose MACs differ by less than 5 % are counted apart: there MACs alone order nothing. The regrets are what
networks lack against the best known of their size: the one that the predictor likes best below one limit; those that
its front has to offer below six limits; and those that are the best of the collected labels, as in a measured search.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from reporting import circumstances, finish

from onceforall.cost import count_macs, kendall_tau
from onceforall.interop.official import load_accuracy_predictor
from onceforall.search import AccuracyPredictor, LabelStore, Objective, collect_labels, pareto_search, run_evolution
from onceforall.search.collection import SAMPLINGS
from onceforall.search.constraints import Constraint
from onceforall.search.operators import Codes, Values, mutate_codes, unique_codes
from onceforall.search.predictor import MODELS
from onceforall.space import Arch, create_space

SPACE = create_space("mbv3_w1.2", resolutions=[160, 176, 192, 208, 224])
HOLDOUT_IMAGES = 10_000
LIMIT = 300e6
LIMITS = np.array([150e6, 200e6, 250e6, 300e6, 400e6, 500e6])
ALIKE = 0.05  # MACs that differ by less order nothing
METRICS = {
    "tau": "tau, random networks",
    "tau_near_front": "tau, near the front",
    "pairs": "pairs of equal MACs in order, %",
    "regret": "regret at 300 M MACs, points",
    "regret_front": "regret of the predicted front",
    "regret_labels": "regret of the best labels",
}
PERCENT = ("pairs", "regret", "regret_front", "regret_labels")


class Stand:
    """The published predictor as if it were a supernet: accuracies with the noise of a finite hold-out."""

    def __init__(self, path: str) -> None:
        self.predictor = load_accuracy_predictor(path, SPACE)

    def accuracy(self, codes: Codes) -> Values:
        return np.asarray(self.predictor.predict(codes), dtype=np.float64)

    def evaluate(self, archs: list[Arch]) -> Iterator[tuple[float, float]]:
        codes = SPACE.encode(archs)
        for code, accuracy in zip(codes, self.accuracy(codes), strict=True):
            error = float(np.sqrt(accuracy * (1 - accuracy) / HOLDOUT_IMAGES))
            noise = np.random.default_rng(code).normal()  # of the network, so that every sampling sees the same label
            yield float(np.clip(accuracy + error * noise, 0, 1)), error


def macs(codes: Codes) -> Values:
    return count_macs(SPACE, codes).astype(np.float64)


def near_the_front(stand: Stand, count: int) -> Codes:
    """Networks of a true front and their mutants, at most half a point below it."""
    objectives = [Objective("accuracy", stand.accuracy, maximise=True), Objective("macs", macs)]
    front = SPACE.encode(pareto_search(SPACE, objectives, "nsga2", 100, 100, seed=0).archs)
    rng = np.random.default_rng(0)
    rows = unique_codes(np.concatenate([front, mutate_codes(SPACE, np.repeat(front, 40, axis=0), rng, 0.03)]))
    order = np.argsort(macs(front))
    reachable = np.maximum.accumulate(stand.accuracy(front[order]))
    at = np.searchsorted(macs(front[order]), macs(rows), side="right") - 1
    good = rows[(at >= 0) & (stand.accuracy(rows) > reachable[at] - 0.005)]
    return rng.permutation(good)[:count]


def in_order(truth: Values, predicted: Values, size: Values) -> float:
    """Share of the pairs of nearly equal size that are predicted in the right order; by chance a half."""
    first, second = np.triu_indices(len(size), 1)
    alike = np.abs(np.log(size[first] / size[second])) < np.log1p(ALIKE)
    first, second = first[alike], second[alike]
    return float(((truth[first] - truth[second]) * (predicted[first] - predicted[second]) > 0).mean())


def best_within(score: Values, size: Values) -> np.ndarray:
    """For each limit the row with the best score below it; -1 where there is none."""
    inside = size[None] <= LIMITS[:, None]
    return np.where(inside.any(axis=1), np.where(inside, score[None], -np.inf).argmax(axis=1), -1)


def lacking(stand: Stand, best: Values, codes: Codes, score: Values) -> float:
    """Mean over the limits of what the networks that `score` prefers lack in true accuracy."""
    chosen = best_within(score, macs(codes))
    smallest = SPACE.encode([SPACE.smallest])  # what is left where nothing is small enough
    truth = [stand.accuracy(codes[[row]] if row >= 0 else smallest)[0] for row in chosen]
    return float(np.mean(best - np.array(truth)))


def best_known(stand: Stand) -> Values:
    """The best accuracy within each limit that long searches with the truth find."""
    found = []
    for seed in range(2):
        objectives = [Objective("accuracy", stand.accuracy, maximise=True), Objective("macs", macs, cheap=True)]
        front = SPACE.encode(pareto_search(SPACE, objectives, "niches", 100, 2000, seed=seed).archs)
        found.append(stand.accuracy(front)[best_within(stand.accuracy(front), macs(front))])
    return np.max(found, axis=0)


def predicted_front(predictor: AccuracyPredictor, labels: Codes, seed: int) -> Codes:
    """The front as `search_predicted` sees it."""
    objectives = [Objective("accuracy", predictor.predict, maximise=True), Objective("macs", macs, cheap=True)]
    return SPACE.encode(pareto_search(SPACE, objectives, "niches", 100, 50, seed=seed, initial=labels).archs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("acc_predictor", help="file of the published tutorial predictor")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=["gaussian_process"], choices=list(MODELS))
    parser.add_argument("--labels", type=int, nargs="+", default=[40, 80, 160])
    parser.add_argument("--quick", action="store_true", help="one seed and few labels")
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON and Markdown")
    options = parser.parse_args()
    models: list[str] = options.models
    counts: list[int] = [40, 80] if options.quick else options.labels
    seeds = range(1 if options.quick else options.seeds)

    stand = Stand(options.acc_predictor)
    anywhere = SPACE.sample_codes(2000, np.random.default_rng(10**6))
    front = near_the_front(stand, 500)
    limit = Constraint("macs", LIMIT, macs)
    best = best_known(stand)
    truth, size = stand.accuracy(front), macs(front)
    rows = []
    for seed, sampling in itertools.product(seeds, SAMPLINGS):
        store = LabelStore(None, SPACE, "")
        for count, model in itertools.product(counts, models):
            started = time.perf_counter()
            labels = collect_labels(SPACE, stand.evaluate, macs, count, store, sampling=sampling, seed=seed)
            predictor = AccuracyPredictor(SPACE, macs, "macs", model=model)
            predictor.fit([label.arch for label in labels], [label.top1 for label in labels], seed)
            found = run_evolution(SPACE, predictor.predict, [limit], seed=seed, population=100, generations=50)
            codes = SPACE.encode([label.arch for label in labels])
            likely = predicted_front(predictor, codes, seed)
            row = {
                "sampling": sampling,
                "model": model,
                "labels": count,
                "seed": seed,
                "tau": kendall_tau(stand.accuracy(anywhere), predictor.predict(anywhere)),
                "tau_near_front": kendall_tau(truth, predictor.predict(front)),
                "pairs": in_order(truth, predictor.predict(front), size),
                "regret": float(best[LIMITS == LIMIT][0] - stand.accuracy(SPACE.encode([found.best]))[0]),
                "regret_front": lacking(stand, best, likely, predictor.predict(likely)),
                "regret_labels": lacking(stand, best, codes, np.array([label.top1 for label in labels])),
                "seconds": time.perf_counter() - started,
            }
            rows.append(row)
            print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    means, pairs = averaged(rows), compared(rows)
    text = f"{table(means)}\n{pairs_table(pairs)}"
    print(text)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        known = {"best_known": dict(zip(LIMITS.tolist(), best.tolist(), strict=True))}
        everything = {"circumstances": circumstances(), **known, "rows": rows, "means": means, "compared": pairs}
        (options.results / "labels.json").write_text(json.dumps(everything, indent=1) + "\n")
        draw(means, options.results / "labels.svg")
    finish({"means": [{k: round(v, 4) if isinstance(v, float) else v for k, v in m.items()} for m in means]})


def averaged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, with the standard error of each mean."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["sampling"], row["model"], row["labels"]), []).append(row)
    return [
        {
            "sampling": sampling,
            "model": model,
            "labels": count,
            **{name: float(np.mean([row[name] for row in group])) for name in METRICS},
            **{f"{name}_error": standard_error([row[name] for row in group]) for name in METRICS},
        }
        for (sampling, model, count), group in groups.items()
    ]


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Active against the others with the same seed, labels and model: mean difference, its error, seeds that gain."""
    found = {(row["sampling"], row["model"], row["labels"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    differences = []
    for model, count, other in itertools.product(
        dict.fromkeys(row["model"] for row in rows), dict.fromkeys(row["labels"] for row in rows), ("spread", "random")
    ):
        entry: dict[str, Any] = {"model": model, "labels": count, "against": other, "seeds": len(seeds)}
        for name in METRICS:
            gains = [
                found["active", model, count, seed][name] - found[other, model, count, seed][name] for seed in seeds
            ]
            better = [gain < 0 if name.startswith("regret") else gain > 0 for gain in gains]
            entry[name] = {"mean": float(np.mean(gains)), "error": standard_error(gains), "better": sum(better)}
        differences.append(entry)
    return differences


def standard_error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def shown(name: str, value: float, error: float, sign: str = "") -> str:
    """A figure with its standard error, in points where that is the unit."""
    scale, digits = (100, 1 if name == "pairs" else 2) if name in PERCENT else (1, 3)
    return f"{scale * value:{sign}.{digits}f} ± {scale * error:.{digits}f}"


def table(means: list[dict[str, Any]]) -> str:
    heads = ["labels", "sampling", "model", *METRICS.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for mean in sorted(means, key=lambda m: (m["labels"], m["sampling"], m["model"])):
        cells = [str(mean["labels"]), mean["sampling"], mean["model"]]
        cells += [shown(name, mean[name], mean[f"{name}_error"]) for name in METRICS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def pairs_table(pairs: list[dict[str, Any]]) -> str:
    """What active collection gains, seed by seed."""
    heads = ["labels", "active against", *METRICS.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for pair in pairs:
        cells = [str(pair["labels"]), pair["against"]]
        cells += [
            f"{shown(name, pair[name]['mean'], pair[name]['error'], '+')} ({pair[name]['better']} of {pair['seeds']})"
            for name in METRICS
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(means: list[dict[str, Any]], path: Path) -> None:
    """Tau and regret over the number of labels, one line per sampling and model."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(2, 3, figsize=(13, 8), layout="constrained")
    axes = grid.ravel()
    models = list(dict.fromkeys(mean["model"] for mean in means))
    for axis, (name, title) in zip(axes, METRICS.items(), strict=True):
        for sampling, colour in zip(SAMPLINGS, ("tab:red", "tab:blue", "tab:gray"), strict=True):
            for model, style in zip(models, ("-", "--"), strict=False):
                line = [m for m in means if (m["sampling"], m["model"]) == (sampling, model)]
                scale = 100 if name in PERCENT else 1
                values, errors = ([scale * m[key] for m in line] for key in (name, f"{name}_error"))
                label = f"{sampling}, {model.replace('_', ' ')}"
                counts = [m["labels"] for m in line]
                axis.errorbar(counts, values, errors, linestyle=style, color=colour, marker="o", capsize=3, label=label)
        axis.set(xlabel="labels", title=title, xscale="log")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main()
