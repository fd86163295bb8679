"""A run folder as the commands leave it, made in two seconds and without training."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onceforall.cost import count_macs, count_params, peak_memory
from onceforall.files import write_json, write_text
from onceforall.search import AccuracyPredictor, LabelStore, search_measured, search_predicted, verify
from onceforall.space import Arch, SearchSpace, create_space

from ..search.synthetic import Landscape
from .synthetic_ensembles import write_synthetic_ensembles

STEPS = 3000
PHASES = (
    ("full", 0, 1200),
    ("kernel_size", 1200, 1650),
    ("depth_1", 1650, 2000),
    ("depth_2", 2000, 2300),
    ("expand_ratio_1", 2300, 2600),
    ("expand_ratio_2", 2600, 3000),
)


def write_synthetic_run(folder: Path, space: SearchSpace | None = None, budget: int = 50) -> Path:
    """Write every file a run can have, with two searches on one device."""
    space = space or create_space("mbv3_small", num_classes=10)
    land = Landscape(space)
    rng = np.random.default_rng(0)
    costs = {
        "latency_ms": land.latency,
        "macs": lambda codes: count_macs(space, codes).astype(np.float64),
        "params": lambda codes: count_params(space, codes).astype(np.float64),
        "memory_bytes": lambda codes: peak_memory(space, codes).astype(np.float64),
    }

    def evaluate(archs: list[Arch]) -> Iterator[tuple[float, float]]:
        for arch in archs:
            yield float(land.accuracy(space.encode([arch]))[0] + rng.normal() * 0.003), 0.008

    write_text(folder / "config.yaml", "name: photos\nepochs: 30\nrecipe:\n  name: progressive_shrinking\n")
    trained = {"recipe": "progressive_shrinking", "epochs": 30.0, "steps": STEPS, "batch_size": 128}
    trained |= {"learning_rate": 0.1, "seed": 0, "data": "photos/<train>", "training_images": 48_000}
    described: dict[str, Any] = {"format": 1, "space": space.to_dict(), "classes": [f"class {i}" for i in range(10)]}
    described |= {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26], "in_chans": 3, "train": trained}
    write_json(folder / "supernet.json", described)
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in _metrics(space, land, rng)))

    store = LabelStore(folder / "predictor" / "labels.jsonl", space, "abc", images=2000)
    ends = land.latency(space.encode([space.smallest, space.largest]))
    entries = {}
    for name, share in (("phone", 0.45), ("watch", 0.2)):
        limit = float(ends[0] + share * (ends[1] - ends[0]))
        result = search_measured(space, evaluate, costs, {"latency_ms": limit}, budget=budget, labels=store)
        write_json(folder / "search" / f"{name}.json", result.to_dict(name, "onnxruntime"))
        assert result.chosen is not None
        ms = result.chosen.costs["latency_ms"]
        chosen_one = result.chosen.to_dict() | {"latencies_ms": {"phone": ms, "watch": 2 * ms}}
        entries[name] = {"limit_ms": limit, "front": len(result.front), "chosen": chosen_one}
    write_json(folder / "devices" / "both.json", {"name": "both", "devices": entries})
    labels = list(store)
    predictor = AccuracyPredictor(space, costs["macs"], "macs", "abc")
    predictor.fit([label.arch for label in labels], [label.top1 for label in labels])
    predictor.save(folder / "predictor" / "predictor")
    predicted = search_predicted(space, predictor, costs, population=20, generations=10)
    checked = verify(predicted, evaluate, store)
    write_json(folder / "search" / "predicted.json", checked.to_dict("predicted", "onnxruntime"))

    _write_latency(folder, space, land, rng)
    phone = json.loads((folder / "search" / "phone.json").read_text())
    write_synthetic_ensembles(folder, phone["evaluated"][:10])
    chosen = phone["chosen"]
    exported = {"file": f"{chosen['name']}.onnx", "format": "onnx", "name": chosen["name"], "arch": chosen["arch"]}
    exported |= {"resolution": 32, "max_abs_difference": 2.4e-6, "top1_agreement": 1.0, "images_compared": 256}
    write_json(folder / "deploy" / f"{chosen['name']}.json", exported | {"bytes": 2_613_004, "real_images": True})
    voting = {"file": "maximal-03/", "name": "maximal-03", "resolutions": [24, 32], "members": [{}, {}], "cores": 4}
    voting |= {"together": False, "promised_latency_ms": 0.248, "latency_ms": 0.306, "max_abs_difference": 1e-6}
    write_json(folder / "deploy" / "maximal-03.json", voting | {"top1_agreement": 1.0, "images_compared": 256})
    for arch, top1 in ((space.largest, 0.861), (space.smallest, 0.702)):
        record = {"arch": arch.to_dict(), "name": arch.name, "top1": top1, "top1_error": 0.0035, "top5": 0.99}
        record |= {"loss": 0.52, "images": 10_000, "part": "test", "latency_ms": None, "calibration_images": 2000}
        write_json(folder / "evaluate" / f"{arch.name}-test.json", record)
    _write_vote(folder)
    tuned = {"arch": chosen["arch"], "name": chosen["name"], "before": {"top1": 0.81}, "after": {"top1": 0.822}}
    write_json(folder / "finetune" / f"{chosen['name']}.json", tuned | {"finetune": {"epochs": 3}})
    return folder


def _write_vote(folder: Path) -> None:
    """What `ofa evaluate ensemble=...` leaves."""
    made = json.loads((folder / "ensembles" / "ensembles.json").read_text())
    entry = made["rules"]["maximal"]["ensembles"]["members"][-1]
    record = {"name": entry["name"], "result": "ensembles", "rule": "maximal", "networks": entry["networks"]}
    record |= {"latency_ms": entry["latency_ms"], "top1": 0.8765, "top1_error": 0.0147, "loss": 0.5, "images": 500}
    write_json(folder / "evaluate" / "ensembles" / f"ensembles-{entry['name']}-test.json", record | {"part": "test"})


def _metrics(space: SearchSpace, land: Landscape, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    watched = {"largest": space.largest, "smallest": space.smallest}
    watched |= {f"random{i}": arch for i, arch in enumerate(space.sample_many(2, rng), start=1)}
    for name in ("train/class 3/broken.jpg", "train/class 7/empty.png"):
        yield {"kind": "corrupt_image", "step": 0, "name": name, "reason": "cannot identify image file"}
    for name, start, stop in PHASES:
        yield {"kind": "phase", "step": start, "phase": name, "event": "start"}
        for step in range(start + 20, stop + 1, 20):
            seconds = step * 0.5
            within = (step - start) / (stop - start)
            loss = 0.9 + 1.5 * np.exp(-step / 500) + rng.normal() * 0.03 + (0.15 if start else 0.0)
            rate = 0.1 * (1 if not start else 0.3) * 0.5 * (1 + np.cos(np.pi * within))
            yield {"kind": "train", "step": step, "phase": name, "loss": float(loss), "learning_rate": float(rate)} | {
                "resolution": 32,
                "images_per_second": 250.0,
                "elapsed_s": seconds,
            }
            if step % 200 == 0 or step == stop:
                for label, arch in watched.items():
                    if name == "full" and label != "largest":
                        continue
                    top1 = float(land.accuracy(space.encode([arch]))[0] * (1 - np.exp(-step / 400)))
                    yield {"kind": "eval", "step": step, "phase": name, "label": label, "arch": arch.to_dict()} | {
                        "top1": top1,
                        "top5": 0.95,
                        "loss": 0.7,
                        "top1_error": 0.008,
                        "elapsed_s": seconds,
                    }
        yield {"kind": "phase", "step": stop, "phase": name, "event": "end", "elapsed_s": stop * 0.5}


def _write_latency(folder: Path, space: SearchSpace, land: Landscape, rng: np.random.Generator) -> None:
    networks = []
    for arch in space.sample_many(12, rng):
        predicted = float(land.latency(space.encode([arch]))[0])
        measured = predicted * (1 + 0.02 * rng.normal())
        networks.append({"arch": arch.to_dict(), "measured_ms": measured, "predicted_ms": predicted, "name": arch.name})
    model = {"format": 1, "device": "onnxruntime", "machine": {"processor": "AMD EPYC", "cores": 2}, "threads": 1}
    model |= {"runtime": "onnxruntime 1.31.1", "batch": 1, "space": space.to_dict(), "table": []}
    model |= {"estimator": "smallest over rounds of the median within a round", "affine": {"scale": 1.0, "offset": 0.0}}
    validation = {"mape": 0.0163, "kendall_tau": 0.94, "macs_mape": 0.11, "repeatability": 0.007, "networks": networks}
    write_json(folder / "latency" / "onnxruntime.json", model | {"validation": validation})
