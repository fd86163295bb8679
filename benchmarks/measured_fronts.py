"""Fronts by measured accuracy: the default search, luck, networks made by hand, and predictions that were verified.

    python benchmarks/measured_fronts.py RUN [RUN ...] [--batch-size 500] [--quick] [--results FOLDER]

Each RUN is trained (`ofa train`) and measured (`ofa measure`); runs of one space are seeds of one experiment. Every
method pays for each network that it looks at, at equal counts: calibrated on training images, evaluated on the
hold-out. The networks of the fronts are then evaluated once on the test images: what choosing by the hold-out flatters
is seen. Evaluations are kept in RUN/measured_fronts, so an interrupted benchmark goes on, and a network that two
methods look at is measured once, but counts for both. With --quick: digits, seconds of training, nothing is written.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from measured_fronts_page import describe, draw, summarise
from reporting import circumstances, finish

from onceforall.commands.measure import MeasureConfig, measure
from onceforall.commands.scoring import MeasuringConfig, costs_of, fitted_predictor, open_labels
from onceforall.commands.train import train
from onceforall.configuration import compose
from onceforall.files import read_json, write_json, write_text
from onceforall.run import Run
from onceforall.search import (
    LabelStore,
    collect_labels,
    non_dominated,
    reduce_front,
    search_measured,
    search_predicted,
    uniform_family_codes,
    verify,
)
from onceforall.search.collection import random_codes
from onceforall.search.front import Front
from onceforall.space import Arch
from onceforall.train.config import TrainConfig
from onceforall.train.evaluate import evaluate_archs, part_of
from onceforall.train.held import HeldBatches

AT_ONCE = 16  # networks on the same images
LABELS = 60  # of a predicted search by default
MARK = "<!-- below: written by benchmarks/measured_fronts.py -->"


@dataclass(frozen=True)
class Looked:
    """What a method looked at: distinct networks, in order, and which of them may be on its front."""

    archs: tuple[Arch, ...]
    delivered: tuple[Arch, ...]
    verification: dict[str, Any] | None = None


class Stand:
    """A run whose networks are evaluated once, whoever asks."""

    def __init__(self, folder: Path, batch_size: int, calibration_images: int, test_images: int | None) -> None:
        self.run = Run.open(folder)
        self.config = MeasuringConfig(run=str(folder), batch_size=batch_size, calibration_images=calibration_images)
        self.space, self.source = self.run.space(), self.run.load_data()
        latency = self.run.newest_latency()
        if latency is None:
            raise SystemExit(f"{folder}: measure its latency first: ofa measure run={folder}")
        self.costs = costs_of(self.space, latency)
        self.seed = self.run.read_config().seed
        self.device = latency.device
        self._limits = {"holdout": None, "test": test_images}
        self.holdout, self.test = self._store("holdout"), self._store("test")
        # what searches of this run have measured
        for label in open_labels(self.run, self.space, self.source, self.config):
            if label.arch not in self.holdout:
                self.holdout.add(label.arch, label.top1, label.top1_error)
        self._supernet = self.run.load_supernet()
        self._held = HeldBatches()

    def _store(self, part: Literal["holdout", "test"]) -> LabelStore:
        images = len(part_of(self.source, part, self._limits[part]))
        path = self.run.folder / "measured_fronts" / f"{part}.jsonl"
        how = images, self.config.calibration_images, self.config.batch_size
        return LabelStore(path, self.space, self.run.weights_digest(), *how)

    def own_labels(self) -> LabelStore:
        """Labels of one method; it begins with none."""
        return LabelStore(None, self.space, self.run.weights_digest())

    def evaluate(self, archs: list[Arch]) -> Iterator[tuple[float, float]]:
        """Hold-out accuracy and standard error, measured or known."""
        self.fill("holdout", archs)
        for arch in archs:
            label = self.holdout.get(arch)
            assert label is not None
            yield label.top1, label.top1_error

    def fill(self, part: Literal["holdout", "test"], archs: Sequence[Arch]) -> None:
        """Measure what is not known yet."""
        store = getattr(self, part)
        missing = sorted((arch for arch in dict.fromkeys(archs) if arch not in store), key=lambda arch: arch.resolution)
        for chunk in (missing[first : first + AT_ONCE] for first in range(0, len(missing), AT_ONCE)):
            for found in evaluate_archs(
                self._supernet,
                chunk,
                self.source,
                part=part,
                calibration_images=self.config.calibration_images,
                batch_size=self.config.batch_size,
                limit=self._limits[part],
                held=self._held,
            ):
                store.add(found.arch, found.top1, found.top1_error)

    def latency(self, archs: Sequence[Arch]) -> np.ndarray:
        return np.asarray(self.costs["latency_ms"](self.space.encode(list(archs))), dtype=np.float64)


def by_default(stand: Stand, count: int) -> Looked:
    """`ofa search`: half spread, half where the predicted front is."""
    result = search_measured(
        stand.space, stand.evaluate, stand.costs, budget=count, labels=stand.own_labels(), seed=stand.seed
    )
    archs = tuple(member.arch for member in result.evaluated)
    return Looked(archs, archs)


def by_luck(stand: Stand, count: int, most: int) -> Looked:
    """Every choice drawn uniformly; the first of `most` drawn networks, so that counts share their draws."""
    archs = tuple(stand.space.decode(random_codes(stand.space, most, stand.seed)[:count]))
    list(stand.evaluate(list(archs)))
    return Looked(archs, archs)


def by_hand(stand: Stand, count: int | None) -> Looked:
    """Networks whose blocks are all alike: all of them, or `count` evenly by rank of latency."""
    archs = stand.space.decode(uniform_family_codes(stand.space))
    if count is not None:
        ranked = np.argsort(stand.latency(archs), kind="stable")
        archs = [archs[ranked[at]] for at in np.linspace(0, len(archs) - 1, count).round().astype(int)]
    list(stand.evaluate(archs))
    return Looked(tuple(archs), tuple(archs))


def by_prediction(stand: Stand, count: int | None, seed: int | None = None) -> Looked:
    """Spread labels, the predicted front, every network of it measured; half the count for each.

    Without a count: what `ofa search score=predicted verify=true budget=60` does, 60 labels and up to 100 networks.
    """
    labels, seed = stand.own_labels(), stand.seed if seed is None else seed
    spread = collect_labels(
        stand.space,
        stand.evaluate,
        stand.costs["latency_ms"],
        (2 * LABELS if count is None else count) // 2,
        labels,
        seed=seed,
    )
    predicted = search_predicted(stand.space, fitted_predictor(stand.space, labels), stand.costs, seed=seed)
    learnt = [label.arch for label in spread]
    if count is not None:
        new = [member for member in predicted.front if member.arch not in labels]
        if not new:  # a space so small that the predicted front is known
            return Looked(tuple(learnt), ())
        points = np.array([(member.costs["latency_ms"], -member.top1) for member in new])
        front = Front.of(("latency_ms", "error"), (False, False), [member.arch for member in new], points)
        kept = set(reduce_front(front, count - len(learnt)).archs)
        kept_front = tuple(member for member in new if member.arch in kept)
        predicted = replace(predicted, front=kept_front, chosen=None)
    checked = verify(predicted, stand.evaluate, labels)
    delivered = tuple(member.arch for member in checked.evaluated)
    verification = checked.verification.to_dict() if checked.verification else None
    return Looked(tuple(dict.fromkeys((*learnt, *delivered))), delivered, verification)


def methods(stand: Stand, counts: Sequence[int]) -> dict[str, Callable[[], Looked]]:
    """Every method with every count, by the name it has in the tables."""
    family = len(uniform_family_codes(stand.space))
    found: dict[str, Callable[[], Looked]] = {}
    for count in sorted(counts):
        found[f"default search, {count}"] = lambda count=count: by_default(stand, count)
        found[f"random, {count}"] = lambda count=count: by_luck(stand, count, max(counts))
        if count < family:
            found[f"all alike, {count}"] = lambda count=count: by_hand(stand, count)
        found[f"predicted and verified, {count}"] = lambda count=count: by_prediction(stand, count)
    found["all alike, all"] = lambda: by_hand(stand, None)
    found["predicted and verified, 60 + front"] = lambda: by_prediction(stand, None, seed=0)
    return found


def front_of(stand: Stand, archs: Sequence[Arch]) -> list[Arch]:
    """Non-dominated in latency and hold-out accuracy, fastest first; of equals the first."""
    top1 = np.array([hold_out(stand, arch) for arch in archs])
    latency = stand.latency(archs)
    keep = np.flatnonzero(non_dominated(np.stack([latency, -top1], axis=1)))
    order = keep[np.lexsort((-top1[keep], latency[keep]))]
    return [archs[index] for index in order]


def hold_out(stand: Stand, arch: Arch) -> float:
    label = stand.holdout.get(arch)
    assert label is not None
    return label.top1


def measure_run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All methods on one run; the networks of all fronts on the test images."""
    stand = Stand(folder, options.batch_size, options.calibration_images, options.test_images)
    rows: dict[str, Any] = {}
    seen: dict[Arch, None] = {}
    for name, method in methods(stand, options.counts).items():
        looked = method()
        seen |= dict.fromkeys(looked.archs)
        front = front_of(stand, looked.archs)
        rows[name] = {
            "evaluated": len(looked.archs),
            "front": front,
            "front_of_delivered": front_of(stand, looked.delivered) if looked.delivered else [],
            "verification": looked.verification,
        }
        print(f"{folder.name}: {name}: {len(looked.archs)} networks, front of {len(front)}", flush=True)
    stand.fill("test", [arch for row in rows.values() for arch in row["front"]])
    for row in rows.values():
        row["front_of_delivered"] = [point(stand, arch) for arch in row["front_of_delivered"]]
        row["front"] = [point(stand, arch) for arch in row["front"]]
    ends = stand.latency([stand.space.smallest, stand.space.largest])
    return {
        "space": stand.space.name,
        "resolutions": list(stand.space.resolutions),
        "networks": stand.space.size,
        "seed": stand.seed,
        "holdout_images": stand.holdout.images,
        "test_images": stand.test.images,
        "calibration_images": stand.config.calibration_images,
        "batch_size": stand.config.batch_size,
        "circumstances": circumstances(),
        "fastest_ms": float(ends[0]),
        "slowest_ms": float(ends[1]),
        "worst_holdout_top1": min(hold_out(stand, arch) for arch in seen),
        "worst_test_top1": min(label.top1 for label in stand.test),
        "methods": rows,
    }


def point(stand: Stand, arch: Arch) -> dict[str, Any]:
    """A network of a front; test figures where it was evaluated there."""
    holdout, test = stand.holdout.get(arch), stand.test.get(arch)
    assert holdout is not None
    return {
        "name": arch.name,
        "latency_ms": float(stand.latency([arch])[0]),
        "holdout": holdout.top1,
        "holdout_error": holdout.top1_error,
        "test": None if test is None else test.top1,
        "test_error": None if test is None else test.top1_error,
    }


def identity(run: dict[str, Any]) -> tuple[Any, ...]:
    """Space, its resolutions, and the seed last."""
    return (run["space"], *run["resolutions"], run["seed"])


def small_run(folder: Path) -> Path:
    """A supernet of digits after seconds of training, measured hastily."""
    words = ["experiment=digits", f"run={folder}", "epochs=2", "tensorboard=false", "threads=1"]
    train(compose("train", TrainConfig, words))
    measure(MeasureConfig(run=str(folder), rounds=2, calibration_networks=2, validation_networks=2))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of trained and measured runs")
    parser.add_argument("--counts", type=int, nargs="+", default=[24, 60], help="networks that each method looks at")
    parser.add_argument("--batch-size", type=int, default=500, help="of calibration; as of the run's searches")
    parser.add_argument("--calibration-images", type=int, default=1000)
    parser.add_argument("--test-images", type=int, default=None, help="class-balanced; default: all")
    parser.add_argument("--quick", action="store_true", help="seconds, on a run of its own")
    parser.add_argument("--results", type=Path, default=Path(__file__).resolve().parent.parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folders = [small_run(Path(folder) / "digits")] if options.quick else options.runs
        if not folders:
            parser.error("name a run, or use --quick")
        runs = [measure_run(one, options) for one in folders]
    results = options.results / "measured_fronts"
    record = results / "measured_fronts.json"
    known = read_json(record)["runs"] if record.is_file() and not options.quick else []
    everything = {identity(run): run for run in (*known, *runs)}  # a run that was measured again replaces itself
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in everything.values():
        groups.setdefault(identity(run)[:-1], []).append(run)
    summaries = [summarise(group) for group in groups.values()]
    text = "\n\n".join(describe(group, summary) for group, summary in zip(groups.values(), summaries, strict=True))
    print(text)
    if not options.quick:
        results.mkdir(parents=True, exist_ok=True)
        write_json(record, {"summaries": summaries, "runs": list(everything.values())})
        page = results / "README.md"
        said = page.read_text().partition(MARK)[0].rstrip() if page.is_file() else "# Fronts by measured accuracy"
        write_text(page, f"{said}\n\n{MARK}\n\n{text}\n")
        draw(list(groups.values()), results / "fronts.svg")
    figures = {
        f"{group[0]['space']}": {
            name: {
                "evaluated": row["evaluated"],
                "hypervolume_holdout": round(statistics.fmean(row["hypervolume_holdout"]), 3),
                "hypervolume_test": round(statistics.fmean(row["hypervolume_test"]), 3),
            }
            for name, row in summary["methods"].items()
        }
        for group, summary in zip(groups.values(), summaries, strict=True)
    }
    finish({"fronts": figures, "seeds": [len(group) for group in groups.values()]})


if __name__ == "__main__":
    main()
