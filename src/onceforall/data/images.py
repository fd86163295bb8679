"""What the rest of the package calls data: sets of labelled images, resident or encoded, and a source of three sets."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from .decode import CorruptImage, Payload

_ZOOM = 0.8  # of both sides; tried beside 0.9 and 0.7 (results/ensembles)


class Entries(Protocol):
    """Where the encoded images of a part lie: files, rows of a table, slices of archives."""

    def __len__(self) -> int: ...

    def payload(self, index: int) -> Payload:
        """What a decoder needs to read image `index`."""
        ...

    def name(self, index: int) -> str:
        """What a person needs to find image `index`."""
        ...

    def key(self, index: int) -> bytes:
        """What stays the same about image `index` when others come or go and the folder moves."""
        ...


@dataclass(frozen=True)
class PathEntries:
    """One file per image, all below `root`."""

    paths: Sequence[str]
    root: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    def payload(self, index: int) -> Payload:
        return self.paths[index]

    def name(self, index: int) -> str:
        return self.paths[index]

    def key(self, index: int) -> bytes:
        return os.fsencode(self.paths[index].removeprefix(self.root).lstrip(os.sep))


class ImageSet(ABC):
    """Labelled images; `labels` is int64 of shape (len,), and order is fixed for the life of the set."""

    labels: np.ndarray
    keys: np.ndarray
    """A hash of each image's name or content (uint64): what decides its part, so that other images do not."""
    mirror: bool
    """Whether a mirrored image keeps its label (false for digits and letters)."""
    padding: str
    """What a shifted image shows at its edge by default: "reflect" or "zero"."""
    in_chans: int
    test_transform: str
    """What the test transform shows of an original: "whole", "square", "centre", "official" or "mmrazor".

    Photos: see `DataConfig`. Resident images are stretched to the resolution, the "whole" image or, where photos were
    made resident, the middle "square" of the whole short side.
    """

    def __len__(self) -> int:
        return len(self.labels)

    def __post_init__(self) -> None:
        if self.keys is None:  # a set made by hand: its positions
            self.keys = np.arange(len(self.labels), dtype=np.uint64)

    @abstractmethod
    def subset(self, indices: np.ndarray) -> "ImageSet":
        """The images at `indices`, in that order."""


@dataclass
class ResidentImages(ImageSet):
    """All images decoded in one uint8 tensor (N, in_chans, height, width) on one device."""

    images: torch.Tensor
    labels: np.ndarray
    mirror: bool = True
    padding: str = "reflect"
    keys: np.ndarray = None  # pyright: ignore[reportAssignmentType]
    test_transform: str = "whole"

    @property
    def in_chans(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Channels of the stored images."""
        return self.images.shape[1]

    def subset(self, indices: np.ndarray) -> "ResidentImages":
        chosen = self.images[torch.from_numpy(np.asarray(indices)).to(self.images.device)]
        return replace(self, images=chosen, labels=self.labels[indices], keys=self.keys[indices])

    def to(self, device: torch.device | str) -> "ResidentImages":
        """The same set with its tensor on `device`."""
        return replace(self, images=self.images.to(device))


@dataclass
class EncodedImages(ImageSet):
    """Images that stay encoded until a worker decodes them at the resolution a step asks for."""

    entries: Entries
    labels: np.ndarray
    in_chans: int = 3
    mirror: bool = True
    padding: str = "reflect"
    indices: np.ndarray | None = None
    """Which of `entries` belong to this set; None = all."""
    named: set[str] = field(default_factory=set)
    """Images that could not be read and that a person has been told about; shared with subsets."""
    keys: np.ndarray = None  # pyright: ignore[reportAssignmentType]
    test_transform: str = "centre"
    zoom: float = 1.0
    """Share of the sides of what the test transform shows otherwise."""

    def subset(self, indices: np.ndarray) -> "EncodedImages":
        chosen = np.asarray(indices) if self.indices is None else self.indices[indices]
        return replace(self, labels=self.labels[indices], indices=chosen, keys=self.keys[indices])

    def zoomed(self) -> "EncodedImages":
        """The same images, of which the test transform shows the middle four fifths of both sides."""
        return replace(self, zoom=_ZOOM)

    def payload(self, index: int) -> Payload:
        """What a decoder needs to read image `index`."""
        return self.entries.payload(self._entry(index))

    def name(self, index: int) -> str:
        """What a person needs to find image `index`."""
        return self.entries.name(self._entry(index))

    def _entry(self, index: int) -> int:
        return int(index if self.indices is None else self.indices[index])


def encoded(images: ImageSet) -> EncodedImages:
    """The same set, known to be encoded. Raises TypeError for a kind of set that nobody can make batches of."""
    if not isinstance(images, EncodedImages):
        raise TypeError(f"{type(images).__name__} is neither ResidentImages nor EncodedImages")
    return images


@dataclass
class DataSource:
    """Three disjoint sets of labelled images and what a network needs to know about them.

    `mean` and `std` are per channel in 0..1 units, from training images only.
    """

    name: str
    train: ImageSet
    holdout: ImageSet
    test: ImageSet
    classes: list[str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    in_chans: int
    test_is_split: bool = False
    """The source brought no test part, so `test` was taken from its images before everything else."""
    corrupt: list[CorruptImage] = field(default_factory=list)
    """Images that could not be read when the source was opened; they are in none of the sets."""
    about_holdout: str = ""
    """Where the hold-out comes from, in words, where the source has a validation part beside a test part."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def digests(self) -> dict[str, str]:
        """A short hash of the images and labels of each part: equal as long as the part is the same."""
        parts = {"train": self.train, "holdout": self.holdout, "test": self.test}
        return {
            name: hashlib.sha256(part.keys.tobytes() + part.labels.tobytes()).hexdigest()[:16]
            for name, part in parts.items()
        }

    @property
    def summary(self) -> str:
        """One line for a person."""
        kind = "resident" if isinstance(self.train, ResidentImages) else "decoded as needed"
        split = " (no test part was given: taken from the images)" if self.test_is_split else ""
        bad = f", {len(self.corrupt)} corrupt left out" if self.corrupt else ""
        about = f" ({self.about_holdout})" if self.about_holdout else ""
        return (
            f"{self.name}: {len(self.train):,} training, {len(self.holdout):,} hold-out{about}, {len(self.test):,} "
            f"test images{split} of {self.num_classes} classes, {kind}{bad}"
        )

    def to(self, device: torch.device | str) -> "DataSource":
        """Move resident sets to `device`, in place; encoded sets have no device."""
        for part in ("train", "holdout", "test"):
            images = getattr(self, part)
            if isinstance(images, ResidentImages):
                setattr(self, part, images.to(device))
        return self
