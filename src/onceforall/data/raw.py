"""What every kind of source delivers before anything is decoded, divided or counted."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .images import Entries

_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


@dataclass
class RawPart:
    """Images of one part as encoded `entries` or as a uint8 array (N, channels, height, width), with int64 labels."""

    images: Entries | np.ndarray
    labels: np.ndarray

    @property
    def entries(self) -> Entries:
        """The encoded images. Raises TypeError where they are an array."""
        if isinstance(self.images, np.ndarray):
            raise TypeError("this part is an array, not encoded images")
        return self.images

    def keys(self) -> np.ndarray:
        """A hash of each image's name, or of its content where it has none: uint64 (N,)."""
        if isinstance(self.images, np.ndarray):
            contents = (image.tobytes() for image in self.images)
        else:
            contents = map(self.images.key, range(len(self.images)))
        digests = b"".join(hashlib.blake2b(content, digest_size=8).digest() for content in contents)
        return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


@dataclass
class RawSource:
    """Parts by name ("train", "validation", "test") as found, and what is known about all of them."""

    name: str
    parts: Mapping[str, RawPart]
    classes: list[str]
    mirror: bool = True
    padding: str = "reflect"


def split_name(name: str) -> str | None:
    """The part a file or folder name speaks of ("val" -> "validation", "train-00000-of-2" -> "train"), or None."""
    return _SPLITS.get(re.split(r"[-_.]", name.lower(), maxsplit=1)[0])
