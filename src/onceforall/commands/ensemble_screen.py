"""How ensembles are shown: beside the best single network within the same latency."""

from typing import Any

import numpy as np

from ..search.ensemble.delivery import entry_within
from .screen import console, milliseconds, percent, table

_LIMITS = 5
_COLUMNS = ("within", "single network", "ensemble", "gain, hold-out", "gain", "members", "name")
WORDS = {"summed": "one after the other", "maximal": "side by side"}


def print_ensembles(found: dict[str, Any], title: str) -> None:
    """For each rule, what an ensemble gains within five latencies, and the hypervolumes of the fronts."""
    part, images = ("test", found["test_images"]) if found["test_images"] else ("holdout", found["holdout_images"])
    views = list(dict.fromkeys(network["view"] for network in found["networks"]))
    networks = f"{len(found['networks']) // len(views)} networks"
    networks += f" ({', '.join(views)})" if len(views) > 1 else ""
    out = console()
    for rule, record in found["rules"].items():
        rows = [_row(record, limit, part) for limit in limits_of(record)]
        heading = f"{title}: members {WORDS[rule]}, {len(record['ensembles']['members'])} ensembles of "
        heading += f"{networks}; {part} top-1 on {images:,} images"
        out.print(table(heading, _COLUMNS, rows))
        volumes = [record[kind][f"{part}_hypervolume"] for kind in ("singles", "ensembles")]
        reference = f"{milliseconds(record['reference'][0])}, {record['reference'][1]:.1f} % error"
        out.print(
            f"hypervolume towards ({reference}): single networks {volumes[0]:.2f}, with ensembles {volumes[1]:.2f}; "
            f"{record['evaluations']:,} ensembles looked at in {record['seconds']:.1f} s"
        )


def limits_of(record: dict[str, Any]) -> list[float]:
    """Five latencies in ms, in equal ratios, above the fastest and up to the slowest of both fronts."""
    latencies = [entry["latency_ms"] for kind in ("singles", "ensembles") for entry in record[kind]["members"]]
    return np.geomspace(min(latencies), max(latencies), _LIMITS + 1)[1:].tolist()


def _row(record: dict[str, Any], limit: float, part: str) -> tuple[str, ...]:
    single, one = (
        entry_within(record[kind]["members"], limit * (1 + 1e-9))  # the last limit is the latency of one of them
        for kind in ("singles", "ensembles")
    )
    if single is None or one is None:
        return (milliseconds(limit), *("-" for _ in _COLUMNS[1:]))
    top1, error = f"{part}_top1", f"{part}_top1_error"
    gains = [100 * (one[key] - single[key]) for key in ("holdout_top1", top1)]
    return (
        milliseconds(limit),
        percent(single[top1], single[error]),
        percent(one[top1], one[error]),
        *(f"{gain:+.2f}" for gain in gains),
        str(len(one["networks"])),
        one["name"],
    )
