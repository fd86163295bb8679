"""Batches: what a training step, an evaluation and a calibration see."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import ConfigError, DataError
from .augment import AugmentConfig, cut_out, jitter_colour, normalise, resize, shift_and_flip
from .images import EncodedImages, ImageSet, ResidentImages, encoded
from .plan import CALIBRATION, StepPlan
from .workers import BatchRequest, DecodedBatch, RandomCrop, decode_ahead

Batch = tuple[torch.Tensor, torch.Tensor]
OnCorrupt = Callable[[str, str], None]
"""Called with name and reason whenever an image could not be read; without it, each is logged once."""

logger = logging.getLogger(__name__)


def worker_count(workers: int, world_size: int = 1) -> int:
    """Decoding processes of one rank: as asked, or (negative) the cores divided among the ranks, 1 to 8."""
    if workers >= 0:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores // world_size))


@dataclass(frozen=True)
class _Output:
    """What every batch becomes: float32 in the network's units, on its device, in its memory format."""

    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device | str
    memory_format: torch.memory_format

    def images(
        self,
        pixels_NCHW: torch.Tensor,
        resolution: int,
        colour_factors: np.ndarray | None = None,
        mode: str = "bilinear",
    ) -> torch.Tensor:
        pixels_NCHW = pixels_NCHW.to(self.device)
        if colour_factors is not None:
            pixels_NCHW = jitter_colour(pixels_NCHW, torch.from_numpy(colour_factors).to(self.device))
        floats = normalise(pixels_NCHW, self.mean, self.std, self.memory_format)
        return resize(floats, resolution, mode).contiguous(memory_format=self.memory_format)

    def labels(self, labels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(labels).to(self.device)


def train_batches(
    images: ImageSet,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    stop_step: int,
    resolution_of: Callable[[int], int],
    augment: AugmentConfig | None,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    memory_format: torch.memory_format = torch.contiguous_format,
    on_corrupt: OnCorrupt | None = None,
) -> Iterator[Batch]:
    """Training batches of steps `start_step` to `stop_step` (exclusive), each a pure function of (seed, step).

    Args:
        images: the training set.
        batch_size: of the joint batch; every rank gets its contiguous `world_size`-th part.
        seed: of order and augmentation.
        start_step: the first step, counted from the start of the run, not of the epoch.
        stop_step: the first step that is not delivered.
        resolution_of: side of the images of a step, in pixels; must be a pure function, workers ask ahead of time.
        augment: None for the test transform.
        mean: per channel in 0..1 units.
        std: per channel in 0..1 units.
        device: where the batches go.
        rank: of this process.
        world_size: number of processes.
        workers: processes that decode; 0 = none, negative = one per core shared by the ranks, at most 8. Resident
            images need none. The bits do not depend on it.
        memory_format: of the images.
        on_corrupt: told about images that could not be read; the batch then has that many images less.

    Yields:
        Images (float32, normalised, NCHW) and labels (int64) on `device`.

    Raises:
        ConfigError: the ranks cannot share the batch equally.
        DataError: no images, or a batch of which nothing can be read.
    """
    if batch_size < 1 or batch_size % world_size:
        raise ConfigError(f"batch size {batch_size} cannot be shared by {world_size} processes; use a multiple")
    _require_images(images, "training set")
    share = batch_size // world_size
    plan = StepPlan(
        batch_size,
        slice(rank * share, (rank + 1) * share),
        seed,
        range(start_step, stop_step),
        resolution_of,
        augment and replace(augment, flip=images.mirror if augment.flip is None else augment.flip),
    )
    output = _Output(mean, std, device, memory_format)
    if isinstance(images, ResidentImages):
        return _train_resident(images, plan, output)
    return _train_encoded(encoded(images), plan, output, worker_count(workers, world_size), on_corrupt)


def _train_resident(images: ResidentImages, plan: StepPlan, output: _Output) -> Iterator[Batch]:
    augment = plan.augment
    for step, indices in plan.indices(len(images)):
        pixels = images.images[torch.from_numpy(indices).to(images.images.device)]
        resolution = plan.resolution_of(step)
        if augment is None:
            yield output.images(pixels, resolution), output.labels(images.labels[indices])
            continue
        draws = plan.draws(step, round(augment.shift * min(pixels.shape[-2:])), bool(augment.flip))
        padding = images.padding if augment.padding == "auto" else augment.padding
        shown = shift_and_flip(pixels, draws, padding)
        batch = output.images(shown, resolution, plan.colour_factors(step))
        if augment.cutout:
            cut_out(batch, draws, augment.cutout)
        yield batch, output.labels(images.labels[indices])


def _train_encoded(
    images: EncodedImages, plan: StepPlan, output: _Output, workers: int, on_corrupt: OnCorrupt | None
) -> Iterator[Batch]:
    augment = plan.augment
    crop = augment and RandomCrop(augment.crop_scale, augment.crop_ratio, bool(augment.flip))
    requests = (
        _request(images, indices, plan.resolution_of(step), plan.crop_seeds(step), crop)
        for step, indices in plan.indices(len(images))
    )
    for step, decoded in zip(plan.steps, decode_ahead(requests, workers), strict=True):
        factors = plan.colour_factors(step)
        factors = factors if factors is None else factors[decoded.kept]
        batch, labels = _finish(images, decoded, plan.resolution_of(step), output, on_corrupt, factors)
        if augment and augment.cutout:
            cut_out(batch, plan.draws(step, shift=0, flip=False).at(decoded.kept), augment.cutout)
        yield batch, labels


def eval_batches(
    images: ImageSet,
    *,
    resolution: int,
    batch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    memory_format: torch.memory_format = torch.contiguous_format,
    on_corrupt: OnCorrupt | None = None,
) -> Iterator[Batch]:
    """All images once, in order, under the test transform; the last batch may be smaller.

    Photos: short side to ceil(resolution / 0.875), then the centre (see `EncodedImages.test_transform`). Resident
    images: resized as a whole. Arguments and what is yielded as in `train_batches`; images that cannot be read are
    missing. Of several ranks, each gets whole batches in turn.

    Raises:
        DataError: no images, or a batch of which nothing can be read.
    """
    _require_images(images, "set to evaluate")
    starts = range(rank * batch_size, len(images), world_size * batch_size)
    pieces = (np.arange(start, min(start + batch_size, len(images))) for start in starts)
    output = _Output(mean, std, device, memory_format)
    return _show(images, pieces, resolution, output, worker_count(workers, world_size), on_corrupt)


def calibration_batches(
    image_set: ImageSet,
    *,
    resolution: int,
    images: int,
    batch_size: int,
    seed: int,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str,
    workers: int = 0,
    memory_format: torch.memory_format = torch.contiguous_format,
    on_corrupt: OnCorrupt | None = None,
) -> Iterator[torch.Tensor]:
    """Images for batch-norm calibration: `images` of the set, chosen by `seed` alone, under the test transform.

    The same images come at every resolution and in every call. At most the whole set; other arguments as in
    `train_batches`. No batch has a single image where that can be avoided: it has no variance on a 1x1 map.

    Raises:
        DataError: no images, or a batch of which nothing can be read.
    """
    _require_images(image_set, "training set")
    chosen = np.random.default_rng((CALIBRATION, seed)).permutation(len(image_set))[:images]
    pieces = iter(_without_single(chosen, batch_size))
    output = _Output(mean, std, device, memory_format)
    return (batch for batch, _ in _show(image_set, pieces, resolution, output, worker_count(workers), on_corrupt))


def _without_single(indices: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Pieces of `batch_size`, at least two; a last one of one image goes to the piece before."""
    starts = list(range(0, len(indices), max(batch_size, 2)))
    if len(starts) > 1 and starts[-1] == len(indices) - 1:
        starts.pop()
    return np.split(indices, starts[1:])


def _show(
    images: ImageSet,
    pieces: Iterator[np.ndarray],
    resolution: int,
    output: _Output,
    workers: int,
    on_corrupt: OnCorrupt | None,
) -> Iterator[Batch]:
    """Given images under the test transform."""
    if isinstance(images, ResidentImages):
        for indices in pieces:
            pixels = images.images[torch.from_numpy(indices).to(images.images.device)]
            yield output.images(pixels, resolution), output.labels(images.labels[indices])
        return
    photos = encoded(images)
    requests = (_request(photos, indices, resolution) for indices in pieces)
    for decoded in decode_ahead(requests, workers):
        yield _finish(photos, decoded, resolution, output, on_corrupt)


def _request(
    images: EncodedImages,
    indices: np.ndarray,
    resolution: int,
    seeds: np.ndarray | None = None,
    crop: RandomCrop | None = None,
) -> BatchRequest:
    return BatchRequest(
        [images.payload(int(index)) for index in indices],
        [images.name(int(index)) for index in indices],
        images.labels[indices],
        images.in_chans,
        resolution,
        seeds,
        crop,
        images.test_transform,
        images.zoom,
    )


def _finish(
    images: EncodedImages,
    decoded: DecodedBatch,
    resolution: int,
    output: _Output,
    on_corrupt: OnCorrupt | None,
    colour_factors: np.ndarray | None = None,
) -> Batch:
    """Report what could not be read; the rest becomes a batch."""
    for image in decoded.corrupt:
        if on_corrupt:
            on_corrupt(image.name, image.reason)
        elif image.name not in images.named:
            logger.warning("corrupt image skipped: %s (%s)", image.name, image.reason)
        images.named.add(image.name)
    if len(decoded.kept) == 0:
        first = decoded.corrupt[0]
        raise DataError(f"no image of a whole batch can be read, e.g. {first.name} ({first.reason}); check the folder")
    pixels = torch.from_numpy(decoded.pixels).permute(0, 3, 1, 2)
    # Only MMRazor's test transform delivers another size than asked for; its network stretches the image itself.
    return output.images(pixels, resolution, colour_factors, "bicubic"), output.labels(decoded.labels)


def _require_images(images: ImageSet, what: str) -> None:
    if len(images) == 0:
        raise DataError(f"the {what} has no images; check data.holdout and data.test_fraction, or add images")
