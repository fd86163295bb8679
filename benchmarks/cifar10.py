"""CIFAR-10 on a CPU: both recipes at the same wall time, judged on the 10,000 test images.

    python benchmarks/cifar10.py DATA_FOLDER [--recipes sandwich progressive_shrinking] [--runs FOLDER] [--quick]

DATA_FOLDER holds the parquet files (train-*.parquet, test-*.parquet). Every run is an ordinary `ofa train`, so an
interrupted one continues. Writes results/cifar10/<recipe>.json (figures, settings, log) and results/cifar10/README.md.
With --quick: digits instead of CIFAR-10, a few seconds, nothing written to results/.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from reporting import circumstances, finish

from onceforall.commands.train import train
from onceforall.configuration import compose, to_yaml
from onceforall.cost import count_macs, count_params
from onceforall.files import write_json, write_text
from onceforall.run import Run
from onceforall.train import evaluate_archs
from onceforall.train.config import TrainConfig

RESULTS = Path(__file__).resolve().parent.parent / "results" / "cifar10"
# Epochs that take 25 minutes on two cores that do nothing else (AMD EPYC with bf16 instructions).
EPOCHS = {"sandwich": 30.0, "progressive_shrinking": 42.0}


def settings(recipe: str, data: Path, folder: Path, epochs: float | None) -> list[str]:
    """The words of the command line."""
    return [
        "experiment=cifar10",
        f"recipe={recipe}",
        f"data.root={data}",
        f"run={folder}",
        f"epochs={epochs or EPOCHS[recipe]:g}",
        "precision=bf16",
        "evaluation.every_epochs=5",
        "evaluation.images=1000",
        "evaluation.random_subnets=1",
        "checkpoint_minutes=10",
        "tensorboard=false",
    ]


def measure(recipe: str, words: list[str], seed: int) -> dict[str, Any]:
    """Train, then evaluate largest, smallest and eight random networks on the test images."""
    config = compose("train", TrainConfig, [*words, f"seed={seed}"])
    before = circumstances()
    begin = time.perf_counter()
    supernet = train(config)
    seconds = time.perf_counter() - begin
    run = Run(Path(str(config.run)))
    space = supernet.space
    archs = [space.largest, space.smallest, *space.sample_many(8, np.random.default_rng(seed))]
    source = run.load_data()
    evaluated = evaluate_archs(supernet, archs, source, part="test", seed=seed)
    macs, params = count_macs(space, archs), count_params(space, archs)
    labels = ["largest", "smallest", *(f"random {number}" for number in range(1, 9))]
    log = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    trained = [line for line in log if line["kind"] == "train"]
    return {
        "recipe": recipe,
        "command": "ofa train " + " ".join(word for word in words if not word.startswith("run=")),
        "seed": seed,
        "minutes": round(trained[-1]["elapsed_s"] / 60, 2),
        "minutes_of_this_call": round(seconds / 60, 2),
        "networks": [
            {
                "label": label,
                "arch": result.arch.to_dict(),
                "top1": round(result.top1, 4),
                "top1_error": round(result.top1_error, 4),
                "macs": int(m),
                "params": int(p),
            }
            for label, result, m, p in zip(labels, evaluated, macs, params, strict=True)
        ],
        "test_images": evaluated[0].images,
        "circumstances": before,
        "config": to_yaml(replace(config, run=None)),
        "log": [line for line in log if line["kind"] != "train"] + trained[:: max(1, len(trained) // 200)],
    }


def anonymous(result: dict[str, Any], data: Path) -> dict[str, Any]:
    """The result without the place of the images on this machine."""
    return {key: v.replace(str(data), "DATA_FOLDER") if isinstance(v, str) else v for key, v in result.items()}


def table(results: list[dict[str, Any]]) -> str:
    """The page a person reads."""
    lines = [
        "# CIFAR-10, 25 minutes on two cores",
        "",
        "Made by `python benchmarks/cifar10.py DATA_FOLDER`. The images are JPEG copies of quality 75, so the figures",
        "compare with each other and not with published ones. Top-1 on 10,000 test images after batch-norm",
        "calibration; settings, machine and log are in the JSON file of each recipe.",
        "",
        "| recipe | minutes | epochs | seed | largest | smallest | random (8) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        top1 = {row["label"]: 100 * row["top1"] for row in result["networks"]}
        random = [value for label, value in top1.items() if label.startswith("random")]
        epochs = next(line.split(":")[1].strip() for line in result["config"].splitlines() if line.startswith("epochs"))
        lines.append(
            f"| {result['recipe']} | {result['minutes']:.1f} | {epochs} | {result['seed']} | {top1['largest']:.2f} | "
            f"{top1['smallest']:.2f} | {min(random):.2f} to {max(random):.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of parquet files")
    parser.add_argument("--recipes", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--epochs", type=float, default=None, help="instead of those that take 25 minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="under a minute on two cores")
    options = parser.parse_args()
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            words = ["experiment=digits", "epochs=2", "tensorboard=false", "evaluation.every_epochs=null"]
            results = [
                measure(recipe, [*words, f"recipe={recipe}", f"run={folder}/{recipe}"], options.seed)
                for recipe in options.recipes
            ]
    else:
        if options.data is None:
            parser.error("DATA_FOLDER is missing")
        results = []
        for recipe in options.recipes:
            words = settings(recipe, options.data, options.runs / f"cifar10_{recipe}", options.epochs)
            results.append(anonymous(measure(recipe, words, options.seed), options.data))
            write_json(RESULTS / f"{recipe}.json", results[-1])
        written = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
        write_text(RESULTS / "README.md", table(written))
    finish(
        {
            result["recipe"]: {row["label"]: row["top1"] for row in result["networks"][:2]}
            | {"minutes": result["minutes"]}
            for result in results
        }
    )


if __name__ == "__main__":
    main()
