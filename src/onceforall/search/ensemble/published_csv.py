"""Prediction tables as they were published with OFA3: two CSV files per network, without headers.

`model_NN_class.csv` holds the ids of the five best classes and the true label, `model_NN_prob.csv` the five
probabilities; one row per image. Files were written in append mode, so a second run doubled the rows; one published
analysis lost its first row to a reader that took it for a header. Both are recognised and refused.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, FileFormatError
from ...files import atomic_path
from .blocks import Block, Integers
from .tables import PredictionTable, TableNetwork

CLASSES_PER_ROW = 5
_NAME = re.compile(r"(?:.*_)?model_(\d+)_(class|prob)\.csv")


def write_published(tables: Sequence[PredictionTable], folder: str | Path) -> list[Path]:
    """Write tables of the same images as CSV files, networks numbered in their order; returns the files.

    Raises:
        DataError: fewer than five classes. RunError: networks without predictions. StorageError.
    """
    for table in tables:
        if min(len(table.classes), table.top or CLASSES_PER_ROW) < CLASSES_PER_ROW:
            raise DataError(
                f"{table.path}: the published files hold {CLASSES_PER_ROW} classes per image, this table fewer"
            )
    networks = [(table, network) for table in tables for network in table.networks]
    digits = max(2, len(str(len(networks) - 1)))
    written = []
    for index, (table, network) in enumerate(networks):
        block = Block(table.labels, table.probabilities(network.name)[None]).truncated(CLASSES_PER_ROW)
        classes = np.concatenate([_listed(block), table.labels[:, None]], axis=1)
        for kind, rows, form in (("class", classes, "%d"), ("prob", block.probabilities[0], "%.9g")):
            path = Path(folder) / f"model_{index:0{digits}d}_{kind}.csv"
            with atomic_path(path) as temporary:
                np.savetxt(temporary, rows, fmt=form, delimiter=",")
            written.append(path)
    return written


def read_published(
    folder: str | Path,
    path: str | Path,
    *,
    class_count: int | None = None,
    latencies_ms: Sequence[float] | None = None,
    images: int | None = None,
) -> PredictionTable:
    """Read a folder of CSV files into a new table at `path`.

    `class_count` counts classes that no row names too, `images` is how many images there should be.

    Raises:
        FileFormatError: a missing or doubled network or file, rows that are doubled, lost, or not predictions.
        DataError: files of different images, orders of images, or orders of classes; latencies that do not fit.
    """
    files = _find(Path(folder))
    if latencies_ms is not None and len(latencies_ms) != len(files):
        raise DataError(f"{folder}: {len(files)} networks and {len(latencies_ms)} latencies")
    classes, probabilities = [], []
    for class_file, prob_file in files:
        found, values = _read(class_file, CLASSES_PER_ROW + 1), _read(prob_file, CLASSES_PER_ROW)
        _check_rows(class_file, found, prob_file, values)
        if classes:
            _check_alike(files[0][0], classes[0], class_file, found)
            for other, earlier in enumerate(classes):
                if (earlier == found).all() and (probabilities[other] == values).all():
                    raise FileFormatError(
                        f"{class_file}: the same predictions as {files[other][0].name}, a doubled network"
                    )
        classes.append(found.astype(np.int64))
        probabilities.append(values)
    labels = classes[0][:, -1]
    _check_first_row(files[0][0], labels, images)
    count = max(class_count or 0, max(int(found.max()) for found in classes) + 1)
    if class_count is not None and count > class_count:
        raise DataError(f"{folder}: class {count - 1} in files of {class_count} classes")
    latencies = [None] * len(files) if latencies_ms is None else [float(latency) for latency in latencies_ms]
    networks = [
        TableNetwork(class_file.stem.removesuffix("_class"), latency_ms=latency)
        for (class_file, _), latency in zip(files, latencies, strict=True)
    ]
    names = [str(number) for number in range(count)]
    table = PredictionTable.create(
        path, networks, labels, range(len(labels)), names, top=CLASSES_PER_ROW, origin={"published": str(folder)}
    )
    for network, found, values in zip(networks, classes, probabilities, strict=True):
        table.write_listed(network.name, found[:, :-1], values)
    return table


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
        rows = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not rows of {columns} numbers without a header ({error})") from error
    if rows.shape[1] != columns or not len(rows):
        raise FileFormatError(f"{path}: {len(rows)} rows of {rows.shape[1]} numbers, not of {columns}")
    return rows


def _check_rows(class_file: Path, classes: NDArray[np.float64], prob_file: Path, values: NDArray[np.float64]) -> None:
    """The two files of one network fit each other and hold predictions."""
    ids = np.sort(classes[:, :-1], axis=1)
    if (classes != np.rint(classes)).any() or (classes < 0).any() or (ids[:, 1:] == ids[:, :-1]).any():
        raise FileFormatError(f"{class_file}: a row that is not {CLASSES_PER_ROW} different class ids and a label")
    falling = (values[:, 1:] <= values[:, :-1]).all(axis=1)
    possible = (values >= 0).all(axis=1) & (values.sum(axis=1) <= 1 + 1e-3)
    for row in np.flatnonzero(~(falling & possible))[:1]:
        raise FileFormatError(f"{prob_file}: row {row + 1} is not {CLASSES_PER_ROW} falling probabilities; a header?")
    if len(classes) != len(values):
        raise FileFormatError(
            f"{class_file}: {len(classes):,} rows, but {prob_file.name} has {len(values):,}; "
            + _why(len(classes), len(values))
        )
    half = len(classes) // 2
    if half and len(classes) == 2 * half:
        same = (classes[:half] == classes[half:]).all(axis=1)
        # A second run repeats the labels exactly and the predictions nearly, as it calibrates anew.
        if (classes[:half, -1] == classes[half:, -1]).all() and same.mean() >= 0.9:
            raise FileFormatError(f"{class_file}: every row is there twice (a second run appended to the first)")


def _check_alike(first_file: Path, first: NDArray[np.int64], file: Path, classes: NDArray[np.float64]) -> None:
    """Two networks saw the same images in the same order, with classes numbered alike."""
    if len(first) != len(classes):
        why = _why(len(first), len(classes))
        raise DataError(f"{file}: {len(classes):,} rows, but {first_file.name} has {len(first):,}; {why}")
    mine, theirs = classes[:, -1].astype(np.int64), first[:, -1]
    if (mine == theirs).all():
        return
    pairs = np.unique(np.stack([theirs, mine]), axis=1)
    if len(np.unique(theirs)) == pairs.shape[1] == len(np.unique(mine)):
        raise DataError(f"{file}: its classes are in another order than those of {first_file.name}")
    if (np.sort(mine) == np.sort(theirs)).all():
        raise DataError(f"{file}: its images are in another order than those of {first_file.name}")
    raise DataError(f"{file}: predictions on other images than {first_file.name}")


def _why(one: int, other: int) -> str:
    low, high = sorted((one, other))
    if high == 2 * low:
        return "one holds every row twice (a second run appended to the first)"
    if high == low + 1:
        return "one lost a row, perhaps its first, read as a header"
    return "they are of different image sets"


def _check_first_row(file: Path, labels: Integers, images: int | None) -> None:
    if images is not None and len(labels) != images:
        raise DataError(f"{file}: {len(labels):,} rows for {images:,} images; {_why(len(labels), images)}")
    present, counts = np.unique(labels, return_counts=True)
    usual = counts.max()
    # Classes of equal size but for one image, of the class that comes first: the row that was read as a header.
    short = present[counts < usual]
    if len(present) > 1 and usual > 2 and short.tolist() == [labels[0]] and counts.sum() == usual * len(present) - 1:
        raise DataError(
            f"{file}: one image of class {labels[0]} is missing where all classes have {usual}; "
            "was the first row read as a header?"
        )
