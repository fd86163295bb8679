"""Accuracy of given architectures: each one extracted, calibrated, then measured like any plain network."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import DataSource, ImageSet, calibration_batches, eval_batches
from ..data.split import stratified_choice
from ..elastic import calibrate
from ..errors import DataError
from ..space import Arch
from ..supernets import Supernet

Part = Literal["holdout", "test"]


@dataclass(frozen=True)
class Evaluation:
    """How well one sub-network does.

    Attributes:
        arch: the architecture.
        top1: share of images whose most likely class is right, 0 to 1.
        top5: share of images whose class is among the five most likely (all of them when there are fewer), 0 to 1.
        loss: mean cross entropy.
        images: number of images it was measured on.
        top1_error: standard error of top1, from the binomial distribution.
    """

    arch: Arch
    top1: float
    top5: float
    loss: float
    images: int
    top1_error: float


def evaluate_archs(
    supernet: Supernet,
    archs: Sequence[Arch],
    source: DataSource,
    *,
    part: Part = "holdout",
    calibration_images: int = 2000,
    batch_size: int = 200,
    device: torch.device | str | None = None,
    limit: int | None = None,
    seed: int = 0,
    workers: int = 0,
    networks_at_once: int = 32,
    on_corrupt: Callable[[str, str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Evaluation]:
    """Evaluate architectures, in the order given.

    Every architecture is extracted, its batch-norm statistics are re-estimated from `calibration_images` training
    images (no labels, no augmentation), and it is measured in eval mode. Images are decoded once for all architectures
    of the same resolution, up to `networks_at_once` of them, which share memory with the calibration images of that
    resolution. The supernet itself does not change.

    Args:
        part: "holdout" for choosing networks; "test" for the last word.
        limit: at most so many images of the part, class-balanced; None: all.
        device: where to compute; None: where the supernet is.
        seed: which calibration images are drawn, and which images `limit` keeps.
        on_corrupt: told name and reason whenever an image cannot be read; None: each is logged once.
        progress: called with the number of architectures finished so far.

    Raises:
        InvalidArch: an architecture outside the space. DataError: the part has no images.
    """
    for arch in archs:
        supernet.space.validate(arch)
    images = part_of(source, part, limit, seed)
    chosen = torch.device(device) if device is not None else next(supernet.parameters()).device
    evaluations: dict[int, Evaluation] = {}
    for resolution in sorted({arch.resolution for arch in archs}):
        indices = [index for index, arch in enumerate(archs) if arch.resolution == resolution]
        common = {
            "batch_size": batch_size,
            "mean": source.mean,
            "std": source.std,
            "device": chosen,
            "workers": workers,
            "on_corrupt": on_corrupt,
        }
        common |= {"memory_format": torch.channels_last}
        calibration = list(
            calibration_batches(source.train, resolution=resolution, images=calibration_images, seed=seed, **common)
        )
        for first in range(0, len(indices), networks_at_once):
            members = indices[first : first + networks_at_once]
            networks = [_calibrated(supernet, archs[index], calibration, chosen) for index in members]
            batches = eval_batches(images, resolution=resolution, **common)
            for index, measured in zip(members, measure_accuracy(networks, batches), strict=True):
                evaluations[index] = Evaluation(archs[index], *measured)
            if progress is not None:
                progress(len(evaluations))
    return [evaluations[index] for index in range(len(archs))]


def calibrated_network(
    supernet: Supernet,
    arch: Arch,
    source: DataSource,
    *,
    calibration_images: int = 2000,
    batch_size: int = 200,
    seed: int = 0,
    workers: int = 0,
) -> nn.Module:
    """The very network `evaluate_archs` measures with the same arguments, on the supernet's device, in eval mode."""
    device = next(supernet.parameters()).device
    images = calibration_batches(
        source.train,
        resolution=arch.resolution,
        images=calibration_images,
        batch_size=batch_size,
        seed=seed,
        mean=source.mean,
        std=source.std,
        device=device,
        workers=workers,
        memory_format=torch.channels_last,
    )
    return _calibrated(supernet, arch, list(images), device)


def _calibrated(supernet: Supernet, arch: Arch, calibration: list[Tensor], device: torch.device) -> nn.Module:
    network = supernet.extract(arch).to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    calibrate(network, calibration)
    return network


def part_of(source: DataSource, part: Part, limit: int | None = None, seed: int = 0) -> ImageSet:
    """The images of a part, at most `limit` of them. Raises DataError when it has none."""
    images = source.holdout if part == "holdout" else source.test
    if len(images) == 0:
        raise DataError(f"{source.name} has no {part} images; set data.holdout above 0, or evaluate the other part")
    if limit is None or limit >= len(images):
        return images
    return images.subset(stratified_choice(images.labels, images.keys, limit, (seed,), keep_one=False))


@torch.inference_mode()
def measure_accuracy(
    networks: Sequence[nn.Module], batches: Iterator[tuple[Tensor, Tensor]]
) -> list[tuple[float, float, float, int, float]]:
    """(top1, top5, loss, images, top1_error) of plain networks in eval mode, all on the same batches."""
    correct = np.zeros((len(networks), 2), dtype=np.int64)
    loss = np.zeros(len(networks))
    count = 0
    for images_NCHW, labels_N in batches:
        count += len(labels_N)
        for index, network in enumerate(networks):
            logits_NC = network(images_NCHW).float()
            loss[index] += F.cross_entropy(logits_NC, labels_N, reduction="sum").item()
            ranked = logits_NC.topk(min(5, logits_NC.shape[1]), dim=1).indices == labels_N[:, None]
            correct[index] += ranked[:, 0].sum().item(), ranked.any(1).sum().item()
    if count == 0:
        raise DataError("there are no images to measure accuracy on")
    return [
        (top1 / count, top5 / count, total / count, count, math.sqrt(top1 / count * (1 - top1 / count) / count))
        for (top1, top5), total in zip(correct.tolist(), loss.tolist(), strict=True)
    ]
