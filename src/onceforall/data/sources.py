"""From a configuration to three disjoint sets of labelled images."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..errors import ConfigError, DataError
from .config import DataConfig
from .digits import read_digits
from .folder import read_folder
from .images import DataSource, ImageSet
from .library import read_hugging_face, read_torchvision
from .parquet import parquet_files, read_parquet
from .prepare import prepare
from .raw import RawSource
from .shards import read_shards
from .split import stratified_choice
from .statistics import channel_statistics

_SOURCES = "auto, digits, folder, parquet, torch/NAME, hfds/NAME or wds/NAME"
_TEST, _HOLDOUT, _MAX_TRAIN, _MAX_TEST = range(4)  # so that no two choices share their random numbers

logger = logging.getLogger(__name__)


def load_data(config: DataConfig, device: torch.device | str = "cpu") -> DataSource:
    """Open the images a configuration names and divide them.

    The test part is the source's own ("test", else "validation"), or a class-balanced fixed part of all images where
    it has none; the hold-out is a class-balanced part of the training images, chosen by `config.seed`. An image's own
    name or content decides its part, so that images that come or go hardly move others. Images that cannot be read are
    left out and listed.

    Args:
        config: what to open; relative paths start from the working folder.
        device: where small images are kept.

    Raises:
        ConfigError: an option that names nothing or does not fit.
        DataError: missing or unusable images or labels, with the remedy.
    """
    if config.seed < 0:
        raise ConfigError(f"data.seed is {config.seed}; use 0 or more")
    raw = read_source(config)
    _check_labels(raw)
    prepared = prepare(
        raw, resident=str(config.resident).lower(), resolution=config.resolution, in_chans=config.in_chans
    )
    parts = prepared.parts
    train = parts["train"]
    test = parts.get("test", parts.get("validation"))
    if "test" in parts and "validation" in parts:
        logger.info(
            "%s: the %d images of its validation part are not used; the hold-out comes from the training images",
            raw.name,
            len(parts["validation"]),
        )
    test_is_split = test is None
    if test is None:
        train, test = _set_aside(train, config.test_fraction, "test_fraction", (_TEST,))
    train, holdout = _set_aside(train, config.holdout, "holdout", (_HOLDOUT, config.seed))
    train = _limit(train, config.max_train, "max_train", (_MAX_TRAIN, config.seed))
    test = _limit(test, config.max_test, "max_test", (_MAX_TEST, config.seed))
    _require_every_class(train, raw, limited=config.max_train is not None)
    mean, std = channel_statistics(train)
    source = DataSource(
        raw.name, train, holdout, test, raw.classes, mean, std, train.in_chans, test_is_split, prepared.corrupt
    )
    return source.to(device)


def read_source(config: DataConfig) -> RawSource:
    """Find the parts of the source that `config` names, without decoding anything."""
    kind, _, name = resolve_source(config).source.partition("/")
    if kind == "digits":
        return read_digits()
    if kind == "hfds":
        return read_hugging_face(
            name, Path(config.root) if config.root else None, config.image_column, config.label_column
        )
    if kind == "torch" and config.download and config.root:
        Path(config.root).expanduser().mkdir(parents=True, exist_ok=True)
    root = _existing(config.root)
    if kind == "folder":
        return read_folder(root)
    if kind == "parquet":
        return read_parquet(root, config.image_column, config.label_column)
    if kind == "torch":
        return read_torchvision(name, root, config.download)
    return read_shards(name or root.name, root)


def resolve_source(config: DataConfig) -> DataConfig:
    """The same configuration with "auto" replaced by what is meant.

    Raises:
        ConfigError: an unknown source, one that does not go with the root, or no root where one is needed.
        DataError: the root does not exist.
    """
    source = config.source
    if source == "auto" and config.root is None:
        raise ConfigError("data.root=PATH is needed (or data=digits for the embedded images)")
    if source == "auto":
        root = _existing(config.root)
        if parquet_files(root):
            source = "parquet"
        elif root.suffix == ".tar" or any(root.glob("*.tar")):
            source = f"wds/{root.stem}"
        else:
            source = "folder"
    kind, _, name = source.partition("/")
    if kind in ("torch", "hfds", "wds") and name:
        return replace(config, source=source)
    if source not in ("digits", "folder", "parquet"):
        raise ConfigError(f"data.source is {source!r}; use {_SOURCES}")
    if source == "digits" and config.root is not None:
        raise ConfigError(
            f"data.source=digits needs no root; for the images at {config.root} use: "
            f"experiment=photos data.root={config.root}"
        )
    return replace(config, source=source)


def _existing(root: str | None) -> Path:
    if root is None:
        raise ConfigError("this data.source needs data.root=FOLDER")
    path = Path(root).expanduser()
    if not path.exists():
        raise DataError(f"{root} does not exist; set data.root to the folder of the images")
    if not path.is_dir() and path.suffix not in (".parquet", ".tar"):
        raise DataError(f"{root} is a file; set data.root to a folder of images, parquet files or tar shards")
    return path


def _check_labels(raw: RawSource) -> None:
    count = len(raw.classes)
    if count < 2:
        names = f" ({raw.classes[0]})" if raw.classes else ""
        raise DataError(f"{raw.name} has {count} class{names}; training needs at least two")
    for part, images in raw.parts.items():
        wrong = np.flatnonzero((images.labels < 0) | (images.labels >= count))
        if len(wrong):
            raise DataError(
                f"{raw.name} {part}: image {wrong[0]} has label {images.labels[wrong[0]]}, outside 0..{count - 1} "
                f"({len(wrong)} such labels); correct the labels or the class names"
            )


def _require_every_class(train: ImageSet, raw: RawSource, limited: bool) -> None:
    counts = np.bincount(train.labels, minlength=len(raw.classes))
    if (counts == 0).any() and not limited:  # a limit below the number of classes is the user's own choice
        raise DataError(
            f"{raw.name}: class {raw.classes[int(np.argmin(counts))]!r} has no training image that can be read; "
            "add some, or remove the class"
        )


def _set_aside(images: ImageSet, amount: float, option: str, seed: tuple[int, ...]) -> tuple[ImageSet, ImageSet]:
    """Divide into (rest, chosen); `amount` below 1 is a share, otherwise a number of images."""
    count = round(amount * len(images)) if amount < 1 else round(amount)
    if amount < 0 or count >= len(images):
        raise ConfigError(
            f"data.{option} is {amount:g} for {len(images)} images; use a fraction below 1 or a smaller count"
        )
    chosen = stratified_choice(images.labels, images.keys, count, seed)
    if amount > 0 and len(chosen) == 0:
        raise DataError(
            f"data.{option}={amount:g} leaves no image to set aside, because no class may lose its last one; "
            f"add images or set data.{option}=0"
        )
    rest = np.setdiff1d(np.arange(len(images)), chosen)
    return images.subset(rest), images.subset(chosen)


def _limit(images: ImageSet, count: int | None, option: str, seed: tuple[int, ...]) -> ImageSet:
    if count is None or count >= len(images):
        return images
    if count < 1:
        raise ConfigError(f"data.{option} is {count}; use at least 1, or leave it out")
    return images.subset(stratified_choice(images.labels, images.keys, count, seed, keep_one=False))
