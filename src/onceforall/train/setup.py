"""From the settings of a run to its parts: supernet, schedule, batches, and what identifies the run."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import DataSource, calibration_batches, steps_per_epoch, train_batches
from ..errors import ConfigError
from ..space import Arch, SearchSpace
from ..supernets import Supernet, create_supernet
from .config import TrainConfig, may_change
from .distributed import World
from .optimizer import base_learning_rate, check_optimizer
from .recipes import create_recipe
from .schedule import Schedule


def check_config(config: TrainConfig, world: World) -> None:
    """Raise ConfigError for values that no part of training would notice by itself."""
    if config.precision not in ("fp32", "bf16"):
        raise ConfigError(f"precision={config.precision}: must be fp32 or bf16")
    if config.batch_size < 2 * world.size or config.batch_size % world.size:
        raise ConfigError(
            f"batch_size={config.batch_size}: must be {2 * world.size} or more, a multiple of {world.size} processes"
        )
    evaluation = config.evaluation
    for name, value in (
        ("seed", config.seed),
        ("checkpoint_minutes", config.checkpoint_minutes),
        ("evaluation.random_subnets", evaluation.random_subnets),
    ):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}={value}: must be 0 or greater")
    for name, value in (
        ("epochs", config.epochs),
        ("log_every_steps", config.log_every_steps),
        ("evaluation.calibration_images", evaluation.calibration_images),
        ("evaluation.images", evaluation.images),
        ("evaluation.batch_size", evaluation.batch_size),
        ("evaluation.every_epochs", evaluation.every_epochs),
        ("threads", config.threads),
    ):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name}={value}: must be positive")
    for name, value in (("ema_decay", config.ema_decay), ("space.dropout", config.space.dropout)):
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"{name}={value}: must be at least 0 and less than 1")
    check_optimizer(config.optimizer)


def build_supernet(config: TrainConfig, source: DataSource, device: torch.device) -> Supernet:
    """The supernet of a run with its first weights, which follow from the seed."""
    space = config.space
    supernet = create_supernet(
        space.name,
        num_classes=len(source.classes),
        in_chans=source.in_chans,
        dropout=space.dropout,
        resolutions=space.resolutions,
        kernel_sizes=space.kernel_sizes,
        expand_ratios=space.expand_ratios,
        depths=space.depths,
    )
    supernet.reset_parameters(config.seed)
    return supernet.to(device=device, memory_format=memory_format(config))  # pyright: ignore[reportCallIssue]


def build_schedule(config: TrainConfig, source: DataSource, space: SearchSpace) -> Schedule:
    """The schedule of a run."""
    return Schedule(
        create_recipe(config.recipe, space),
        space,
        steps_per_epoch=steps_per_epoch(len(source.train), config.batch_size),
        epochs=config.epochs,
        base_learning_rate=base_learning_rate(config.optimizer),
        batch_size=config.batch_size,
        seed=config.seed,
    )


def memory_format(config: TrainConfig) -> torch.memory_format:
    """How images and 4-d weights lie in memory."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def training_batches(
    config: TrainConfig,
    source: DataSource,
    schedule: Schedule,
    start: int,
    device: torch.device,
    world: World,
    on_corrupt: Callable[[str, str], None],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of all steps from `start` on; each batch is a function of the seed and its step."""
    return train_batches(
        source.train,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start,
        stop_step=schedule.total_steps,
        resolution_of=schedule.resolution,
        augment=config.augment,
        mean=source.mean,
        std=source.std,
        device=device,
        rank=world.rank,
        world_size=world.size,
        workers=config.data.workers,
        memory_format=memory_format(config),
        on_corrupt=on_corrupt,
    )


def calibration_images(
    config: TrainConfig,
    source: DataSource,
    resolutions: tuple[int, ...],
    device: torch.device,
    on_corrupt: Callable[[str, str], None],
) -> Iterator[Tensor]:
    """Training images for batch-norm statistics, shared out equally among resolutions."""
    return chain.from_iterable(
        calibration_batches(
            source.train,
            resolution=resolution,
            images=max(2, config.evaluation.calibration_images // len(resolutions)),
            batch_size=config.evaluation.batch_size,
            seed=config.seed,
            mean=source.mean,
            std=source.std,
            device=device,
            workers=config.data.workers,
            memory_format=memory_format(config),
            on_corrupt=on_corrupt,
        )
        for resolution in resolutions
    )


def watched_archs(config: TrainConfig, schedule: Schedule) -> dict[str, Arch]:
    """The sub-networks that are evaluated while training: the corners, and random ones that never change."""
    rng = np.random.default_rng([config.seed, schedule.total_steps])
    drawn = schedule.space.sample_many(config.evaluation.random_subnets, rng)
    named = {f"random{number}": arch for number, arch in enumerate(drawn, start=1)}
    return {"largest": schedule.space.largest, "smallest": schedule.space.smallest, **named}


def identity(config: TrainConfig, source: DataSource, space: SearchSpace) -> dict[str, Any]:
    """Everything the final weights depend on, by dotted name: equal when a run may continue."""
    values = {name: value for name, value in _flat(dataclasses.asdict(config)).items() if not may_change(name)}
    digest = hashlib.sha256(json.dumps(space.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
    data = {"training images": len(source.train), "classes": list(source.classes)}
    data |= {f"digest of {part} images": digest for part, digest in source.digests.items()}
    return json.loads(json.dumps(values | {"space.digest": digest} | data))


def description(config: TrainConfig, source: DataSource, schedule: Schedule) -> dict[str, Any]:
    """What is written beside the final weights."""
    return {
        "classes": list(source.classes),
        "mean": list(source.mean),
        "std": list(source.std),
        "in_chans": source.in_chans,
        "images": source.digests,
        "train": {
            "recipe": config.recipe.name,
            "epochs": config.epochs,
            "steps": schedule.total_steps,
            "batch_size": config.batch_size,
            "learning_rate": schedule.peak_learning_rate,
            "ema_decay": config.ema_decay,
            "seed": config.seed,
            "data": source.name,
            "training_images": len(source.train),
        },
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
