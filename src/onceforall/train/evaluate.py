"""Accuracy of given architectures: each one extracted, calibrated, then measured like any plain network."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import DataSource, ImageSet, eval_batches
from ..data.split import stratified_choice
from ..elastic import calibrate
from ..errors import DataError, OnceForAllError
from ..space import Arch
from ..supernets import Supernet
from .distributed import World
from .held import HeldBatches
from .loading import calibration_images as load_calibration_images
from .loading import loading

Part = Literal["holdout", "test"]
Result = TypeVar("Result")
ALONE = World()


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
    held: HeldBatches[Any] | None = None,
    world: World = ALONE,
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
        calibration_images: at most so many; 0 keeps the statistics that the weights came with.
        limit: at most so many images of the part, class-balanced; None: all.
        device: where to compute; None: where the supernet is.
        seed: which calibration images are drawn, and which images `limit` keeps.
        held: keeps decoded images for the next call, which must be the same but for `archs`.
        world: processes that share out the batches; each calls with the same arguments and returns the same numbers,
            which are those of one process.
        on_corrupt: told name and reason whenever an image cannot be read; None: each is logged once.
        progress: called with the number of architectures finished so far.

    Raises:
        InvalidArch: an architecture outside the space. DataError: the part has no images, or calibration has none.
    """
    for arch in archs:
        supernet.space.validate(arch)
    images = part_of(source, part, limit, seed)
    chosen = torch.device(device) if device is not None else next(supernet.parameters()).device
    evaluations: dict[int, Evaluation] = {}
    kept: HeldBatches[Any] = HeldBatches(0) if held is None else held
    for resolution in sorted({arch.resolution for arch in archs}):
        indices = [index for index, arch in enumerate(archs) if arch.resolution == resolution]
        common = {"batch_size": batch_size, **loading(source, chosen, workers, on_corrupt=on_corrupt)}
        image_bytes = 4 * source.in_chans * resolution**2
        decode = partial(calibration_of, source, resolution, calibration_images, seed, common)
        needed = min(calibration_images, len(source.train)) * image_bytes
        calibration = list(kept.get(("calibration", resolution), needed, decode))
        ranks = {"rank": world.rank, "world_size": world.size}
        for first in range(0, len(indices), networks_at_once):
            members = indices[first : first + networks_at_once]
            networks = [extracted(supernet, archs[index], calibration, chosen) for index in members]
            decode = partial(eval_batches, images, resolution=resolution, **ranks, **common)
            batches = kept.get((part, resolution), len(images) * image_bytes, decode)
            for index, measured in zip(members, measure_accuracy(networks, batches, world), strict=True):
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
    common = {"batch_size": batch_size, **loading(source, device, workers)}
    return extracted(supernet, arch, calibration_of(source, arch.resolution, calibration_images, seed, common), device)


def calibration_of(source: DataSource, resolution: int, images: int, seed: int, common: dict[str, Any]) -> list[Tensor]:
    """Images for batch-norm statistics; none where those of the weights are kept."""
    if images == 0:
        return []
    if len(source.train) == 0:
        raise DataError(
            f"{source.name} has no training images to calibrate batch norm with; add them, or keep the statistics of "
            "the weights with calibration_images=0"
        )
    return list(load_calibration_images(source, [resolution], images=images, seed=seed, **common))


def extracted(supernet: Supernet, arch: Arch, calibration: Sequence[Tensor], device: torch.device) -> nn.Module:
    """The plain network of an architecture on a device, calibrated where there are images for it."""
    network = supernet.extract(arch).to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if calibration:
        calibrate(network, calibration)
    return network


def part_of(source: DataSource, part: Part, limit: int | None = None, seed: int = 0) -> ImageSet:
    """The images of a part, at most `limit` of them. Raises DataError when it has none."""
    images = source.holdout if part == "holdout" else source.test
    if len(images) == 0:
        share, other = ("data.holdout", "test") if part == "holdout" else ("data.test_fraction", "holdout")
        raise DataError(f"{source.name} has no {part} images; train with {share} above 0, or evaluate part={other}")
    if limit is None or limit >= len(images):
        return images
    return images.subset(stratified_choice(images.labels, images.keys, limit, (seed,), keep_one=False))


def measure_accuracy(
    networks: Sequence[nn.Module], batches: Iterable[tuple[Tensor, Tensor]], world: World = ALONE
) -> list[tuple[float, float, float, int, float]]:
    """(top1, top5, loss, images, top1_error) of plain networks in eval mode, all on the same batches.

    The ranks of a world take whole batches in turn; all return the same.
    """
    shares = _on_all_ranks(world, lambda: [_sums(networks, images, labels) for images, labels in batches])
    # In the order in which one process sees the batches: sums of floats depend on it.
    in_turn = [share[turn] for turn in range(len(shares[0])) for share in shares if turn < len(share)]
    if not in_turn:
        raise DataError("there are no images to measure accuracy on")
    count = sum(images for images, _, _ in in_turn)
    correct = sum((right for _, right, _ in in_turn), start=np.zeros((len(networks), 2), dtype=np.int64))
    loss = sum((losses for _, _, losses in in_turn), start=np.zeros(len(networks)))
    return [
        (top1 / count, top5 / count, total / count, count, math.sqrt(top1 / count * (1 - top1 / count) / count))
        for (top1, top5), total in zip(correct.tolist(), loss.tolist(), strict=True)
    ]


@torch.inference_mode()
def _sums(networks: Sequence[nn.Module], images_NCHW: Tensor, labels_N: Tensor) -> tuple[int, np.ndarray, np.ndarray]:
    """Over one batch: images, how many each network has right first and among five, and summed losses."""
    correct = np.zeros((len(networks), 2), dtype=np.int64)
    loss = np.zeros(len(networks))
    for index, network in enumerate(networks):
        logits_NC = network(images_NCHW).float()
        loss[index] = F.cross_entropy(logits_NC, labels_N, reduction="sum").item()
        ranked = logits_NC.topk(min(5, logits_NC.shape[1]), dim=1).indices == labels_N[:, None]
        correct[index] = ranked[:, 0].sum().item(), ranked.any(1).sum().item()
    return len(labels_N), correct, loss


def _on_all_ranks(world: World, work: Callable[[], Result]) -> list[Result]:
    """What the work of every rank gave; an error of one is raised on all, so that nobody waits for it."""
    outcome: Result | OnceForAllError
    try:
        outcome = work()
    except OnceForAllError as error:
        outcome = error
    results: list[Result] = []
    for found in world.gather(outcome):
        if isinstance(found, OnceForAllError):
            raise found
        results.append(found)
    return results
