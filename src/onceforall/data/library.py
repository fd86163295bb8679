"""Data sets by name through other packages: torchvision ("torch/cifar10") and Hugging Face datasets ("hfds/...")."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, MissingExtra
from .images import PathEntries
from .parquet import source_from_tables
from .raw import RawPart, RawSource, split_name

_NOT_MIRRORED = ("mnist", "kmnist", "qmnist", "emnist", "svhn", "usps")


def read_torchvision(name: str, root: Path, download: bool = False) -> RawSource:
    """Open a torchvision data set that keeps arrays (CIFAR, MNIST, SVHN, STL10, ...) or lists files (ImageNet, ...).

    Raises:
        ConfigError: torchvision has no such set, or one of another kind.
        DataError: its files are not below `root`.
    """
    import torchvision

    sets = {key.lower(): key for key in torchvision.datasets.__all__}
    if name.lower() not in sets:
        raise ConfigError(f"torchvision has no data set {name!r}; it has {', '.join(sorted(sets))}")
    create = getattr(torchvision.datasets, sets[name.lower()])
    parameters = inspect.signature(create).parameters
    options = {"download": download} if "download" in parameters else {}
    if "train" in parameters:
        choices = {"train": {"train": True}, "test": {"train": False}}
    elif "split" in parameters:
        choices = {
            "train": {"split": "train"},
            "test": {"split": "val" if sets[name.lower()] == "ImageNet" else "test"},
        }
    else:
        raise ConfigError(f"torch/{name} has no training and test part; use a folder or parquet files")
    parts, classes = {}, None
    for part, choice in choices.items():
        try:
            dataset = create(str(root), **choice, **options)
        except (RuntimeError, OSError, ValueError) as error:
            raise DataError(
                f"torch/{name} cannot be opened below {root} ({error}); correct data.root or set data.download=true"
            ) from error
        parts[part] = _part_of(dataset, name, root)
        classes = classes or getattr(dataset, "classes", None)
    if classes is None:
        classes = [str(i) for i in range(int(parts["train"].labels.max()) + 1)]
    names = [c if isinstance(c, str) else ", ".join(c) for c in classes]  # ImageNet gives all synonyms of a class
    return RawSource(f"torch/{name}", parts, names, mirror=name.lower() not in _NOT_MIRRORED)


def _part_of(dataset: Any, name: str, root: Path) -> RawPart:
    labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if isinstance(samples := getattr(dataset, "samples", getattr(dataset, "imgs", None)), list):
        paths, numbers = zip(*samples, strict=True)
        return RawPart(PathEntries([str(path) for path in paths], str(root)), np.array(numbers, dtype=np.int64))
    if not hasattr(dataset, "data") or labels is None:
        raise ConfigError(f"torch/{name} keeps neither arrays nor a list of files; write it out as an image folder")
    pixels = np.asarray(dataset.data)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[-1] in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    return RawPart(np.ascontiguousarray(pixels, dtype=np.uint8), np.asarray(labels, dtype=np.int64))


def read_hugging_face(name: str, cache: Path | None, image_column: str | None, label_column: str | None) -> RawSource:
    """Open a data set of the Hugging Face hub (or a local folder of one) through the `datasets` package.

    Raises:
        MissingExtra: the package is not installed.
        DataError: the set cannot be opened.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("hfds/ needs the datasets package: pip install 'onceforall[hf]'") from error
    try:
        loaded = datasets.load_dataset(name, cache_dir=str(cache) if cache else None)
    except Exception as error:  # network, cache, scripts and formats each bring their own types
        raise DataError(
            f"hfds/{name} cannot be opened: {error}; check the name, or the network for a first use"
        ) from error
    tables, names = {}, None
    for split, dataset in loaded.items():
        part = split_name(str(split))
        if part is None or part in tables:
            continue
        tables[part] = dataset.data.table
        feature = dataset.features.get(
            label_column or next((c for c in ("label", "labels") if c in dataset.features), "")
        )
        names = names or getattr(feature, "names", None)
    return source_from_tables(f"hfds/{name}", tables, image_column, label_column, Path(), names)
