"""The file `ofa ensemble` leaves, made by a real selection from predictions that are made up."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onceforall.files import write_json
from onceforall.report.reading import Record
from onceforall.search import hypervolume
from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.ensembles import RULES, EnsembleFront, front_of
from onceforall.search.ensemble.selection import select_ensembles
from onceforall.search.ensemble.votes import VoteTable

from ..search.ensemble.tables_of_numbers import front_like_table

_CLASSES = 10
_IMAGES = 500  # of each part


def write_synthetic_ensembles(folder: Path, members: list[Record]) -> None:
    """Let the members of a front vote by both rules; writes `ensembles/ensembles.json`."""
    members = sorted(members, key=lambda member: member["latency_ms"])
    table, labels, _ = front_like_table(np.random.default_rng(3), len(members), 2 * _IMAGES, _CLASSES)
    holdout, test = (VoteTable(array_blocks(table[:, part::2], labels[part::2])) for part in (0, 1))
    alone = np.eye(len(members), dtype=bool)
    latencies = np.array([member["latency_ms"] for member in members])
    names = [member["name"] for member in members]
    counted = [votes.correct(alone) for votes in (holdout, test)]
    rules = {}
    for rule in RULES:
        found = select_ensembles(holdout, latencies, rule)
        singles = front_of(alone, counted[0], latencies, found.rule, _IMAGES, len(members), found.reference)
        rules[rule] = {
            "reference": list(found.reference),
            "evaluations": found.evaluations,
            "seconds": 0.25,
            "singles": _described(singles, test, names, "single"),
            "ensembles": _described(found, test, names, rule),
        }
    keys = ("name", "arch", "latency_ms", "macs", "params", "memory_bytes")
    networks = [
        {key: member[key] for key in keys}
        | {"view": "plain", "temperature": 1.0, "holdout_top1": right[0], "test_top1": right[1]}
        for member, right in zip(members, (np.stack(counted, axis=1) / _IMAGES).tolist(), strict=True)
    ]
    made: Record = {"name": "ensembles", "search": "phone", "device": "onnxruntime", "weights_digest": "abc"}
    made |= {"calibration_images": 1000, "networks": networks, "holdout_images": _IMAGES, "test_images": _IMAGES}
    write_json(folder / "ensembles" / "ensembles.json", made | {"classes": _CLASSES, "rules": rules})


def _described(front: EnsembleFront, test: VoteTable, names: list[str], label: str) -> dict[str, Any]:
    right: NDArray[np.float64] = test.correct(front.sets(len(names))) / _IMAGES
    points = np.stack([front.points[:, 0], 100 - 100 * right], axis=1)
    entries = [
        {"name": f"{label}-{index:02d}", "networks": [names[member] for member in one.members], "weights": one.weights}
        | {"latency_ms": one.latency_ms, "holdout_top1": one.correct / _IMAGES, "holdout_top1_error": 0.0161}
        | {"test_top1": top1, "test_top1_error": 0.0163}
        for index, (one, top1) in enumerate(zip(front.ensembles, right.tolist(), strict=True))
    ]
    volumes = {"holdout_hypervolume": front.hypervolume(), "test_hypervolume": hypervolume(points, front.reference)}
    return volumes | {"members": entries}
