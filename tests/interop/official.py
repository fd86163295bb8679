"""The golden numbers of the official project and the rule their weights and images come from."""

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onceforall.interop.official import load_checkpoint, official_key
from onceforall.supernets import Supernet, create_supernet


def golden(shared: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((shared / "golden" / f"{name}_public.json").read_text())["entries"]


def rule(shared: Path) -> Any:
    specification = importlib.util.spec_from_file_location("golden_rule", shared / "golden" / "rule.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def rule_tensors(shared: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights by the golden rule: the i-th key in sorted order is drawn with seed i."""
    tensor_for = rule(shared).tensor_for
    return {
        key: torch.from_numpy(np.ascontiguousarray(tensor_for(index, key, shapes[key])))
        for index, key in enumerate(sorted(shapes))
    }


@functools.cache
def _checkpoint(shared: Path, space: str) -> dict[str, Tensor]:
    shapes = {k: tuple(v.shape) for k, v in named_officially(create_supernet(space)).items()}
    return rule_tensors(shared, shapes)


def rule_supernet(shared: Path, space: str) -> Supernet:
    """A supernet with the golden weights, float32, eval mode."""
    supernet = create_supernet(space)
    assert load_checkpoint(supernet, _checkpoint(shared, space)) == []
    return supernet.eval()


def named_officially(supernet: Supernet) -> dict[str, Tensor]:
    return {official_key(supernet, key): value for key, value in supernet.state_dict().items()}


def relative_error(logits: Tensor, rows: list[dict[str, Any]]) -> float:
    """Largest error of the first 16 logits, relative to the root mean square of all 1,000."""
    worst = 0.0
    for row, expected in zip(logits.double(), rows, strict=True):
        assert int(row.argmax()) == expected["argmax"]
        scale = float(expected["l2"]) / 1000**0.5
        sixteen = torch.tensor([float(value) for value in expected["logits16"]], dtype=torch.float64)
        worst = max(worst, float((row[:16] - sixteen).abs().max()) / scale)
        worst = max(worst, abs(float(row.norm()) / float(expected["l2"]) - 1))
    return worst
