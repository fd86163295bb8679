"""Prediction tables as they were published with OFA3: two CSV files per network, without headers.

`model_NN_class.csv` holds the ids of the five best classes and the true label, `model_NN_prob.csv` the five
probabilities; one row per image. Files were written in append mode, so a second run doubled the rows; one published
analysis lost its first row to a reader that took it for a header. Both are recognised and refused.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError, FileFormatError
from ...files import atomic_path
from .blocks import Block, Integers
from .published_checks import (
    CLASSES_PER_ROW,
    Rows,
    check_alike,
    check_class_order,
    check_images,
    check_rows,
    same_images,
)
from .tables import PredictionTable, TableNetwork

_NAME = re.compile(r"(?:.*_)?model_(\d+)_(class|prob)\.csv")


@dataclass(frozen=True)
class PublishedFiles:
    """What the files of one folder say: per network the five best `classes` and their `probabilities`, (M, 5).

    `labels` (M,) are the true classes. Networks are in the order of their numbers.
    """

    folder: Path
    names: tuple[str, ...]
    labels: Integers
    classes: tuple[Integers, ...]
    probabilities: tuple[NDArray[np.float32], ...]

    @property
    def class_count(self) -> int:
        """One more than the highest class that any row names."""
        return 1 + max(int(self.labels.max()), *(int(classes.max()) for classes in self.classes))

    def has_images_of(self, other: "PublishedFiles") -> bool:
        """Whether both are predictions of the same networks on the same images."""
        return same_images(self._rows(0), other._rows(0))

    def table(
        self, path: str | Path, *, class_count: int | None = None, latencies_ms: Sequence[float] | None = None
    ) -> PredictionTable:
        """A new table at `path`. `class_count` counts classes that no row names too.

        Raises:
            DataError: a class beyond `class_count`, not one latency per network. StorageError.
        """
        networks = len(self.names)
        if latencies_ms is not None and len(latencies_ms) != networks:
            raise DataError(f"{self.folder}: {networks} networks and {len(latencies_ms)} latencies")
        count = class_count or self.class_count
        if self.class_count > count:
            raise DataError(f"{self.folder}: class {self.class_count - 1} in files of {count} classes")
        latencies = [None] * networks if latencies_ms is None else [float(latency) for latency in latencies_ms]
        table = PredictionTable.create(
            path,
            [TableNetwork(name, latency_ms=ms) for name, ms in zip(self.names, latencies, strict=True)],
            self.labels,
            range(len(self.labels)),
            [str(number) for number in range(count)],
            top=CLASSES_PER_ROW,
            origin={"published": str(self.folder)},
        )
        for name, classes, probabilities in zip(self.names, self.classes, self.probabilities, strict=True):
            table.write_listed(name, classes, probabilities)
        return table

    def _rows(self, network: int) -> Rows:
        return np.column_stack([self.classes[network], self.labels]), self.probabilities[network]


def write_published(tables: Sequence[PredictionTable], folder: str | Path) -> list[Path]:
    """Write tables of the same images as CSV files, networks numbered in their order; returns the files.

    The folder must be new or empty. It is there when all of its files are.

    Raises:
        ConfigError: the folder holds something. DataError: fewer than five classes.
        RunError: networks without predictions. StorageError.
    """
    check_new_folder(folder)
    for table in tables:
        if min(len(table.classes), table.top or CLASSES_PER_ROW) < CLASSES_PER_ROW:
            raise DataError(
                f"{table.path}: the published files hold {CLASSES_PER_ROW} classes per image, this table fewer"
            )
    networks = [(table, network) for table in tables for network in table.networks]
    digits = max(2, len(str(len(networks) - 1)))
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for index, (table, network) in enumerate(networks):
            block = Block(table.labels, table.probabilities(network.name)[None]).truncated(CLASSES_PER_ROW)
            classes = np.concatenate([_listed(block), table.labels[:, None]], axis=1)
            for kind, rows, form in (("class", classes, "%d"), ("prob", block.probabilities[0], "%.9g")):
                np.savetxt(temporary / f"model_{index:0{digits}d}_{kind}.csv", rows, fmt=form, delimiter=",")
    return sorted(Path(folder).iterdir())


def check_new_folder(folder: str | Path) -> None:
    """Raise ConfigError where there is something at `folder`: files of other networks would be read as one set."""
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; remove it or choose a new one for the published files")


def read_published(
    folder: str | Path,
    path: str | Path,
    *,
    class_count: int | None = None,
    latencies_ms: Sequence[float] | None = None,
    images: int | None = None,
) -> PredictionTable:
    """Read a folder of CSV files into a new table at `path`: `read_files`, then `PublishedFiles.table`.

    Raises:
        FileFormatError, DataError, StorageError: as these.
    """
    return read_files(folder, images=images).table(path, class_count=class_count, latencies_ms=latencies_ms)


def read_files(folder: str | Path, *, images: int | None = None) -> PublishedFiles:
    """Read a folder of CSV files. `images` is how many images there should be.

    Raises:
        FileFormatError: a missing or doubled network or file, rows that are doubled, lost, or not predictions.
        DataError: files of different images, orders of images, or orders of classes.
    """
    files = _find(Path(folder))
    class_files = [class_file for class_file, _ in files]
    every: list[tuple[Integers, NDArray[np.float32]]] = []
    for class_file, prob_file in files:
        found, values = _read(class_file, CLASSES_PER_ROW + 1), _read(prob_file, CLASSES_PER_ROW)
        check_rows(class_file, prob_file, (found, values))
        classes, probabilities = found.astype(np.int64), values.astype(np.float32)
        if every:
            check_alike(class_files[0], every[0][0], class_file, classes)
        for other, (listed, given) in zip(class_files, every, strict=False):
            if (listed == classes).all() and (given == probabilities).all():
                raise FileFormatError(f"{class_file}: the same predictions as {other.name}, a doubled network")
        every.append((classes, probabilities))
    check_images(class_files[0], every[0], images)
    for class_file, (classes, _) in zip(class_files, every, strict=True):
        check_class_order(class_file, classes)
    return PublishedFiles(
        Path(folder),
        tuple(file.stem.removesuffix("_class") for file in class_files),
        labels=every[0][0][:, -1],
        classes=tuple(classes[:, :-1] for classes, _ in every),
        probabilities=tuple(probabilities for _, probabilities in every),
    )


def _listed(block: Block) -> Integers:
    assert block.classes is not None  # a truncated block lists its classes
    return block.classes[0]


def _find(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs of files, in the order of their numbers; every network once and none left out."""
    found: dict[tuple[int, str], Path] = {}
    for path in sorted(folder.glob("*.csv")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        key = (int(match[1]), match[2])
        if key in found:
            raise FileFormatError(f"{path} and {found[key].name} are both network {key[0]}; keep one of them")
        found[key] = path
    if not found:
        raise FileFormatError(f"{folder}: no model_NN_class.csv and model_NN_prob.csv here")
    pairs = []
    for number in range(max(number for number, _ in found) + 1):
        for kind in ("class", "prob"):
            if (number, kind) not in found:
                raise FileFormatError(f"{folder}: the {kind} file of network {number} is missing")
        pairs.append((found[number, "class"], found[number, "prob"]))
    return pairs


def _read(path: Path, columns: int) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an empty file, which is told below
            rows = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not rows of {columns} numbers without a header ({error})") from error
    if not rows.size:
        raise FileFormatError(f"{path}: the file is empty")
    if rows.shape[1] != columns:
        raise FileFormatError(f"{path}: {len(rows)} rows of {rows.shape[1]} numbers, not of {columns}")
    return rows
