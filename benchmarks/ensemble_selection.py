"""Ensemble selection at the published size: how fast, how exact, and how good for how many evaluations.

    python benchmarks/ensemble_selection.py [--quick] [--quality] [--quality-images N] [--skip-speed]
        [--results FOLDER]

100 synthetic networks on 50,000 images of 1,000 classes, correlated like those of one front: they share what is hard
about an image and most errors (fast networks more of them); accuracies go from 70 to 79 %. Nothing of the 10 GB of
probabilities is kept: blocks of images are made, reduced to what a vote can change, and forgotten.

`--quality` also runs the published searches (three algorithms, three seeds, on the truncated vote they use) and our
selection at a twentieth of their evaluations and without a limit. That takes an hour on one core, so that each figure
is written to the results at once, and a later run with the same folder runs those published searches that are missing.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reporting import circumstances, finish

from onceforall.search.ensemble.blocks import Block, as_float16, in_units
from onceforall.search.ensemble.published import ALGORITHMS, PRESETS, published_selection
from onceforall.search.ensemble.selection import select_ensembles
from onceforall.search.ensemble.votes import VoteTable

NETWORKS, CLASSES = 100, 1000
PLAUSIBLE = 64  # classes per image that get noise of their own in every network; the others are far below
RANK = np.linspace(0, 1, NETWORKS, dtype=np.float32)[:, None, None]
LATENCIES_MS = 9.89 * (46.2 / 9.89) ** RANK.ravel().astype(np.float64)


def synthetic_blocks(images: int, seed: int = 0, size: int = 250) -> Iterator[Block]:
    """Blocks of images as all networks see them; the same for the same seed."""
    rng = np.random.default_rng(seed)
    for start in range(0, images, size):
        rows = np.arange(min(size, images - start))
        labels = (start + rows) * CLASSES // images
        logits = 1.6 * rng.standard_normal((len(rows), CLASSES), dtype=np.float32)
        logits[rows, labels] += rng.normal(9.25, 4, size=len(rows)).astype(np.float32)
        shared = rng.standard_normal((len(rows), CLASSES), dtype=np.float32)
        ranked = logits + shared
        ranked[rows, labels] = np.inf
        near = np.argpartition(-ranked, PLAUSIBLE, axis=1)[:, :PLAUSIBLE]
        own = rng.standard_normal((NETWORKS, len(rows), PLAUSIBLE), dtype=np.float32)
        close = np.take_along_axis(logits, near, axis=1) + (0.4 - 0.05 * RANK) * own
        close += (1.3 - 0.8 * RANK**0.6) * np.take_along_axis(shared, near, axis=1)
        highest = logits.max(axis=1, keepdims=True)
        far = np.exp(logits - highest)
        np.put_along_axis(far, near, 0, axis=1)
        close, scale = np.exp(close - highest), far.sum(axis=1)
        probabilities = np.empty((NETWORKS, len(rows), CLASSES), dtype=np.float16)
        for network in range(NETWORKS):
            total = (close[network].sum(axis=1) + scale)[:, None]
            values = far / total
            np.put_along_axis(values, near, close[network] / total, axis=1)
            probabilities[network] = as_float16(values)
        yield Block(labels, probabilities)


class Counted:
    """Blocks on their way, and what the dense vote of all classes and images says about some sets of members."""

    def __init__(self, blocks: Iterable[Block], sets: NDArray[np.bool_]) -> None:
        self.blocks, self.sets = blocks, sets
        self.dense = np.zeros(len(sets), dtype=np.int64)
        self.correct = np.zeros(NETWORKS, dtype=np.int64)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Block]:
        started = time.process_time()
        for block in self.blocks:
            for image, label in enumerate(block.labels):
                votes = self.sets @ in_units(block.probabilities[:, image]).astype(np.float64)
                self.dense += votes.argmax(axis=1) == label
            self.correct += (block.first_classes() == block.labels).sum(axis=1)
            self.seconds += time.process_time() - started
            yield block
            started = time.process_time()


def best_rate(work: Callable[[], int], rounds: int = 5) -> tuple[float, float]:
    """The largest number per second of five rounds, by the clock and by the time the processor gave."""
    by_clock, by_processor = [], []
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        count = work()
        by_clock.append(count / (time.perf_counter() - clock))
        by_processor.append(count / (time.process_time() - processor))
    return max(by_clock), max(by_processor)


def speed(images: int) -> tuple[VoteTable, dict]:
    """Reduce the table, compare with the dense vote, time populations and neighbours."""
    rng = np.random.default_rng(1)
    share = rng.choice([0.02, 0.1, 0.5], size=(1024, 1))
    sets = rng.random((1024, NETWORKS)) < share
    sets[np.arange(1024), rng.integers(NETWORKS, size=1024)] = True
    passing = Counted(synthetic_blocks(images), sets[:16])
    started = time.process_time()
    votes = VoteTable(passing)
    reduced = time.process_time() - started - passing.seconds
    population = best_rate(lambda: len(votes.correct(sets)))
    five = np.arange(NETWORKS) < 5
    additions = best_rate(lambda: len(votes.correct_with(votes.sums(five), np.flatnonzero(~five))))
    return votes, {
        "networks": NETWORKS,
        "images": images,
        "classes": CLASSES,
        "accuracy_from": float(passing.correct.min() / images),
        "accuracy_to": float(passing.correct.max() / images),
        "open_images": votes.open_images,
        "rows": votes.rows,
        "table_mib": votes.nbytes / 2**20,
        "seconds_to_reduce": reduced,
        "equal_to_dense": votes.correct(sets[:16]).tolist() == passing.dense.tolist(),
        "ensembles_per_second": population[0],
        "ensembles_per_processor_second": population[1],
        "added_members_per_processor_second": additions[1],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def quality(
    votes: VoteTable, generations: int | None, seeds: Iterable[int] | None, known: list[dict], record: Callable
) -> None:
    """Hypervolumes of the published searches and of our selection, on one truncated table; `record(row)` takes each.

    Our selections run anew, published searches only where `known` rows lack them.
    """
    for name in ("ofa3_summed", "ofa3_max"):
        preset = PRESETS[name]
        if generations is not None:
            preset = replace(preset, generations=generations)
        twentieth = preset.evaluations // 20
        choices: dict[str, dict] = {
            "ours, a twentieth": {"evaluations": twentieth},
            "ours, a twentieth, at least two": {"evaluations": twentieth, "at_least": 2},
            "ours, no limit": {},
        }
        for label, options in choices.items():
            select = partial(select_ensembles, votes, LATENCIES_MS, preset.rule, **options)
            record(row(name, label, votes.images, select))
        for seed, algorithm in product(seeds or preset.seeds, ALGORITHMS):
            label = f"{algorithm}, seed {seed}"
            if (name, label, votes.images) not in {(one["preset"], one["selection"], one["images"]) for one in known}:
                run = partial(published_selection, votes, LATENCIES_MS, preset, algorithm, seed)
                record(row(name, label, votes.images, run))


def row(preset: str, label: str, images: int, run: Callable) -> dict:
    """One selection and what it took."""
    started = time.process_time()
    front = run()
    figures = {
        "preset": preset,
        "selection": label,
        "images": images,
        "evaluations": front.evaluations,
        "processor_seconds": round(time.process_time() - started, 2),
        "hypervolume": round(front.hypervolume(), 3),
        "reference": [round(value, 3) for value in front.reference],
        "ensembles": len(front.ensembles),
        "most_members": max((len(one.members) for one in front.ensembles), default=0),
    }
    print(json.dumps(figures), flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images; with --quality fewer generations, one seed")
    parser.add_argument("--quality", action="store_true", help="compare with the published searches")
    parser.add_argument("--quality-images", type=int, help="images of that comparison, if not all")
    parser.add_argument("--skip-speed", action="store_true", help="only the comparison")
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    options = parser.parse_args()
    if options.quick and options.results is not None:
        parser.error("--quick runs are shorter: their figures do not belong into results")
    images = 2000 if options.quick else 50_000
    path = None if options.results is None else options.results / "selection.json"
    figures = json.loads(path.read_text()) if path is not None and path.exists() else {}
    figures["circumstances"] = circumstances()
    if not options.skip_speed:
        figures |= speed(images)[1]
        print(json.dumps(figures), flush=True)
    rows = figures.setdefault("quality", [])

    def record(row: dict) -> None:
        rows[:] = [one for one in rows if any(one[key] != row[key] for key in ("preset", "selection", "images"))] + [
            row
        ]
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(figures, indent=1) + "\n")

    if options.quality:
        blocks = synthetic_blocks(options.quality_images or images)
        truncated = VoteTable(blocks, top=PRESETS["ofa3_max"].top)
        if options.quick:
            quality(truncated, 60, [1], [], record)
        else:
            quality(truncated, None, None, list(rows), record)
    elif path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1) + "\n")
    finish(figures)


if __name__ == "__main__":
    main()
