"""One small trained run that the tests of all commands look at and add files to."""

import hashlib
from pathlib import Path

import pytest

from onceforall import cli
from onceforall.run import Run


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Run:
    """A supernet after two epochs on digits."""
    run = Run(tmp_path_factory.mktemp("runs") / "digits")
    assert cli.main(["train", f"run={run.folder}", "epochs=2", "evaluation.random_subnets=0", "tensorboard=false"]) == 0
    return run


@pytest.fixture(scope="session")
def measured(trained) -> Run:
    """The same run with a latency model."""
    words = ["rounds=2", "calibration_networks=2", "validation_networks=2"]
    assert cli.main(["measure", f"run={trained.folder}", *words]) == 0
    return trained


@pytest.fixture(scope="session")
def searched(measured) -> Run:
    """The same run after a search that chose a network."""
    words = ["name=first", "budget=8", "calibration_images=100", "images=100"]
    assert cli.main(["search", f"run={measured.folder}", *words]) == 0
    return measured


def fingerprint(folder: Path) -> dict[str, str]:
    """Name and content of every file, to show that a failed command left everything as it was."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def unchanged():
    """`with unchanged(folder):` asserts that nothing in it changes, appears or vanishes."""
    import contextlib

    @contextlib.contextmanager
    def check(folder: Path):
        before = fingerprint(folder)
        yield
        assert fingerprint(folder) == before

    return check
