"""The CIFAR-10 re-implementation: its four phases and its table of eight networks, on 10,000 test images.

    python benchmarks/kdw.py DATA_FOLDER [--preset kdw|kdw_verbatim] [--processes N] [--runs FOLDER] [--quick]

DATA_FOLDER holds the parquet files (train-*.parquet, test-*.parquet). Training and the table are ordinary `ofa`
commands, one thread a process, so an interrupted training continues. Writes results/kdw/<preset>.json (figures,
settings, log) and results/kdw/README.md. With --quick: digits at 8x8 pixels, nothing written to results/.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from reporting import circumstances, finish

from onceforall.files import write_json, write_text
from onceforall.run import Run

RESULTS = Path(__file__).resolve().parent.parent / "results" / "kdw"
# What the original reports for (k, d, w): before and after 25 epochs of fine-tuning.
PUBLISHED = {
    (5, 2, 2): (0.1003, 0.1551),
    (5, 2, 4): (0.1011, 0.1759),
    (5, 3, 2): (0.0947, 0.1005),
    (5, 3, 4): (0.1006, 0.1021),
    (7, 2, 2): (0.1058, 0.1736),
    (7, 2, 4): (0.1213, 0.1666),
    (7, 3, 2): (0.0980, 0.1000),
    (7, 3, 4): (0.1126, 0.1015),
}
# Sized so that two cores of an AMD EPYC with bf16 instructions need about half an hour; `kdw` alone would take a day.
SHORT = {
    "kdw": [
        "batch_size=64",
        "recipe.phases.full.epochs=4",
        "recipe.phases.full.warmup_epochs=0.4",
        "recipe.phases.kernel.epochs=0.5",
        "recipe.phases.kernel.warmup_epochs=0.05",
        "recipe.phases.depth.epochs=1",
        "recipe.phases.depth.warmup_epochs=0.05",
        "recipe.phases.width.epochs=3",
        "recipe.phases.width.warmup_epochs=0.1",
        "recipe.phases.width.learning_rate_factor=0.5",
    ],
    "kdw_verbatim": ["epochs=1.5", "data.max_train=25000"],
}
FINETUNE_EPOCHS = {"kdw": 0.3, "kdw_verbatim": 0.05}
FINETUNE_WORDS = {"kdw": [], "kdw_verbatim": ["finetune_learning_rate=2e-5"]}


def ofa(words: list[str], processes: int = 1) -> None:
    """Run one command; several processes share its images."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launcher, "-m", "onceforall", *words], check=True, env=environment)


def processor_minutes() -> float:
    """Time that finished commands have kept a core busy."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) / 60


def measure(preset: str, words: list[str], folder: Path, processes: int, finetune_epochs: float) -> dict[str, Any]:
    """Train, then the table; minutes are those of this call."""
    before = circumstances()
    began, busy = time.perf_counter(), processor_minutes()
    ofa(["train", f"experiment=cifar10/{preset}", f"run={folder}", *words], processes)
    trained = {
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "core_minutes": round(processor_minutes() - busy, 1),
    }
    table = folder / "table.json"
    finetuned = [f"finetune_epochs={finetune_epochs:g}", *FINETUNE_WORDS[preset]]
    ofa(["evaluate", f"run={folder}", "all=true", *finetuned, f"out={table}"])
    run = Run(folder)
    log = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    steps = [line for line in log if line["kind"] == "train"]
    return {
        "preset": preset,
        "command": f"ofa train experiment=cifar10/{preset} " + " ".join(words),
        "seed": run.read_config().seed,
        "processes": processes,
        "training": trained,
        "finetune_epochs": finetune_epochs,
        "networks": [row(entry) for entry in json.loads(table.read_text())],
        "circumstances": before,
        "config": run.config_path.read_text(),
        "log": [line for line in log if line["kind"] != "train"] + steps[:: max(1, len(steps) // 200)],
    }


def row(entry: dict[str, Any]) -> dict[str, Any]:
    """One network of the table."""
    (stage,) = entry["arch"]["stages"]
    kept = ("name", "macs", "params", "top1", "top1_error", "finetuned_top1", "images", "calibration_images")
    config = [stage["kernel_sizes"][0], len(stage["kernel_sizes"]), stage["expand_ratios"][0]]
    return {"config": config, **{key: entry[key] for key in kept}}


def page(results: list[dict[str, Any]]) -> str:
    """The page a person reads."""
    lines = [
        "# The CIFAR-10 re-implementation: eight networks (k, d, w)",
        "",
        "Made by `python benchmarks/kdw.py DATA_FOLDER`. The images are JPEG copies of quality 75. Top-1 in % on",
        "10,000 test images (one standard error: 0.5 or less), batch norm calibrated on 2,000 training images. MACs of",
        "one image; the published table counts two. *Original* is what that project reports; *fine-tuned* is every",
        "network trained alone for a while: 25 epochs there, what is given below here. Settings and log are in the",
        "JSON file of each preset.",
    ]
    for result in results:
        lines += ["", f"## `{result['preset']}`", "", describe(result), ""]
        lines += [
            "| k, d, w | MACs | top-1 | fine-tuned | original | original, fine-tuned |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for network in sorted(result["networks"], key=lambda network: network["config"]):
            before, after = PUBLISHED[tuple(network["config"])]
            numbers = (network["top1"], network["finetuned_top1"], before, after)
            cells = " | ".join(f"{100 * number:.2f}" for number in numbers)
            lines.append(f"| {', '.join(map(str, network['config']))} | {network['macs'] / 1e6:.2f} M | {cells} |")
    return "\n".join(lines) + "\n"


def describe(result: dict[str, Any]) -> str:
    """Command and budget in a few lines."""
    training = result["training"]
    return (
        f"`{result['command']}`\n\n"
        f"Seed {result['seed']}; training took {training['core_minutes']:.0f} core-minutes "
        f"({training['minutes']:.0f} minutes in {result['processes']} processes on two cores shared with other work); "
        f"fine-tuning: {result['finetune_epochs']:g} epochs each."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of parquet files")
    parser.add_argument("--preset", default="kdw", choices=list(SHORT))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="under a minute on two cores")
    options = parser.parse_args()
    common = ["tensorboard=false", "evaluation.random_subnets=0"]
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            words = [*common, "data.source=digits", "space.resolutions=[8]", "epochs=1", "evaluation.every_epochs=null"]
            result = measure(options.preset, words, Path(folder) / "run", options.processes, 0.2)
    else:
        if options.data is None:
            parser.error("DATA_FOLDER is missing")
        words = [*common, *SHORT[options.preset], f"seed={options.seed}", f"data.root={options.data}"]
        words += ["data.holdout=1000", "precision=bf16", "evaluation.every_epochs=2", "evaluation.images=1000"]
        words += ["evaluation.calibration_images=1000", "checkpoint_minutes=3"]
        folder = options.runs / options.preset
        result = measure(options.preset, words, folder, options.processes, FINETUNE_EPOCHS[options.preset])
        hidden = {str(options.data.absolute()): "DATA_FOLDER", str(options.data): "DATA_FOLDER"}
        hidden |= {str(folder): "RUN_FOLDER"}
        for place, name in hidden.items():
            result |= {key: result[key].replace(place, name) for key in ("command", "config")}
        write_json(RESULTS / f"{options.preset}.json", result)
        written = [RESULTS / f"{preset}.json" for preset in SHORT]
        write_text(RESULTS / "README.md", page([json.loads(path.read_text()) for path in written if path.is_file()]))
    finish(
        {
            "preset": result["preset"],
            **result["training"],
            "top1": {",".join(map(str, network["config"])): network["top1"] for network in result["networks"]},
        }
    )


if __name__ == "__main__":
    main()
