"""What ensembles of a front gain on test images: runs of one data set with different seeds.

    python benchmarks/ensembles.py NAME RUN [RUN ...] [--results FOLDER]

Every RUN is a trained run whose networks were predicted by `ofa ensemble run=RUN`; its tables are read, nothing is
evaluated anew. Compared under summed and maximal latency, all chosen on hold-out images and told on test images:
single networks (most images right, and by likelihood), ensembles chosen by likelihood of networks that are shown all
views of the run (the default) and the images as they are, the latter chosen by most images right, and, as what the
views give by themselves, one network that votes on all of them. Gains are differences to a single network, which sees
images as they are, within the same latency, at every latency at which either changes. The last line is JSON. `--quick`
makes a table of random numbers in place of runs.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from reporting import circumstances, finish

from onceforall.commands.prediction_tables import predictions_path
from onceforall.data import VIEWS
from onceforall.files import read_json, write_json, write_text
from onceforall.run import Run
from onceforall.search.ensemble.delivery import counts_of, singles_front
from onceforall.search.ensemble.ensembles import RULES, Ensemble, EnsembleFront
from onceforall.search.ensemble.likeliest import front_rows
from onceforall.search.ensemble.likelihood import select_by_likelihood
from onceforall.search.ensemble.selection import select_ensembles
from onceforall.search.ensemble.tables import PredictionTable, TableNetwork, blocks_together
from onceforall.search.ensemble.temperature import NOTHING, fit_temperatures
from onceforall.search.ensemble.votes import VoteTable
from onceforall.search.front import hypervolume

LIMITS = 5
DEFAULT = "likelihood, all views (default)"
MOST_RIGHT = "one network, most images right"
LIKELIEST = "one network, by likelihood"
ANY_VIEW = "one network, any of its views"
THIRDS = ("fast", "middle", "slow", "beyond the slowest network")


def study(folder: Path) -> list[dict[str, Any]]:
    """One row per rule, way of choosing and network it is compared with, for one run."""
    tables = {
        part: [
            PredictionTable(path)
            for view in VIEWS
            if (path := predictions_path(Run(folder), part, view)).with_suffix(".json").is_file()
        ]
        for part in ("holdout", "test")
    }
    for part, views in tables.items():
        if len({tuple(network.name for network in table.networks) for table in views}) != 1:
            raise SystemExit(f"{folder}: {part} tables of different networks; run ofa ensemble run={folder} again")
    latencies = tables["holdout"][0].latencies_ms
    plain = [VoteTable(tables[part][0].blocks()) for part in tables]
    all_views = Likely(tables["holdout"], tables["test"])
    as_it_is = Likely(tables["holdout"][:1], tables["test"][:1])
    rows = []
    for rule in RULES:
        by_accuracy = select_ensembles(plain[0], latencies, rule)
        alone = singles_front(by_accuracy, plain[0], latencies, np.eye(len(latencies), dtype=bool))
        likeliest = as_it_is.likeliest_networks(by_accuracy)
        any_view = all_views.one_view(by_accuracy)
        singles = {
            MOST_RIGHT: (alone, plain[1]),
            LIKELIEST: (likeliest, plain[1]),
            ANY_VIEW: (any_view, all_views.test),
        }
        default = all_views.choose(rule)
        for way, front, votes, over in (
            (DEFAULT, default, all_views.test, MOST_RIGHT),
            (DEFAULT, default, all_views.test, LIKELIEST),
            (DEFAULT, default, all_views.test, ANY_VIEW),
            ("likelihood, images as they are", as_it_is.choose(rule), as_it_is.test, MOST_RIGHT),
            ("most images right, as they are", by_accuracy, plain[1], MOST_RIGHT),
            ("one network, all its views", all_views.one_network(by_accuracy), all_views.test, MOST_RIGHT),
            (LIKELIEST, likeliest, as_it_is.test, MOST_RIGHT),
            (ANY_VIEW, any_view, all_views.test, MOST_RIGHT),
        ):
            found = compared(front, singles[over][0], votes, singles[over][1], latencies)
            rows.append({"rule": rule, "chosen": way, "over": over} | found)
    return rows


class Likely:
    """Choice by likelihood among the networks of tables of the same images, the first of which may stand alone."""

    def __init__(self, holdout: list[PredictionTable], test: list[PredictionTable]) -> None:
        temperatures = fit_temperatures(partial(blocks_together, holdout))
        self.holdout, self.test = (
            VoteTable(block.tempered(temperatures) for block in blocks_together(part)) for part in (holdout, test)
        )
        given = [block.tempered(temperatures).label_probabilities() for block in blocks_together(holdout)]
        self.given = np.concatenate(given, axis=1)
        self.latencies = np.concatenate([table.latencies_ms for table in holdout])
        self.single = np.arange(len(self.latencies)) < len(holdout[0].networks)

    def choose(self, rule: str) -> EnsembleFront:
        return select_by_likelihood(self.holdout, self.given, self.latencies, rule, single=self.single)

    def likeliest_networks(self, front: EnsembleFront) -> EnsembleFront:
        """Single networks by rising latency and likelihood: what choosing by likelihood gives without a vote."""
        likelihoods = np.log(np.maximum(self.given, NOTHING)).mean(axis=1)
        correct = self.holdout.correct(np.eye(len(likelihoods)))
        found = front_rows(self.latencies, likelihoods).tolist()
        ensembles = tuple(Ensemble((one,), float(self.latencies[one]), int(correct[one])) for one in found)
        return replace(front, ensembles=ensembles)

    def one_view(self, front: EnsembleFront) -> EnsembleFront:
        """Each network alone on any one of its views, by most images right and towards the reference of a front."""
        return singles_front(front, self.holdout, self.latencies, np.eye(len(self.single), dtype=bool))

    def one_network(self, front: EnsembleFront) -> EnsembleFront:
        """Each network with itself on all views, by the rule and towards the reference of a front."""
        networks = int(self.single.sum())
        views = len(self.single) // networks
        return singles_front(front, self.holdout, self.latencies, np.tile(np.eye(networks, dtype=bool), views))


def compared(
    front: EnsembleFront, alone: EnsembleFront, votes: VoteTable, single_votes: VoteTable, latencies: np.ndarray
) -> dict[str, Any]:
    """Test accuracy of a front beside that of the single networks, in percent and points."""
    top1 = 100 * counts_of(front, votes) / votes.images
    single = 100 * counts_of(alone, single_votes) / single_votes.images
    times, single_times = front.points[:, 0], alone.points[:, 0]
    changes = np.unique(np.concatenate([times, single_times]))
    changes = changes[changes >= max(times[0], single_times[0])]
    gains = at(changes, times, top1) - at(changes, single_times, single)
    ends = np.geomspace(latencies.min(), latencies.max(), 4)[1:] * (1 + 1e-9)
    third = np.searchsorted(ends, changes)
    limits = np.geomspace(latencies.min(), latencies.max(), LIMITS + 1)[1:]
    worst = 100 - 100 * single_votes.correct(np.eye(single_votes.members)).min() / votes.images
    reference = front.reference[0], float(worst)
    return {
        "images": votes.images,
        "networks": votes.members,
        "reference": list(reference),
        "hypervolume": volume(times, top1, reference),
        "singles_hypervolume": volume(single_times, single, reference),
        "ensembles": len(front.ensembles),
        "of_several_networks": sum(len(one.members) > 1 for one in front.ensembles),
        "most_members": max(len(one.members) for one in front.ensembles),
        "limits_ms": limits.tolist(),
        "top1": [value if np.isfinite(value) else None for value in at(limits, times, top1).tolist()],
        "singles_top1": at(limits, single_times, single).tolist(),
        "gain": {
            name: [float(gains[third == k].mean()), float(gains[third == k].min()), float(gains[third == k].max())]
            for k, name in enumerate(THIRDS)
            if (third == k).any()
        },
        "gains": [changes.tolist(), gains.tolist()],
        "standard_error": float(np.sqrt(top1.max() * (100 - top1.max()) / votes.images)),
    }


def settings_of(folder: Path) -> dict[str, Any]:
    """What a run was trained and its networks were predicted with, as far as it differs between runs."""
    run = Run(folder)
    config, found = run.read_config(), read_json(run.ensembles_path("ensembles"))
    kept = ("search", "device", "calibration_images", "batch_size", "holdout_images", "test_images")
    return {
        "experiment": config.name,
        "seed": config.seed,
        "epochs": config.epochs,
        "precision": config.precision,
        "space": config.space.name,
        "resolutions": config.space.resolutions,
        "data.holdout": config.data.holdout,
        "ensembles": {key: found[key] for key in kept},
    }


def lowest(alike: Sequence[dict[str, Any]]) -> float:
    """The smallest mean gain over the runs, at any latency that all of them reach."""
    steps = [(np.array(changes), np.array(gains)) for changes, gains in (row["gains"] for row in alike)]
    anywhere = np.unique(np.concatenate([changes for changes, _ in steps]))
    return float(np.nanmin(np.mean([at(anywhere, changes, gains) for changes, gains in steps], axis=0)))


def at(limits: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of the last entry that is fast enough for each limit, not a number where none is."""
    last = np.searchsorted(times, limits * (1 + 1e-9), side="right") - 1
    return np.where(last < 0, np.nan, values[last])


def volume(times: np.ndarray, top1: np.ndarray, reference: tuple[float, float]) -> float:
    return hypervolume(np.stack([times, 100 - top1], axis=1), reference)


def page(name: str, runs: list[list[dict[str, Any]]]) -> str:
    """Means over the runs, and the range of what matters."""
    first = runs[0][0]
    lines = [
        f"# Ensembles of {name}: {len(runs)} seeds, {first['images']:,} test images",
        "",
        f"`python benchmarks/ensembles.py {name} RUN ...`; settings, commit and machine in `{name}.json`. Chosen on",
        "hold-out images, told on test images. Gain: points above one network within the same latency, as it is chosen",
        "by most hold-out images right (as they are, or on any of its views) or by likelihood, at every latency at",
        "which either changes: mean over latencies and seeds, and the smallest and largest of all. A seed in which",
        "nothing changes within a third is not counted there. Lowest mean: of the mean over seeds, at any latency.",
        f"One accuracy has a standard error of {first['standard_error']:.2f} points. Hypervolume in ms times percent,",
        "mean over seeds, towards the reference of each run (in the JSON file).",
        "",
        "| latency | chosen by | over | gain, fast third | middle third | slow third | beyond the slowest network | "
        "lowest mean | hypervolume, singles | with ensembles | most members |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for index, row in enumerate(runs[0]):
        alike = [run[index] for run in runs]
        gains = []
        for third in THIRDS:
            found = [one["gain"][third] for one in alike if third in one["gain"]]
            mean = np.mean([gain[0] for gain in found]) if found else 0
            low, high = (min(gain[1] for gain in found), max(gain[2] for gain in found)) if found else (0, 0)
            seeds = f", {len(found)} of {len(alike)} seeds" if len(found) < len(alike) else ""
            gains.append(f"{mean:+.2f} ({low:+.2f} to {high:+.2f}{seeds})" if found else "–")
        volumes = [np.mean([one[key] for one in alike]) for key in ("singles_hypervolume", "hypervolume")]
        most = max(one["most_members"] for one in alike)
        cells = [row["rule"], row["chosen"], row["over"].removeprefix("one network, "), *gains, f"{lowest(alike):+.2f}"]
        cells += [*(f"{value:.3f}" for value in volumes), str(most)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Top-1 in percent within five latencies, mean over seeds: ensembles (single networks).", ""]
    limits = np.mean([run[0]["limits_ms"] for run in runs], axis=0)
    lines.append("| latency | chosen by | " + " | ".join(f"{limit:.3g} ms" for limit in limits) + " |")
    lines.append("| --- | --- |" + " --- |" * LIMITS)
    for index, row in enumerate(runs[0]):
        if row["over"] != MOST_RIGHT:
            continue  # those single networks have a row of their own
        both = [
            np.mean(np.array([run[index][key] for run in runs], dtype=np.float64), axis=0)
            for key in ("top1", "singles_top1")
        ]
        cells = ["–" if np.isnan(one) else f"{one:.2f} ({single:.2f})" for one, single in zip(*both, strict=True)]
        lines.append(f"| {row['rule']} | {row['chosen']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def example(folder: Path) -> Path:
    """A run's tables made of random numbers."""
    rng = np.random.default_rng(0)
    networks = [TableNetwork(f"network-{i}", latency_ms=1 + 0.3 * i) for i in range(12)]
    for part, view in itertools.product(("holdout", "test"), ("plain", "mirrored")):
        labels = np.arange(600) % 8
        shared = rng.normal(size=(600, 8)) + 2 * np.eye(8)[labels]
        table = PredictionTable.create(
            predictions_path(Run(folder), part, view), networks, labels, range(600), list("abcdefgh")
        )
        for network in networks:
            values = np.exp(shared + rng.normal(size=shared.shape))
            table.write(network.name, [values / values.sum(axis=1, keepdims=True)])
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="example", help="of the data set; the files are called so")
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs")
    parser.add_argument("--results", type=Path, help="folder for NAME.json and NAME.md")
    parser.add_argument("--quick", action="store_true", help="random numbers, a few seconds")
    options = parser.parse_args()
    if not options.runs and not options.quick:
        parser.error("RUN is missing; --quick needs none")
    with tempfile.TemporaryDirectory() as scratch:
        runs = [study(folder) for folder in options.runs or [example(Path(scratch))]]
    text = page(options.name, runs)
    lowest_means = [lowest(alike) for alike in zip(*runs, strict=True)]
    for row in itertools.chain.from_iterable(runs):
        del row["gains"]  # hundreds of numbers, of which the lowest mean is what matters
    print(text)
    if options.results is not None:
        record = {"settings": [settings_of(folder) for folder in options.runs], "circumstances": circumstances()}
        record |= {"runs": runs, "lowest_means": lowest_means}
        write_json(options.results / f"{options.name}.json", record)
        write_text(options.results / f"{options.name}.md", text)
    gains = [{key: row[key] for key in ("rule", "chosen", "over", "gain")} for row in runs[0]]
    finish({"name": options.name, "gains": gains})


if __name__ == "__main__":
    main()
