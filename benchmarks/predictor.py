"""How many measured networks an accuracy predictor needs: Kendall's tau over the number of labels.

    python benchmarks/predictor.py ACC_PREDICTOR [--quick] [--results FOLDER]

ACC_PREDICTOR is the published accuracy predictor of the Once-for-All tutorial; it stands for a trained supernet, and
every label it gives carries the noise of 10,000 hold-out images. Samplings and models are compared on networks that no
label was collected for: random ones, and those near the true front of accuracy and MACs, where a search looks. The
regret is what the network that the predictor likes best below a limit on MACs lacks against the best known one.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("acc_predictor", help="file of the published tutorial predictor")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed and few labels")
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON and Markdown")
    options = parser.parse_args()
    counts = [40, 80] if options.quick else [40, 80, 160, 320]
    seeds = range(1 if options.quick else options.seeds)

    stand = Stand(options.acc_predictor)
    anywhere = SPACE.sample_codes(2000, np.random.default_rng(10**6))
    front = near_the_front(stand, 500)
    limit = Constraint("macs", LIMIT, macs)
    best = max(
        float(run_evolution(SPACE, stand.accuracy, [limit], seed=s, population=100, generations=200).scores.max())
        for s in range(2)
    )
    rows = []
    for seed, sampling in itertools.product(seeds, SAMPLINGS):
        store = LabelStore(None, SPACE, "")
        for count, model in itertools.product(counts, MODELS):
            started = time.perf_counter()
            labels = collect_labels(SPACE, stand.evaluate, macs, count, store, sampling=sampling, seed=seed)
            predictor = AccuracyPredictor(SPACE, macs, "macs", model=model)
            predictor.fit([label.arch for label in labels], [label.top1 for label in labels], seed)
            found = run_evolution(SPACE, predictor.predict, [limit], seed=seed, population=100, generations=50)
            row = {
                "sampling": sampling,
                "model": model,
                "labels": count,
                "seed": seed,
                "tau": kendall_tau(stand.accuracy(anywhere), predictor.predict(anywhere)),
                "tau_near_front": kendall_tau(stand.accuracy(front), predictor.predict(front)),
                "regret": best - float(stand.accuracy(SPACE.encode([found.best]))[0]),
                "seconds": time.perf_counter() - started,
            }
            rows.append(row)
            print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    means = [
        {
            "sampling": sampling,
            "model": model,
            "labels": count,
            **{
                name: float(np.mean([r[name] for r in rows if (r["sampling"], r["model"], r["labels"]) == key]))
                for name in ("tau", "tau_near_front", "regret")
            },
        }
        for key in itertools.product(SAMPLINGS, MODELS, counts)
        for sampling, model, count in [key]
    ]
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        everything = {"circumstances": circumstances(), "best_known_at_limit": best, "rows": rows, "means": means}
        (options.results / "labels.json").write_text(json.dumps(everything, indent=1) + "\n")
        print(table(means))
        draw(means, options.results / "labels.svg")
    finish({"means": [{k: round(v, 4) if isinstance(v, float) else v for k, v in m.items()} for m in means]})


def table(means: list[dict]) -> str:
    lines = [
        "| labels | sampling | model | tau, random networks | tau, near the front | regret at 300 M MACs, points |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {m['labels']} | {m['sampling']} | {m['model']} | {m['tau']:.3f} | {m['tau_near_front']:.3f} | "
        f"{100 * m['regret']:.2f} |"
        for m in sorted(means, key=lambda m: (m["labels"], m["sampling"], m["model"]))
    ]
    return "\n".join(lines) + "\n"


def draw(means: list[dict], path: Path) -> None:
    """Tau and regret over the number of labels, one line per sampling and model."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    names = {"tau": "tau, random networks", "tau_near_front": "tau, near the front", "regret": "regret, points"}
    for axis, (name, title) in zip(axes, names.items(), strict=True):
        for sampling, colour in zip(SAMPLINGS, ("tab:red", "tab:blue", "tab:gray"), strict=True):
            for model, style in zip(MODELS, ("-", "--"), strict=True):
                line = [m for m in means if (m["sampling"], m["model"]) == (sampling, model)]
                values = [m[name] * (100 if name == "regret" else 1) for m in line]
                label = f"{sampling}, {model.replace('_', ' ')}"
                axis.plot([m["labels"] for m in line], values, style, color=colour, marker="o", label=label)
        axis.set(xlabel="labels", title=title, xscale="log")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main()
