from pathlib import Path

import pytest

from .synthetic_run import write_synthetic_run


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with everything in it; not to be changed."""
    return write_synthetic_run(tmp_path_factory.mktemp("runs") / "photos", budget=24)
