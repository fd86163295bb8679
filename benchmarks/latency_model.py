"""How well a latency model predicts whole networks it has not seen, on this machine.

    python benchmarks/latency_model.py [--supernet mbv3_w1.0] [--resolutions 224] [--exported] [--quick]

Measures the table of parts and a few whole networks of a space, fits the model on 5 of them, and compares it with the
others, next to a straight line through MACs and to what measuring the same networks twice gives. Meant for an idle
machine. The last line is one JSON object.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reporting import circumstances, finish

from onceforall.cost import LatencyModel, Timing, build_latency_model, count_macs
from onceforall.deploy import export_onnx
from onceforall.files import write_json
from onceforall.space import Arch
from onceforall.supernets import create_supernet


def main() -> None:
    """Measure, print a table for people and one line for programs."""
    options = parse()
    supernet = create_supernet(options.supernet, resolutions=options.resolutions)
    before = circumstances()["load_average"]
    start = time.perf_counter()

    def export(arch: Arch, path: Path) -> None:
        channels, classes = supernet.space.layout.in_chans, supernet.space.layout.num_classes
        export_onnx(
            supernet.extract(arch),
            path,
            resolution=arch.resolution,
            in_chans=channels,
            classes=[str(index) for index in range(classes)],
            mean=[0.5] * channels,
            std=[0.25] * channels,
        )

    model = build_latency_model(
        supernet,
        threads=options.threads,
        batch=options.batch,
        calibration_networks=options.calibration,
        validation_networks=options.networks,
        seed=options.seed,
        timing=Timing(rounds=options.rounds),
        export=export if options.exported else None,
        progress=lambda done, total: print(f"\rround {done} of {total}", end="", flush=True),
    )
    seconds = time.perf_counter() - start
    print()
    show(model)
    figures = {
        "supernet": options.supernet,
        "resolutions": options.resolutions,
        "threads": options.threads,
        "batch": options.batch,
        "exported": options.exported,
        "seed": options.seed,
        **summary(model),
        **rates(model),
        "seconds": round(seconds, 1),
        "load_average_before": before,
        "runtime": model.runtime,
    }
    if options.out:
        write_json(options.out, {**figures, "circumstances": circumstances(), "model": model.to_dict()})
    finish(figures)


def parse() -> argparse.Namespace:
    """Options of the command line; `--quick` takes a small space and few rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="mbv3_small at 32 px, 10 networks, 5 rounds: seconds")
    parser.add_argument("--supernet", default="mbv3_w1.0")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[224], help="pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--calibration", type=int, default=5, help="whole networks to fit on")
    parser.add_argument("--networks", type=int, default=25, help="whole networks to compare with")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--exported", action="store_true", help="whole networks through extract() and export_onnx()")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures and the whole model")
    options = parser.parse_args()
    if options.quick:
        options.supernet, options.resolutions, options.networks, options.rounds = "mbv3_small", [32], 10, 5
    return options


def show(model: LatencyModel) -> None:
    """Print every network, measured and predicted."""
    assert model.validation
    for title, networks in (("fitted on", model.calibration), ("held back", model.validation.networks)):
        print(f"{title:24} measured ms  predicted ms  error")
        for network in sorted(networks, key=lambda network: network.measured_ms):
            error = network.predicted_ms / network.measured_ms - 1
            print(f"  {network.arch.name:22} {network.measured_ms:11.3f}  {network.predicted_ms:12.3f}  {error:+6.1%}")
    found = model.validation
    print(f"held back: {found.mape:.2%} mean error, Kendall tau {found.kendall_tau}, MACs alone {found.macs_mape:.2%},")
    print(f"the same networks measured twice differ by {found.repeatability:.2%}")


def summary(model: LatencyModel) -> dict[str, float | int | None]:
    """The figures of agreement; errors are fractions."""
    assert model.validation
    return {
        "mape": model.validation.mape,
        "kendall_tau": model.validation.kendall_tau,
        "macs_mape": model.validation.macs_mape,
        "repeatability": model.validation.repeatability,
        "scale": model.scale,
        "offset_ms": model.offset_ms,
        "calibration_networks": len(model.calibration),
        "validation_networks": len(model.validation.networks),
        "table_entries": len(model.entries),
    }


def rates(model: LatencyModel) -> dict[str, float]:
    """Architectures per second of one core through the model and through the count of MACs."""
    codes = model.space.sample_codes(200_000, np.random.default_rng(0))
    found = {}
    for name, cost in (("latency", model.predict), ("macs", lambda codes: count_macs(model.space, codes))):
        found[f"{name}_archs_per_second"] = len(codes) / best_seconds(cost, codes)
    return found


def best_seconds(cost: Callable[[NDArray[np.int64]], NDArray[Any]], codes: NDArray[np.int64]) -> float:
    """Shortest of three processor times of one call."""
    cost(codes[:1])
    seconds = []
    for _ in range(3):
        start = time.process_time()
        cost(codes)
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
