"""Runs that take a second: a few hundred digits at 8 px."""

from collections.abc import Callable

import pytest

from onceforall.data import DataConfig, load_data
from onceforall.train import EvaluationConfig, SpaceConfig, TrainConfig


def tiny_config(**changes: object) -> TrainConfig:
    """Settings of a run of 24 steps; changes by name."""
    config = TrainConfig(
        epochs=3,
        batch_size=32,
        seed=5,
        threads=1,
        log_every_steps=2,
        tensorboard=False,
        space=SpaceConfig(resolutions=[8]),
        data=DataConfig(source="digits", max_train=256, max_test=60, holdout=60),
        evaluation=EvaluationConfig(every_epochs=None, images=60, calibration_images=64, random_subnets=1),
    )
    for name, value in changes.items():
        assert hasattr(config, name)
        setattr(config, name, value)
    return config


@pytest.fixture(name="tiny_config")
def tiny_config_fixture() -> Callable[..., TrainConfig]:
    return tiny_config


@pytest.fixture(scope="session")
def digits():
    """A few hundred digits."""
    return load_data(tiny_config().data)
