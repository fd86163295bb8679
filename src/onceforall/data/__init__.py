"""Labelled images: where they come from, how they are divided, and the batches that steps and evaluations see."""

from .augment import AugmentConfig
from .config import DataConfig
from .decode import CorruptImage
from .images import DataSource, EncodedImages, ImageSet, ResidentImages
from .loader import calibration_batches, eval_batches, train_batches, worker_count
from .plan import steps_per_epoch
from .sources import load_data, resolve_source
from .views import PLAIN, VIEWS, View

__all__ = [
    "PLAIN",
    "VIEWS",
    "AugmentConfig",
    "CorruptImage",
    "DataConfig",
    "DataSource",
    "EncodedImages",
    "ImageSet",
    "ResidentImages",
    "View",
    "calibration_batches",
    "eval_batches",
    "load_data",
    "resolve_source",
    "steps_per_epoch",
    "train_batches",
    "worker_count",
]
