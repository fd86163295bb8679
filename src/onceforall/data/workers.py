"""Batches of encoded images, decoded ahead of time by worker processes that keep no state.

A request carries everything a batch needs (paths or bytes, seeds, resolution), so that a worker starts with nothing to
copy and the pixels depend on the request alone, whoever decodes it.
"""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from .decode import CorruptImage, Payload, evaluation_view, random_view, read_centre, read_view, reason_of

TEST_TRANSFORMS = ("centre", "official", "mmrazor")
MMRAZOR_SHORT_SIDE, MMRAZOR_SIDE = 256, 224
_AHEAD = 3  # batches decoded in advance by each worker: one slow photo then delays nobody


@dataclass(frozen=True)
class RandomCrop:
    """How training crops are drawn: smallest area, largest side ratio, and whether half are mirrored."""

    scale: float
    ratio: float
    flip: bool


@dataclass(frozen=True)
class BatchRequest:
    """A batch to decode; with `crop` and one seed per image for training, without both for the test transform."""

    payloads: list[Payload]
    names: list[str]
    labels: np.ndarray
    in_chans: int
    resolution: int
    seeds: np.ndarray | None = None
    crop: RandomCrop | None = None
    test_transform: str = "centre"
    zoom: float = 1.0

    @property
    def side(self) -> int:
        """Side in pixels of the decoded images; the network stretches MMRazor's to its resolution."""
        mmrazor = self.crop is None and self.test_transform == "mmrazor"
        return MMRAZOR_SIDE if mmrazor else self.resolution


@dataclass(frozen=True)
class DecodedBatch:
    """The images of a request that could be read, and the others by name."""

    pixels: np.ndarray  # uint8 (n, side, side, in_chans)
    kept: np.ndarray  # their positions in the request, ascending
    labels: np.ndarray
    corrupt: list[CorruptImage]


def decode_batch(request: BatchRequest) -> DecodedBatch:
    """Decode the images of a request; a pure function of it."""
    count, side = len(request.payloads), request.side
    pixels = np.empty((count, side, side, request.in_chans), dtype=np.uint8)
    kept: list[int] = []
    corrupt: list[CorruptImage] = []
    for position, payload in enumerate(request.payloads):
        try:
            pixels[len(kept)] = _decode(request, position, payload)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise a dozen types for damaged data; each means the same here
            corrupt.append(CorruptImage(request.names[position], reason_of(error)))
            continue
        kept.append(position)
    positions = np.array(kept, dtype=np.int64)
    return DecodedBatch(pixels[: len(kept)], positions, request.labels[positions], corrupt)


def _decode(request: BatchRequest, position: int, payload: Payload) -> np.ndarray:
    """One image, as training or as the test transform shows it: uint8 (side, side, in_chans)."""
    if request.seeds is not None and request.crop is not None:
        generator = np.random.default_rng(int(request.seeds[position]))
        view = random_view(generator, request.crop.scale, request.crop.ratio)
        mirror = request.crop.flip and bool(generator.random() < 0.5)
        return read_view(payload, request.in_chans, request.side, view, mirror)
    if request.test_transform == "centre":
        return read_view(payload, request.in_chans, request.side, evaluation_view(request.side, request.zoom))
    official = request.test_transform == "official"
    short_side = math.ceil(request.side / 0.875) if official else MMRAZOR_SHORT_SIDE
    return read_centre(payload, request.in_chans, round(short_side / request.zoom), request.side)


class _Decoder(Dataset):
    """What DataLoader wants a data set to look like: here a request is the index."""

    def __getitem__(self, request: BatchRequest) -> DecodedBatch:  # pyright: ignore[reportIncompatibleMethodOverride]
        return decode_batch(request)


def _unchanged(batch: DecodedBatch) -> DecodedBatch:
    # Arrays travel through a pipe; as tensors they would need shared memory, of which containers have little.
    return batch


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends its workers: one message, not n
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """DataLoader's own watch looks at the fork server, which outlives a killed parent as long as its workers do."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def decode_ahead(requests: Iterable[BatchRequest], workers: int) -> Iterator[DecodedBatch]:
    """Decode requests in order, `workers` at a time (0 = here); DataLoader limits each worker to one thread."""
    if workers == 0:
        yield from map(decode_batch, requests)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # the server imports torch once, workers start in milliseconds
    loader = DataLoader(
        _Decoder(),
        sampler=requests,  # pyright: ignore[reportArgumentType]
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,  # pyright: ignore[reportArgumentType]
        worker_init_fn=_start_worker,
        multiprocessing_context=context,
        prefetch_factor=_AHEAD,
        generator=torch.Generator(),  # otherwise it would draw from, and so change, the caller's random state
    )
    yield from loader
