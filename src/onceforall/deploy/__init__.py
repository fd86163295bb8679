"""A plain network leaves the project: folded, exported, checked."""

from .backends import NetworkCard, OnnxNetwork, Prediction
from .export import ExportRecord, export_onnx
from .fold import fold_batch_norm
from .verify import Agreement, compare

__all__ = [
    "Agreement",
    "ExportRecord",
    "NetworkCard",
    "OnnxNetwork",
    "Prediction",
    "compare",
    "export_onnx",
    "fold_batch_norm",
]
