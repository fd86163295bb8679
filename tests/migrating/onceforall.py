"""Files a user of the official project has: checkpoints, predictors, latency tables, published networks."""

from pathlib import Path


def make(folder: Path, shared: Path) -> None:
    """Stand-ins in `folder`."""
