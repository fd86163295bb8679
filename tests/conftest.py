"""What every test may use."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from onceforall.data import DataSource

# Before anything imports torch: one thread, so that numbers repeat and parallel test runs do not fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("COLUMNS", None)  # tables as wide as without a terminal, wherever tests run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and real images beside the checkout; continuous integration must have it."""
    folder = ROOT.parent / "shared"
    if folder.is_dir():
        return folder
    if os.environ.get("CI"):
        pytest.fail(f"golden numbers and test images are missing: {folder} is not there")
    pytest.skip(f"needs the golden numbers and test images in {folder}")


def _write_photos(
    root: Path,
    classes: tuple[str, ...] = ("apple", "banana", "cherry"),
    per_class: int = 6,
    size: tuple[int, int] = (96, 72),
    parts: tuple[str, ...] = ("",),
) -> Path:
    """Write small JPEG photos, one dominant colour per class; part "" puts the class folders at the root."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for part in parts:
        for number, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(per_class):
                pixels = generator.integers(0, 90, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
                pixels[..., number % 3] += 150
                Image.fromarray(pixels).resize(size).save(folder / f"{index:03d}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def write_photos() -> Callable[..., Path]:
    """Writes an image folder: `write_photos(root, classes=..., per_class=..., size=(width, height), parts=...)`."""
    return _write_photos


@pytest.fixture(scope="session")
def digits_source() -> "DataSource":
    """The embedded digits: 1,294 training, 144 hold-out and 359 test images of 8x8 pixels."""
    from onceforall.data import DataConfig, load_data

    return load_data(DataConfig(source="digits"))
