"""The tables and the figure of `measured_fronts.py`."""

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LEVELS = 5  # latencies at which top-1 is told, evenly in log from the fastest network (left out) to the slowest
BEYOND = 1.1  # of the slowest network's latency: where hypervolume ends


def area(front: list[dict[str, Any]], part: str, end: float, worst: float) -> float:
    """Milliseconds times points of top-1 above `worst` up to the latency `end`.

    At each latency counts the network that the hold-out prefers among the front's; with part="holdout" this is the
    hypervolume, with part="test" nothing is chosen a second time by test accuracy.
    """
    ends = [*(member["latency_ms"] for member in front[1:]), end] if front else []
    return sum(
        max(0.0, stop - member["latency_ms"]) * 100 * (member[part] - worst)
        for member, stop in zip(front, ends, strict=True)
    )


def at(front: list[dict[str, Any]], part: str, limit: float) -> float | None:
    """Top-1 of the network that the hold-out prefers within a limit."""
    within = [member for member in front if member["latency_ms"] <= limit * (1 + 1e-9)]
    return within[-1][part] if within else None


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Seeds of one space together: one reference for all, mean, range."""
    fastest, slowest = runs[0]["fastest_ms"], max(run["slowest_ms"] for run in runs)
    levels = [fastest * (slowest / fastest) ** (step / LEVELS) for step in range(1, LEVELS + 1)]
    end = BEYOND * slowest
    worst = {part: min(run[f"worst_{part}_top1"] for run in runs) for part in ("holdout", "test")}
    found: dict[str, Any] = {
        "reference": {"latency_ms": end, **{f"{part}_top1": worst[part] for part in worst}},
        "levels_ms": levels,
        "methods": {},
    }
    for name in runs[0]["methods"]:
        fronts = [run["methods"][name]["front"] for run in runs]
        row: dict[str, Any] = {"evaluated": [run["methods"][name]["evaluated"] for run in runs]}
        for part in ("holdout", "test"):
            row[f"hypervolume_{part}"] = [area(front, part, end, worst[part]) for front in fronts]
            row[f"top1_{part}"] = [[at(front, part, level) for front in fronts] for level in levels]
        row["flattered"] = [statistics.fmean(m["holdout"] - m["test"] for m in front) for front in fronts]
        row["hypervolume_of_delivered"] = [
            area(run["methods"][name]["front_of_delivered"], "holdout", end, worst["holdout"]) for run in runs
        ]
        row["members"] = [len(front) for front in fronts]
        row["verification"] = [run["methods"][name]["verification"] for run in runs]
        found["methods"][name] = row
    return found


def spread(values: Sequence[float], digits: int, factor: float = 1.0) -> str:
    """Mean and range."""
    scaled = [factor * value for value in values]
    low, high = min(scaled), max(scaled)
    return f"{statistics.fmean(scaled):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(summary: dict[str, Any]) -> str:
    """Hypervolumes, and top-1 at five latencies, hold-out / test."""
    levels = summary["levels_ms"]
    header = ["method, networks", "HV hold-out (range)", "HV test (range)", "front"]
    header += [f"{level:.3f} ms" for level in levels]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name, row in summary["methods"].items():
        cells = [name, spread(row["hypervolume_holdout"], 3), spread(row["hypervolume_test"], 3)]
        cells.append(f"{statistics.fmean(row['members']):.0f}")
        for holdout, test in zip(row["top1_holdout"], row["top1_test"], strict=True):
            both = [(h, t) for h, t in zip(holdout, test, strict=True) if h is not None]
            cells.append(
                f"{100 * statistics.fmean(h for h, _ in both):.1f} / {100 * statistics.fmean(t for _, t in both):.1f}"
                + ("" if len(both) == len(holdout) else f" ({len(both)} of {len(holdout)})")
                if both
                else "-"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(summary: dict[str, Any]) -> str:
    """Each method against random search with as many networks, seed by seed."""
    lines = ["| against random search | HV hold-out, seed by seed | HV test, seed by seed |", "|---|---|---|"]
    for name, row in summary["methods"].items():
        alike = name == "all alike, all"
        count = row["evaluated"][0] if alike else name.rpartition(", ")[2]
        other = summary["methods"].get(f"random, {count}")
        if other is None or other is row:
            continue
        cells = [
            ", ".join(f"{a - b:+.3f}" for a, b in zip(row[key], other[key], strict=True))
            for key in ("hypervolume_holdout", "hypervolume_test")
        ]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def verifications(summary: dict[str, Any]) -> str:
    """Predicted against measured."""
    lines = [
        "| seed by seed | networks | predicted minus measured, points | mean distance | Kendall tau | in two bars |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in summary["methods"].items():
        found = [one for one in row["verification"] if one is not None]
        if not found:
            continue
        columns = [
            [str(one["networks"]) for one in found],
            [f"{100 * one['mean_error']:+.2f}" for one in found],
            [f"{100 * one['mean_absolute_error']:.2f}" for one in found],
            ["-" if one["kendall_tau"] is None else f"{one['kendall_tau']:.2f}" for one in found],
            [f"{100 * one['within']:.0f} %" for one in found],
        ]
        lines.append(f"| {name} | " + " | ".join(", ".join(column) for column in columns) + " |")
    return "\n".join(lines)


def describe(runs: list[dict[str, Any]], summary: dict[str, Any]) -> str:
    """One space: its heading, settings and tables."""
    one, reference = runs[0], summary["reference"]
    resolutions = ", ".join(map(str, one["resolutions"]))
    return "\n".join(
        [
            f"## {one['space']} at {resolutions} px, {len(runs)} seeds",
            "",
            f"{one['networks']:,} networks; {one['holdout_images']:,} hold-out and {one['test_images']:,} test images; "
            f"calibration on {one['calibration_images']:,} training images, {one['batch_size']} at a time. "
            f"Reference: {reference['latency_ms']:.3f} ms and top-1 {100 * reference['holdout_top1']:.1f} % on the "
            f"hold-out, {100 * reference['test_top1']:.1f} % on the test images.",
            "",
            table(summary),
            "",
            differences(summary),
            "",
            verifications(summary),
        ]
    )


def draw(groups: list[list[dict[str, Any]]], path: Path) -> None:
    """Fronts of all seeds: what the hold-out says, and the same networks on the test images."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "measured fronts"
    figure, axes = pyplot.subplots(
        len(groups), 2, figsize=(11, 4 * len(groups)), layout="constrained", squeeze=False, sharey=False
    )
    for row, runs in zip(axes, groups, strict=True):
        most = max(int(name.rpartition(", ")[2]) for name in runs[0]["methods"] if name.startswith("random"))
        wanted = {
            f"default search, {most}": "tab:red",
            f"predicted and verified, {most}": "tab:blue",
            f"random, {most}": "tab:gray",
            "all alike, all": "tab:green",
        }
        for (name, colour), (axis, part) in itertools.product(
            wanted.items(), zip(row, ("holdout", "test"), strict=True)
        ):
            for index, run in enumerate(runs):
                front = run["methods"][name]["front"]
                latency = [member["latency_ms"] for member in front]
                values = [100 * member[part] for member in front]
                label = name if index == 0 else None
                axis.step(latency, values, where="post", color=colour, linewidth=1, label=label)
                axis.plot(latency, values, ".", color=colour, markersize=3)
        for axis, part in zip(row, ("hold-out, which chose them", "test, the same networks"), strict=True):
            axis.set(xlabel="latency, ms", ylabel="top-1, %", title=f"{runs[0]['space']}: {part}")
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
