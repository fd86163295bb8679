"""What a user of the CIFAR-10 re-implementation has: the images, here twelve per class."""

from pathlib import Path

import numpy as np
from PIL import Image


def make(folder: Path, shared: Path) -> None:
    """Stand-ins in `folder`."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for number in range(10):
            place = folder / "cifar10" / part / f"class{number}"
            place.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(place / f"{index}.png")
