"""What every test may use."""

import os
from pathlib import Path

import pytest

# Before anything imports torch: one thread, so that numbers repeat and parallel test runs do not fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

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
