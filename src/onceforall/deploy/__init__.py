"""A plain network leaves the project, or several that vote: folded, exported, checked."""

from .backends import NetworkCard, OnnxNetwork, Prediction
from .ensemble import EnsembleMember, EnsembleRecord, export_ensemble_onnx
from .ensemble_file import EnsembleCard, EnsembleInput, OnnxEnsemble
from .export import ExportRecord, export_onnx
from .fold import fold_batch_norm
from .verify import Agreement, compare

__all__ = [
    "Agreement",
    "EnsembleCard",
    "EnsembleInput",
    "EnsembleMember",
    "EnsembleRecord",
    "ExportRecord",
    "NetworkCard",
    "OnnxEnsemble",
    "OnnxNetwork",
    "Prediction",
    "compare",
    "export_ensemble_onnx",
    "export_onnx",
    "fold_batch_norm",
]
