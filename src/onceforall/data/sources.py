"""From a configuration to three disjoint sets of labelled images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..errors import ConfigError, DataError
from .config import DataConfig
from .digits import read_digits
from .folder import read_folder
from .images import DataSource, EncodedImages, ImageSet
from .library import read_hugging_face, read_torchvision
from .parquet import parquet_files, read_parquet
from .prepare import prepare
from .raw import RawSource
from .shards import read_shards
from .split import official_holdout, stratified_choice
from .statistics import channel_statistics
from .workers import TEST_TRANSFORMS

_SOURCES = "auto, digits, folder, parquet, torch/NAME, hfds/NAME or wds/NAME"
_HOLDOUT_SHARE = 0.1
_TEST, _HOLDOUT, _MAX_TRAIN, _MAX_TEST = range(4)  # so that no two choices share their random numbers


def load_data(config: DataConfig, device: torch.device | str = "cpu", *, training: bool = True) -> DataSource:
    """Open the images a configuration names and divide them.

    The test part is the source's own ("test", else "validation"), or a class-balanced fixed part of all images where
    it has none. The hold-out is the source's own validation part beside a test part, else a class-balanced part of the
    training images, chosen by `config.seed`. An image's own name or content decides its part, so that images that come
    or go hardly move others. Images that cannot be read are left out and listed.

    Args:
        config: what to open; relative paths start from the working folder.
        device: where small images are kept.
        training: False for a network that was trained elsewhere: nothing is set aside. The test part is then the
            source's own or, where it has none, all images; the training part may be missing.

    Raises:
        ConfigError: an option that names nothing or does not fit.
        DataError: missing or unusable images or labels, with the remedy.
    """
    _check(config)
    raw = read_source(config, training)
    _check_labels(raw)
    prepared = prepare(
        raw, resident=str(config.resident).lower(), resolution=config.resolution, in_chans=config.in_chans
    )
    parts = prepared.parts
    for part in parts.values():
        if isinstance(part, EncodedImages):
            part.test_transform = config.test_transform
    train, holdout, test = _divided(config, raw, parts) if training else _as_they_are(config, parts)
    for name, values in (("mean", config.mean), ("std", config.std)):
        if values is not None and (len(values) != test.in_chans or not all(0 <= value <= 1 for value in values)):
            raise ConfigError(f"data.{name} is {values}; give {test.in_chans} numbers from 0 to 1, one per channel")
    if config.std is not None and min(config.std) == 0:
        raise ConfigError(f"data.std is {config.std}; every deviation must be above 0")
    measured = channel_statistics(train if len(train) else test) if None in (config.mean, config.std) else ((), ())
    mean, std = tuple(config.mean or measured[0]), tuple(config.std or measured[1])
    test_is_split = training and parts.keys() == {"train"}
    about_holdout = _about_holdout(holdout, parts, len(raw.classes)) if training else ""
    source = DataSource(
        raw.name,
        train,
        holdout,
        test,
        raw.classes,
        mean,
        std,
        test.in_chans,
        test_is_split,
        prepared.corrupt,
        about_holdout,
    )
    return source.to(device)


def _divided(config: DataConfig, raw: RawSource, parts: dict[str, ImageSet]) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Training, hold-out and test images, none of them in two parts."""
    train = parts["train"]
    test = parts.get("test", parts.get("validation"))
    if test is None:
        train, test = _set_aside(train, config.test_fraction, "test_fraction", (_TEST,))
    holdout = _own_holdout(config, parts)
    if holdout is None:
        amount = _HOLDOUT_SHARE if config.holdout is None else config.holdout
        official = config.holdout_rule == "official"
        train, holdout = _set_aside(train, amount, "holdout", (_HOLDOUT, config.seed), official)
    train = _limit(train, config.max_train, "max_train", (_MAX_TRAIN, config.seed))
    test = _limit(test, config.max_test, "max_test", (_MAX_TEST, config.seed))
    _require_every_class(train, raw, limited=config.max_train is not None)
    return train, holdout, test


def _own_holdout(config: DataConfig, parts: dict[str, ImageSet]) -> ImageSet | None:
    """The source's validation part, where it is neither the test part nor put out of use; None otherwise."""
    own = parts.get("validation")
    if own is None or len(own) == 0 or "test" not in parts:
        return None
    return own if config.holdout is None and config.holdout_rule != "official" else None


def _about_holdout(holdout: ImageSet, parts: dict[str, ImageSet], classes: int) -> str:
    """What a person should know about the hold-out of a source that has a validation part beside a test part."""
    if "validation" not in parts or "test" not in parts:
        return ""
    if holdout is not parts["validation"]:
        return f"from the training images; its validation part of {len(parts['validation']):,} is not used"
    lacking = classes - len(np.unique(holdout.labels))
    return f"its own validation part{f'; {lacking} of {classes} classes have none' if lacking else ''}"


def _as_they_are(config: DataConfig, parts: dict[str, ImageSet]) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The parts for a network that was trained elsewhere: all images are for testing where there is no test part."""
    test = parts.get("test", parts.get("validation", parts.get("train")))
    assert test is not None
    nothing = test.subset(np.arange(0))
    return parts.get("train", nothing), nothing, _limit(test, config.max_test, "max_test", (_MAX_TEST, config.seed))


def _check(config: DataConfig) -> None:
    if config.seed < 0:
        raise ConfigError(f"data.seed is {config.seed}; use 0 or more")
    for name, value, allowed in (
        ("test_transform", config.test_transform, TEST_TRANSFORMS),
        ("holdout_rule", config.holdout_rule, ("balanced", "official")),
    ):
        if value not in allowed:
            raise ConfigError(f"data.{name} is {value!r}; use {' or '.join(allowed)}")


def read_source(config: DataConfig, require_train: bool = True) -> RawSource:
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
        return read_folder(root, require_train)
    if kind == "parquet":
        return read_parquet(root, config.image_column, config.label_column, require_train)
    if kind == "torch":
        return read_torchvision(name, root, config.download)
    return read_shards(name or root.name, root, require_train)


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


def _set_aside(
    images: ImageSet, amount: float, option: str, seed: tuple[int, ...], official: bool = False
) -> tuple[ImageSet, ImageSet]:
    """Divide into (rest, chosen); `amount` below 1 is a share, otherwise a number of images."""
    count = round(amount * len(images)) if amount < 1 else round(amount)
    if amount < 0 or count >= len(images):
        raise ConfigError(
            f"data.{option} is {amount:g} for {len(images)} images; use a fraction below 1 or a smaller count"
        )
    if official:
        chosen = official_holdout(len(images), count)
        return images.subset(np.setdiff1d(np.arange(len(images)), chosen)), images.subset(chosen)
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
