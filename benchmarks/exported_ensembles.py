"""Measured latency of exported ensembles beside what was promised, on this machine.

    python benchmarks/exported_ensembles.py RUN [--ensembles 6] [--results FOLDER]

RUN has ensembles (`ofa ensemble run=RUN`). Of each rule some are exported as `ofa export ensemble=...` does: one file
whose members run one after the other for summed latency, a file for each member for maximal latency, all started
together. The latter are those for which this machine has a core each, and the last one, whose members may have to wait
for each other. Single networks that stand where no ensemble does are left out. Measure on an idle machine. The last
line is JSON. `--quick` makes a small run of digits first.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from reporting import circumstances, finish

from onceforall import cli
from onceforall.commands.ensemble import EnsembleConfig, ensemble
from onceforall.commands.export import ExportConfig, export
from onceforall.cost import describe_machine
from onceforall.files import read_json, write_json, write_text
from onceforall.run import Run

COLUMNS = ("ensemble", "members", "promised, ms", "measured, ms", "measured − promised", "cores for all")


def measured(folder: Path, most: int) -> list[dict[str, Any]]:
    """One row per exported ensemble, by rule and rising latency."""
    rows, cores = [], describe_machine()["usable_cores"]
    for rule, front in read_json(Run(folder).ensembles_path("ensembles"))["rules"].items():
        entries = [entry for entry in front["ensembles"]["members"] if len(entry["networks"]) > 1]
        fitting = [entry for entry in entries if rule == "summed" or len(entry["networks"]) <= cores]
        spread = np.linspace(0, len(fitting) - 1, most).round().astype(int) if fitting else []
        chosen = {entry["name"]: entry for entry in [*(fitting[k] for k in spread), *entries[-1:]]}
        for entry in chosen.values():
            (record,) = export(ExportConfig(run=str(folder), ensemble=entry["name"], images=16))
            rows.append(
                {
                    "rule": rule,
                    "ensemble": entry["name"],
                    "members": len(entry["networks"]),
                    "promised_ms": record["promised_latency_ms"],
                    "measured_ms": record["latency_ms"],
                    "enough_cores": rule == "summed" or len(entry["networks"]) * record["threads"] <= record["cores"],
                }
            )
    return rows


def page(run: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Exported ensembles: promised and measured latency",
        "",
        f"`python benchmarks/exported_ensembles.py {run}`; machine and commit in the JSON file. ONNX Runtime, one",
        "thread a member. Summed: one file, members one after the other. Maximal: a file a member, started together;",
        "with fewer cores than members they wait for each other.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    for row in rows:
        more = row["measured_ms"] - row["promised_ms"]
        cells = [row["ensemble"], row["members"], f"{row['promised_ms']:.3f}", f"{row['measured_ms']:.3f}"]
        cells += [f"{more:+.3f}", "yes" if row["enough_cores"] else "no"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def example(folder: Path) -> None:
    """A small run of digits with ensembles."""
    run = f"run={folder}"
    train = ["epochs=1", "space.resolutions=[8,16]", "tensorboard=false", "threads=1"]
    measure = ["rounds=2", "calibration_networks=2", "validation_networks=2"]
    for words in (["train", "experiment=digits", *train], ["measure", *measure], ["search", "budget=6"]):
        if cli.main([*words, run]):
            raise SystemExit(f"ofa {words[0]} failed")
    ensemble(EnsembleConfig(run=str(folder), networks=4, calibration_images=50, at_least=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run with ensembles")
    parser.add_argument("--ensembles", type=int, default=6, help="most of each rule")
    parser.add_argument("--results", type=Path, help="folder for exported_RUN.json and exported_RUN.md")
    parser.add_argument("--quick", action="store_true", help="a small run of digits, one ensemble of each rule")
    options = parser.parse_args()
    if options.run is None and not options.quick:
        parser.error("RUN is missing; --quick needs none")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"  # so that the exported files do not stay
        if options.run is None:
            example(folder)
        else:
            shutil.copytree(options.run, folder)
        rows = measured(folder, 1 if options.quick else options.ensembles)
    name = options.run.name if options.run else "--quick"
    text = page(name, rows)
    print(text)
    if options.results is not None:
        record = {"run": name, "circumstances": circumstances(), "rows": rows}
        write_json(options.results / f"exported_{name}.json", record)
        write_text(options.results / f"exported_{name}.md", text)
    finish({"ensembles": rows})


if __name__ == "__main__":
    main()
