"""From the settings of a run to its parts: supernet, schedule, batches, and what identifies the run."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..data import DataSource, steps_per_epoch, train_batches
from ..errors import ConfigError
from ..settings import flatten
from ..space import Arch, SearchSpace, create_space
from ..supernets import Supernet, create_supernet
from .config import SpaceConfig, TrainConfig, may_change
from .distributed import World
from .loading import calibration_images, loading
from .optimizer import base_learning_rate, check_optimizer
from .recipes import create_recipe
from .schedule import Schedule


def check_config(config: TrainConfig, world: World) -> None:
    """Raise ConfigError for values that no part of training would notice by itself."""
    if config.precision not in ("fp32", "bf16"):
        raise ConfigError(f"precision={config.precision}: must be fp32 or bf16")
    missing = [name for name in ("batch_size", "epochs") if getattr(config, name) is None]
    if missing and config.recipe.name != "phases":
        raise ConfigError(f"{missing[0]}=null: only recipe.name=phases says it phase by phase; give a number")
    if config.batch_size is not None:
        _check_batch_size("batch_size", config.batch_size, config.micro_batch_size, world)
    for name, phase in config.recipe.phases.items():
        where = f"recipe.phases.{name}.batch_size"
        if config.batch_size is None and phase.batch_size is None:
            raise ConfigError(f"{where}=null: with batch_size=null every phase needs its own")
        size = config.batch_size or phase.batch_size
        _check_batch_size(where, size or 0, config.micro_batch_size or phase.micro_batch_size, world)
    evaluation = config.evaluation
    if evaluation.part not in ("holdout", "test"):
        raise ConfigError(f"evaluation.part={evaluation.part}: use holdout or test")
    if config.recipe.teacher_statistics not in ("running", "batch"):
        raise ConfigError(f"recipe.teacher_statistics={config.recipe.teacher_statistics}: use running or batch")
    for name, value in (
        ("seed", config.seed),
        ("checkpoint_minutes", config.checkpoint_minutes),
        ("evaluation.random_subnets", evaluation.random_subnets),
    ):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}={value}: must be 0 or greater")
    for name, value in (
        ("epochs", config.epochs),
        ("micro_batch_size", config.micro_batch_size),
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


def _check_batch_size(name: str, size: int, micro: int | None, world: World) -> None:
    if size < 2 * world.size or size % world.size:
        raise ConfigError(f"{name}={size}: must be {2 * world.size} or more, a multiple of {world.size} processes")
    share = size // world.size
    if micro and micro < share and share % micro:
        raise ConfigError(f"micro_batch_size={micro}: must divide the {share} images of {name} that one process sees")


def build_space(config: TrainConfig, source: DataSource) -> SearchSpace:
    """The space that is trained."""
    space = config.space
    return create_space(
        space.name,
        len(source.classes),
        source.in_chans,
        resolutions=resolutions_of(space),
        kernel_sizes=space.kernel_sizes,
        expand_ratios=space.expand_ratios,
        depths=space.depths,
        width_mults=space.width_mults,
        compound=space.compound,
    )


def resolutions_of(space: SpaceConfig) -> list[int] | None:
    """The image sizes of a run; None: those of the family. Raises ConfigError for an impossible step."""
    if space.resolution_step is None:
        return space.resolutions
    if space.resolution_step < 1 or not space.resolutions:
        raise ConfigError(f"space.resolution_step={space.resolution_step}: needs 1 or more, and space.resolutions")
    return list(range(min(space.resolutions), max(space.resolutions) + 1, space.resolution_step))


def build_supernet(config: TrainConfig, space: SearchSpace, device: torch.device) -> Supernet:
    """The supernet of the whole family of `space` with its first weights, which follow from the seed.

    Its own space has all values of the family, so that networks outside `space` can be evaluated, too.
    """
    sizes = sorted({*space.resolutions, *(config.evaluation.resolutions or ())})
    layout = space.layout
    supernet = create_supernet(
        config.space.name, layout.num_classes, layout.in_chans, dropout=config.space.dropout, resolutions=sizes
    )
    supernet.reset_parameters(config.seed)
    return supernet.to(device=device, memory_format=memory_format(config))  # pyright: ignore[reportCallIssue]


def build_schedule(config: TrainConfig, source: DataSource, space: SearchSpace, arch: Arch | None = None) -> Schedule:
    """The schedule of a run; with `arch` that sub-network takes the place of all others."""
    recipe = create_recipe(config.recipe, space)
    given = {"batch_size": config.batch_size, "micro_batch_size": config.micro_batch_size}
    given = {name: size for name, size in given.items() if size is not None}
    phases = tuple(dataclasses.replace(phase, **given) for phase in recipe.phases)
    batch_size = math.gcd(*(phase.batch_size or 0 for phase in phases))
    recipe = dataclasses.replace(recipe, phases=phases)
    return Schedule(
        recipe,
        space,
        steps_per_epoch=steps_per_epoch(len(source.train), batch_size),
        epochs=sum(phase.share for phase in recipe.phases) if config.epochs is None else config.epochs,
        base_learning_rate=base_learning_rate(config.optimizer),
        batch_size=batch_size,
        seed=config.seed,
        arch=arch,
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
    return chain.from_iterable(
        train_batches(
            source.train,
            batch_size=batch_size,
            seed=config.seed,
            start_step=first,
            stop_step=end,
            resolution_of=schedule.resolution,
            augment=config.augment,
            rank=world.rank,
            world_size=world.size,
            **loading(source, device, config.data.workers, memory_format(config), on_corrupt),
        )
        for batch_size, first, end in schedule.segments(start)
    )


def calibration(
    config: TrainConfig,
    source: DataSource,
    resolutions: tuple[int, ...],
    device: torch.device,
    on_corrupt: Callable[[str, str], None],
) -> Iterator[Tensor]:
    """Training images for batch-norm statistics, shared out equally among resolutions."""
    return calibration_images(
        source,
        resolutions,
        images=config.evaluation.calibration_images,
        batch_size=config.evaluation.batch_size,
        seed=config.seed,
        **loading(source, device, config.data.workers, memory_format(config), on_corrupt),
    )


def identity(config: TrainConfig, source: DataSource, space: SearchSpace) -> dict[str, Any]:
    """Everything the final weights depend on, by dotted name: equal when a run may continue."""
    values = {name: value for name, value in flatten(config).items() if not may_change(name)}
    digest = hashlib.sha256(json.dumps(space.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
    data = {"training images": len(source.train), "classes": list(source.classes)}
    data |= {f"digest of {part} images": digest for part, digest in source.digests.items()}
    return json.loads(json.dumps(values | {"space.digest": digest} | data, default=dataclasses.asdict))


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
            "epochs": schedule.epochs,
            "steps": schedule.total_steps,
            "batch_size": config.batch_size or {p.name: p.batch_size for p in schedule.recipe.phases},
            "learning_rate": schedule.peak_learning_rate,
            "ema_decay": config.ema_decay,
            "seed": config.seed,
            "data": source.name,
            "training_images": len(source.train),
        },
    }
