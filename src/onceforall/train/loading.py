"""How batches of a source come to a network: the arguments that training, calibration and evaluation share."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..data import DataSource, calibration_batches


def loading(
    source: DataSource,
    device: torch.device,
    workers: int,
    memory_format: torch.memory_format = torch.channels_last,
    on_corrupt: Callable[[str, str], None] | None = None,
) -> dict[str, Any]:
    """Keyword arguments of every function that makes batches."""
    return {
        "mean": source.mean,
        "std": source.std,
        "device": device,
        "workers": workers,
        "memory_format": memory_format,
        "on_corrupt": on_corrupt,
    }


def calibration_images(
    source: DataSource, resolutions: Sequence[int], *, images: int, batch_size: int, seed: int, **common: Any
) -> Iterator[Tensor]:
    """Training images for batch-norm statistics, shared out equally among resolutions; `common` as from `loading`."""
    each = max(2, images // len(resolutions))
    return chain.from_iterable(
        calibration_batches(
            source.train, resolution=resolution, images=each, batch_size=batch_size, seed=seed, **common
        )
        for resolution in resolutions
    )
