"""From raw parts to image sets: look at every image once, decode small ones, leave out corrupt ones."""

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from ..errors import ConfigError, DataError
from .decode import CorruptImage, View, centre_view, check, open_image, oriented_size, read_view, read_whole, reason_of
from .images import EncodedImages, Entries, ImageSet, ResidentImages
from .raw import RawPart, RawSource

RESIDENT_SIDE = 64
"""Images up to this many pixels a side are worth keeping decoded."""
RESIDENT_BYTES = 4 * 2**30
SCAN_LIMIT = 20_000
"""Larger sets are checked by a seeded sample of this size."""
_EXAMPLES = 3
_CHUNK = 512

Item = TypeVar("Item")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass
class Prepared:
    """Image sets by part name, and the images left out of them."""

    parts: dict[str, ImageSet]
    corrupt: list[CorruptImage]


def prepare(raw: RawSource, *, resident: str, resolution: int | None, in_chans: int | None) -> Prepared:
    """Decode or check all parts of a source.

    Args:
        raw: what was found.
        resident: "auto", "true" or "false".
        resolution: side of resident photos in pixels, for resident="true".
        in_chans: 1, 3, or None for what the source suggests.

    Raises:
        ConfigError: an option that does not fit.
        DataError: more than 1 % of the images that were looked at cannot be read; of a small set more than five, or
            more than a tenth.
    """
    if resident not in ("auto", "true", "false"):
        raise ConfigError(f"data.resident is {resident!r}; use auto, true or false")
    if in_chans not in (None, 1, 3):
        raise ConfigError(f"data.in_chans is {in_chans}; use 1 or 3")
    if all(isinstance(part.images, np.ndarray) for part in raw.parts.values()):
        return Prepared({name: _from_array(raw, part, in_chans) for name, part in raw.parts.items()}, [])
    channels = in_chans or 3
    small = _common_small_size(raw)
    if resident == "true" and small is None:
        if resolution is None:
            raise ConfigError("data.resident=true for photos needs data.resolution, the side in pixels to keep")
        return _resident(raw, channels, (resolution, resolution), centre_view)
    if small and resident != "false" and (resident == "true" or _bytes(raw, small, channels) <= RESIDENT_BYTES):
        try:
            return _resident(raw, channels, small, None)
        except _SizesDifferError:
            logger.info("%s: image sizes differ, so images stay encoded", raw.name)
    return _encoded(raw, channels)


class _SizesDifferError(Exception):
    """Not all images have the size that the first ones have."""


def _from_array(raw: RawSource, part: RawPart, in_chans: int | None) -> ResidentImages:
    images = torch.from_numpy(np.ascontiguousarray(part.images))
    if in_chans == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1).contiguous()
    elif in_chans == 1 and images.shape[1] == 3:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R 601 luma, as Pillow
        images = (images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    return ResidentImages(images, part.labels, raw.mirror, raw.padding, part.keys())


def _common_small_size(raw: RawSource) -> tuple[int, int] | None:
    """(height, width) when evenly spaced headers agree on one size that is small, else None."""
    sizes: set[tuple[int, int]] = set()
    for part in raw.parts.values():
        for index in np.unique(np.linspace(0, len(part.labels) - 1, 32).astype(int)) if len(part.labels) else ():
            try:
                with open_image(part.entries.payload(int(index))) as image:
                    sizes.add(oriented_size(image))
            except Exception:  # the full pass below names and counts what cannot be read
                continue
    if len(sizes) != 1:
        return None
    width, height = sizes.pop()
    return (height, width) if max(height, width) <= RESIDENT_SIDE else None


def _bytes(raw: RawSource, size: tuple[int, int], channels: int) -> int:
    return sum(len(part.labels) for part in raw.parts.values()) * size[0] * size[1] * channels


def _resident(raw: RawSource, channels: int, size: tuple[int, int], view: View | None) -> Prepared:
    """Decode everything into one tensor a part; `view` None = whole images of exactly `size`."""
    parts, corrupt = {}, []
    for name, part in raw.parts.items():
        entries = part.entries
        pixels = np.zeros((len(entries), channels, *size), dtype=np.uint8)
        chunks = [range(start, min(start + _CHUNK, len(entries))) for start in range(0, len(entries), _CHUNK)]
        decode = partial(_decode_chunk, entries, view, pixels)
        bad = {index: reason for failed in _in_threads(decode, chunks) for index, reason in failed.items()}
        corrupt += [CorruptImage(entries.name(index), reason) for index, reason in bad.items()]
        images = ResidentImages(torch.from_numpy(pixels), part.labels, raw.mirror, raw.padding, part.keys())
        images.test_transform = "square" if view else "whole"
        parts[name] = images.subset(_without(len(entries), bad)) if bad else images
    _report(corrupt, sum(len(part.labels) for part in raw.parts.values()), raw.name)
    return Prepared(parts, corrupt)


def _decode_chunk(entries: Entries, view: View | None, pixels: np.ndarray, chunk: range) -> dict[int, str]:
    """Write the images of one chunk into `pixels`; returns reason by index of those that failed."""
    _, channels, height, width = pixels.shape
    failed = {}
    for index in chunk:
        payload = entries.payload(index)
        try:
            image = read_view(payload, channels, height, view) if view else read_whole(payload, channels)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise a dozen types for damaged data; each means the same here
            failed[index] = reason_of(error)
            continue
        if image.shape[:2] != (height, width):
            raise _SizesDifferError
        pixels[index] = image.transpose(2, 0, 1)
    return failed


def _encoded(raw: RawSource, channels: int) -> Prepared:
    """Check the images (all, or a seeded sample of a large set) and leave them encoded."""
    total = sum(len(part.labels) for part in raw.parts.values())
    parts, corrupt, looked_at = {}, [], 0
    for number, (name, part) in enumerate(raw.parts.items()):
        entries = part.entries
        chosen = np.arange(len(entries))
        if total > SCAN_LIMIT:
            share = int(np.ceil(SCAN_LIMIT * len(entries) / total))
            chosen = np.sort(np.random.default_rng((0, number)).permutation(len(entries))[:share])
        looked_at += len(chosen)
        bad = _check_all(entries, chosen)
        corrupt += [CorruptImage(entries.name(index), reason) for index, reason in bad.items()]
        images = EncodedImages(entries, part.labels, channels, raw.mirror, raw.padding, keys=part.keys())
        parts[name] = images.subset(_without(len(entries), bad)) if bad else images
    _report(corrupt, looked_at, raw.name)
    return Prepared(parts, corrupt)


def _check_all(entries: Entries, chosen: np.ndarray) -> dict[int, str]:
    def reason(index: int) -> str | None:
        try:
            check(entries.payload(index))
        except MemoryError:
            raise
        except Exception as error:  # see _decode_chunk
            return reason_of(error)
        return None

    indices = [int(index) for index in chosen]
    return {index: why for index, why in zip(indices, _in_threads(reason, indices), strict=True) if why is not None}


def _in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in order; decoders release the interpreter lock, so threads are enough."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def _without(count: int, bad: dict[int, str]) -> np.ndarray:
    return np.setdiff1d(np.arange(count), list(bad))


def _report(corrupt: list[CorruptImage], looked_at: int, name: str) -> None:
    allowed = max(looked_at // 100, min(5, looked_at // 10))
    too_many = len(corrupt) > allowed
    for image in corrupt[_EXAMPLES if too_many else 0 :]:  # the error names the first ones
        logger.warning("corrupt image left out: %s (%s)", image.name, image.reason)
    if too_many:
        examples = "; ".join(f"{image.name} ({image.reason})" for image in corrupt[:_EXAMPLES])
        raise DataError(
            f"{name}: {len(corrupt)} of {looked_at} images cannot be read, more than the {allowed} that may be left "
            f"out: {examples}; replace or delete these files, or copy the data again"
        )
