"""Train a tiny run in a process of its own, for tests that kill it: `train_to_be_killed.py RUN RECIPE`."""

import importlib.util
import sys
from pathlib import Path

from rich.console import Console

from onceforall.train import train


def sibling(name: str):
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    changes = sibling("test_trainer").settings_of(sys.argv[2])
    train(sibling("conftest").tiny_config(**changes), sys.argv[1], console=Console(quiet=True))
