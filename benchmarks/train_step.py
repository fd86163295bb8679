"""What elasticity costs: a training step of `supernet(x, arch)` against the extracted static network.

    python benchmarks/train_step.py [--space resnet_small] [--quick]

Both do forward, backward and the update on the same images, taking turns in one process; the ratio of a pair is
formed within a round and the median over rounds is reported. Peak memory is the high-water mark of tensors during a
sandwich step (largest, smallest, two random) and during a step of the static largest network.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from reporting import finish
from torch import nn

from onceforall.space import Arch
from onceforall.supernets import Supernet, create_supernet
from onceforall.train.config import OptimizerConfig
from onceforall.train.optimizer import create_optimizer
from onceforall.train.phases import Objective
from onceforall.train.step import train_step

LABELS_ONLY = Objective()
IN_PLACE = Objective(distill="inplace")


class Stepper:
    """One network with its optimizer, able to take a training step on given images."""

    def __init__(self, network: nn.Module, device: str, precision: str) -> None:
        self.network = network.train().to(device, memory_format=torch.channels_last)
        self.optimizer = create_optimizer(self.network, OptimizerConfig())
        self.dtype = torch.bfloat16 if precision == "bf16" else None

    def step(self, images, labels, archs: tuple[Arch | None, ...], objective: Objective) -> float:
        """Seconds of one step."""
        begin = time.perf_counter()
        train_step(self.network, self.optimizer, images, labels, archs, objective, autocast_dtype=self.dtype)
        if images.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - begin


def ratios(supernet: Supernet, archs: dict[str, Arch], images, labels, rounds: int, precision: str) -> dict:
    """Per architecture: images per second of both, and the median over rounds of elastic over static speed."""
    device = str(images.device)
    elastic = Stepper(supernet, device, precision)
    result = {}
    for label, arch in archs.items():
        static = Stepper(supernet.extract(arch), device, precision)
        seconds: list[tuple[float, float]] = []
        for turn in range(rounds + 2):
            pair = [(0, elastic, arch), (1, static, None)]
            times = [0.0, 0.0]
            for index, stepper, choice in pair if turn % 2 else reversed(pair):
                times[index] = stepper.step(images, labels, (choice,), LABELS_ONLY)
            if turn >= 2:  # the first two rounds warm caches and allocators up
                seconds.append((times[0], times[1]))
        count = len(images)
        result[label] = {
            "elastic_images_per_second": round(count / statistics.median(e for e, _ in seconds), 1),
            "static_images_per_second": round(count / statistics.median(s for _, s in seconds), 1),
            "elastic_over_static": round(statistics.median(s / e for e, s in seconds), 4),
        }
    return result


def peak_bytes(network: nn.Module, images, labels, archs: tuple[Arch | None, ...], precision: str) -> int:
    """High-water mark in bytes of all tensors alive during a second step (the first creates the optimizer's state)."""
    objective = IN_PLACE if len(archs) > 1 else LABELS_ONLY
    stepper = Stepper(network, str(images.device), precision)
    if images.is_cuda:
        stepper.step(images, labels, archs, objective)
        torch.cuda.reset_peak_memory_stats()
        stepper.step(images, labels, archs, objective)
        return torch.cuda.max_memory_allocated()
    stepper.step(images, labels, archs, objective)
    held = sum(t.numel() * t.element_size() for t in stepper.network.state_dict().values())
    held += sum(t.numel() * t.element_size() for s in stepper.optimizer.state.values() for t in s.values())
    held += sum(p.numel() * p.element_size() for p in stepper.network.parameters() if p.grad is not None)
    stepper.optimizer.zero_grad(set_to_none=False)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        stepper.step(images, labels, archs, objective)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    alive = peak = 0
    for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"]):
        alive += int(event["args"]["Bytes"])
        peak = max(peak, alive)
    return held + peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="resnet_small")
    parser.add_argument("--resolution", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="under a minute on two cores")
    options = parser.parse_args()
    if options.quick:
        options.batch_size, options.rounds = 64, 7
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    supernet = create_supernet(options.space, num_classes=10)
    supernet.reset_parameters(seed=0)
    space = supernet.space
    side = options.resolution or space.resolutions[-1]
    images = torch.randn(options.batch_size, 3, side, side, device=options.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (options.batch_size,), device=options.device)
    drawn = space.sample_many(3, np.random.default_rng(0))
    archs = {"largest": space.largest, "smallest": space.smallest}
    archs |= {f"random {number}": arch for number, arch in enumerate(drawn, start=1)}
    speeds = ratios(supernet, archs, images, labels, options.rounds, options.precision)
    print(f"{options.space}, {side} px, batch {options.batch_size}, {options.precision}")
    for label, row in speeds.items():
        print(
            f"  {label:9s} elastic {row['elastic_images_per_second']:9.1f}/s   "
            f"static {row['static_images_per_second']:9.1f}/s   ratio {row['elastic_over_static']:.3f}"
        )
    sandwich = (space.largest, space.smallest, *drawn[:2])
    elastic_peak = peak_bytes(supernet, images, labels, sandwich, options.precision)
    static_peak = peak_bytes(supernet.extract(space.largest), images, labels, (None,), options.precision)
    print(f"  peak memory: sandwich step {elastic_peak / 2**20:.1f} MiB, static {static_peak / 2**20:.1f} MiB")
    finish(
        {
            "space": options.space,
            "batch_size": options.batch_size,
            "precision": options.precision,
            "elastic_over_static_median": statistics.median(r["elastic_over_static"] for r in speeds.values()),
            "peak_memory_ratio": round(elastic_peak / static_peak, 4),
            "networks": speeds,
        }
    )


if __name__ == "__main__":
    main()
