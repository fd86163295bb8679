"""Evaluated networks on disk: one line each, never lost by a kill, never mixed with labels of other weights."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, InvalidArch, RunError, StorageError
from ..files import write_text
from ..space import Arch, SearchSpace


@dataclass(frozen=True)
class Label:
    """A measured accuracy: top-1 in 0..1, its standard error, and how it was measured.

    `images` measured it, after `calibration_images` in batches of `batch_size` had calibrated batch norm.
    """

    arch: Arch
    top1: float
    top1_error: float
    images: int
    calibration_images: int = 0
    batch_size: int = 0


class LabelStore:
    """Labels of one set of weights in a `.jsonl` file that only ever grows.

    A torn last line (the process was killed while writing) is dropped and removed from the file; `notes` says so.
    Labels measured or calibrated on other numbers of images, or calibrated in other batches, stay in the file but are
    not used, as they do not compare; so do labels of resolutions that the space does not have, as a search may be of
    some resolutions only.

    Args:
        path: the file; None keeps the labels in memory only.
        space: every architecture must belong to it, in the file but for its resolution.
        weights: hash of the supernet's weights; lines with another hash are refused.
        images: number of images every label is measured on.
        calibration_images: number of images batch norm is calibrated on before, `batch_size` at a time.

    Raises:
        RunError: the file holds labels of other weights or of another space.
        FileFormatError: a line that is not a label (other than a torn last one), or a label that is not a number.
    """

    def __init__(
        self,
        path: str | Path | None,
        space: SearchSpace,
        weights: str,
        images: int = 0,
        calibration_images: int = 0,
        batch_size: int = 0,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.space = space
        self.weights = weights
        self.images = images
        self.calibration_images = calibration_images
        self.batch_size = batch_size
        self.notes: list[str] = []
        self._labels: dict[Arch, Label] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels.values())

    def __contains__(self, arch: Arch) -> bool:
        return arch in self._labels

    def get(self, arch: Arch) -> Label | None:
        """The label of an architecture, or None when it was not evaluated yet."""
        return self._labels.get(arch)

    def add(self, arch: Arch, top1: float, top1_error: float) -> Label:
        """Append one label; it is on the disk when this returns.

        Raises:
            InvalidArch: the architecture is not in the space.
            FileFormatError: the accuracy is not a number in 0..1.
            StorageError: the disk is full; labels written before are intact.
        """
        self.space.validate(arch)
        how = self.images, self.calibration_images, self.batch_size
        label = Label(arch, float(top1), float(top1_error), *how)
        _check_numbers(label, "the evaluation")
        if self.path is not None:
            line = {
                "arch": arch.to_dict(),
                "top1": label.top1,
                "top1_error": label.top1_error,
                "images": label.images,
                "calibration_images": label.calibration_images,
                "batch_size": label.batch_size,
                "weights": self.weights,
            }
            _append(self.path, json.dumps(line) + "\n")
        self._labels[arch] = label
        return label

    def _read(self, path: Path) -> None:
        content = path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            self.notes.append(f"dropped a torn last line of {path}; that network is evaluated again")
            write_text(path, whole.decode("utf-8") + "\n" if whole else "")
        others = elsewhere = 0
        for number, line in enumerate(whole.splitlines(), start=1):
            where = f"line {number} of {path}"
            label, weights = _parse(line, where)
            if weights != self.weights:
                raise RunError(
                    f"{where} was measured with other weights than this supernet's; move {path.name} away and "
                    "collect labels again"
                )
            try:
                self.space.validate(label.arch, any_resolution=True)
            except InvalidArch as error:
                raise RunError(f"{where} belongs to another space: {error}; move {path.name} away") from error
            same = (label.images, label.calibration_images) == (self.images, self.calibration_images)
            if label.arch.resolution not in self.space.resolutions:
                elsewhere += 1
            elif same and (label.batch_size == self.batch_size or not self.calibration_images):
                self._labels[label.arch] = label
            else:
                others += 1
        if elsewhere:
            sizes = ", ".join(map(str, self.space.resolutions))
            self.notes.append(f"{elsewhere} labels of {path} are of other resolutions than {sizes} px; not used")
        if others:
            self.notes.append(
                f"{others} labels of {path} were not measured on {self.images} images after calibration on "
                f"{self.calibration_images} in batches of {self.batch_size}, or do not say so; not used"
            )


def _append(path: Path, line: str) -> None:
    """One write call and a sync: a kill leaves at most one torn line, which the reader drops."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            data = line.encode("utf-8")
            start = os.fstat(handle).st_size
            if os.write(handle, data) != len(data):
                os.ftruncate(handle, start)
                raise OSError(28, "no space left on device")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(
            f"cannot write a label to {path}: {error.strerror or error}; labels written before are intact. "
            "Free some space and run the command again"
        ) from error


def _parse(line: bytes, where: str) -> tuple[Label, str]:
    try:
        record: dict[str, Any] = json.loads(line)
        label = Label(
            Arch.from_dict(record["arch"]),
            float(record["top1"]),
            float(record["top1_error"]),
            int(record["images"]),
            int(record["calibration_images"]),
            int(record.get("batch_size", 0)),  # labels of before it was noted
        )
        weights = str(record["weights"])
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{where} is not a label ({error!r}); remove that line or the file") from error
    _check_numbers(label, where)
    return label, weights


def _check_numbers(label: Label, where: str) -> None:
    if not (0.0 <= label.top1 <= 1.0 and np.isfinite(label.top1_error) and label.top1_error >= 0):
        raise FileFormatError(
            f"{where} gives top1={label.top1} top1_error={label.top1_error} for {label.arch.name}; "
            "an accuracy between 0 and 1 is needed"
        )
