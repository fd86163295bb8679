"""How many architectures a second the published accuracy predictor and latency table evaluate, on one core.

    python benchmarks/evaluators.py [--official FOLDER] [--quick]

The tutorial's predictor and the Note10 table of the official Once-for-All project, both asked for the same codes of
mbv3_w1.2: in batches, and one architecture at a time as a plain program would (layer keys looked up in a dictionary and
added, one prediction each). Every figure is the best of several rounds, taken in turn, in seconds of processor time:
one thread, so other programs on the machine count less.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from reporting import finish

from onceforall.interop.official import (
    LatencyTable,
    PublishedPredictor,
    layer_keys,
    load_accuracy_predictor,
    load_latency_table,
)
from onceforall.space import SearchSpace

BATCHES = (2000, 100)


def in_batches(functions: list[Callable], codes: np.ndarray, size: int) -> Callable[[], None]:
    """Evaluates all codes by all functions, `size` rows at a time."""

    def run() -> None:
        for first in range(0, len(codes), size):
            for function in functions:
                function(codes[first : first + size])

    return run


def one_at_a_time(table: LatencyTable, predictor: PublishedPredictor, codes: np.ndarray) -> Callable[[], None]:
    """Evaluates each architecture for itself, its latency as a sum over a dictionary of layers."""
    archs = table.space.decode(codes)

    def run() -> None:
        for arch in archs:
            known = table.milliseconds[arch.resolution]
            sum(known[key] for key in layer_keys(table.space, arch))
            predictor.predict([arch])

    return run


def as_torch(predictor: PublishedPredictor, codes: np.ndarray, size: int) -> Callable[[], None]:
    """The same perceptron by torch, which `PublishedPredictor` might use instead of numpy."""
    layers = [(torch.from_numpy(w.T.copy()).float(), torch.from_numpy(b).float()) for w, b in predictor.layers]

    @torch.inference_mode()
    def run() -> None:
        for first in range(0, len(codes), size):
            values = torch.from_numpy(np.ascontiguousarray(predictor.encoder.encode(codes[first : first + size])))
            for weight, bias in layers[:-1]:
                values = torch.addmm(bias, values, weight).relu_()
            torch.addmm(layers[-1][1], values, layers[-1][0])

    return run


def rates(runs: dict[str, tuple[int, Callable[[], None]]], rounds: int) -> dict[str, int]:
    """Architectures per second of every run, the best of `rounds` that take turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _, run in runs.values():
        run()  # tables are built, caches warmed
    for _ in range(rounds):
        for name, (_, run) in runs.items():
            begin = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - begin)
    return {name: round(count / best[name]) for name, (count, _) in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parent.parent.parent / "shared"
    parser.add_argument("--official", type=Path, default=shared / "official", help="folder of the published files")
    parser.add_argument("--quick", action="store_true", help="a few seconds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds, count = (5, 4000) if options.quick else (30, 20000)
    table = load_latency_table(options.official / "note10")
    space: SearchSpace = table.space
    predictor = load_accuracy_predictor(options.official / "acc_predictor.pth", space)
    exact = load_accuracy_predictor(options.official / "acc_predictor.pth", space, dtype=np.float64)
    codes = space.sample_codes(count, np.random.default_rng(0))
    few = codes[:200]
    runs = {"one at a time": (len(few), one_at_a_time(table, predictor, few))}
    for size in BATCHES:
        runs |= {
            f"both, batches of {size}": (count, in_batches([table.predict, predictor.predict], codes, size)),
            f"both in float64, batches of {size}": (count, in_batches([table.predict, exact.predict], codes, size)),
            f"latency, batches of {size}": (count, in_batches([table.predict], codes, size)),
            f"predictor, batches of {size}": (count, in_batches([predictor.predict], codes, size)),
            f"predictor by torch, batches of {size}": (count, as_torch(predictor, codes, size)),
        }
    measured = rates(runs, rounds)
    ratios = {
        f"batches of {size}": round(measured[f"both, batches of {size}"] / measured["one at a time"], 1)
        for size in BATCHES
    }
    for name, rate in measured.items():
        print(f"  {name:40s} {rate:12,d} architectures/s")
    print("  over one at a time: " + ", ".join(f"{name} {ratio}" for name, ratio in ratios.items()))
    finish({"space": space.name, "architectures_per_second": measured, "over_one_at_a_time": ratios})


if __name__ == "__main__":
    main()
