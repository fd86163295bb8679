"""What can be wrong with published prediction files: rows that are doubled, lost, or in another order.

Rows of a network are `classes` (M, 6), the ids of the five best classes and the true label, and `probabilities` (M, 5).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, FileFormatError
from .blocks import Integers

CLASSES_PER_ROW = 5
_MOST_CLASSES = 1_000_000  # a class id beyond is a broken number
_ENOUGH_ROWS = 20  # fewer that are alike may be so by chance
_ENOUGH_OF_A_CLASS = 3  # images, to say what a network takes a class for
_ENOUGH_IN_A_CIRCLE = 10  # images of each class, where two classes alone count

Rows = tuple[NDArray[np.number], NDArray[np.floating]]


def check_rows(class_file: Path, prob_file: Path, rows: Rows) -> None:
    """The two files of one network fit each other and hold predictions. Raises FileFormatError."""
    classes, values = rows
    ids = np.sort(classes[:, :-1], axis=1)
    numbers = (classes == np.rint(classes)).all() and (classes >= 0).all() and (classes < _MOST_CLASSES).all()
    if not numbers or (ids[:, 1:] == ids[:, :-1]).any():
        raise FileFormatError(f"{class_file}: a row that is not {CLASSES_PER_ROW} different class ids and a label")
    falling = (values[:, 1:] <= values[:, :-1]).all(axis=1)
    possible = (values >= 0).all(axis=1) & (values.sum(axis=1) <= 1 + 1e-3)
    for row in np.flatnonzero(~(falling & possible))[:1]:
        raise FileFormatError(f"{prob_file}: row {row + 1} is not {CLASSES_PER_ROW} falling probabilities; a header?")
    if len(classes) != len(values):
        raise FileFormatError(
            f"{class_file}: {len(classes):,} rows, but {prob_file.name} has {len(values):,}; "
            + _why((class_file, classes), (prob_file, values))
        )


def check_alike(first_file: Path, first: Integers, file: Path, classes: Integers) -> None:
    """Two networks saw the same images in the same order, with classes numbered alike. Raises DataError."""
    if len(first) != len(classes):
        why = _why((first_file, first), (file, classes))
        raise DataError(f"{file}: {len(classes):,} rows, but {first_file.name} has {len(first):,}; {why}")
    mine, theirs = classes[:, -1], first[:, -1]
    if (mine == theirs).all():
        return
    pairs = np.unique(np.stack([theirs, mine]), axis=1)
    if len(np.unique(theirs)) == pairs.shape[1] == len(np.unique(mine)):
        raise DataError(f"{file}: its classes are in another order than those of {first_file.name}")
    if (np.sort(mine) == np.sort(theirs)).all():
        raise DataError(f"{file}: its images are in another order than those of {first_file.name}")
    raise DataError(f"{file}: predictions on other images than {first_file.name}")


def check_images(file: Path, rows: Rows, images: int | None) -> None:
    """No image is there twice, and none is missing, as far as the rows of one network tell.

    Raises:
        FileFormatError: a second run, whole or not, was appended. DataError: a row was lost; not `images` rows.
    """
    labels = rows[0][:, -1]
    start = _second_run(rows)
    if start is not None:
        raise FileFormatError(
            f"{file}: the images begin anew at row {start + 1:,} (a second run appended to the first); keep one run"
        )
    if images is not None:
        if len(labels) != images:
            lost = "; one lost a row, perhaps its first, read as a header" if len(labels) == images - 1 else ""
            raise DataError(f"{file}: {len(labels):,} rows for {images:,} images{lost}")
        return
    present, counts = np.unique(labels, return_counts=True)
    usual = counts.max()
    short = present[counts < usual]
    # Equally many images of each class but for one: any class where they are mixed, the first where they are sorted.
    eaten = len(short) == 1 and usual > 2 and counts.sum() == usual * len(present) - 1
    if eaten and (short[0] == labels[0] or (labels[1:] < labels[:-1]).any()):
        raise DataError(
            f"{file}: one image of class {short[0]} is missing where all classes have {usual}; "
            "was the first row read as a header? Write the files anew, or say that there are "
            f"{len(labels):,} images (holdout_images=, test_images=)"
        )


def check_class_order(file: Path, classes: Integers) -> None:
    """A network numbers classes as the labels do. Raises DataError where it is right under other numbers.

    A bad network takes several classes for the same one. Only in another order of classes it takes many of them for
    another one each, or a few in a circle: the first for the second and the second for the first.
    """
    labels, said = classes[:, -1], classes[:, 0]
    base = int(said.max()) + 1
    pairs, counts = np.unique(labels * base + said, return_counts=True)
    sizes = np.bincount(labels)[pairs // base]
    mostly = (2 * counts > sizes) & (sizes >= _ENOUGH_OF_A_CLASS)
    label, name, counts = pairs[mostly] // base, pairs[mostly] % base, counts[mostly]
    moved = (label != name) & (np.bincount(name)[name] == 1)
    circle = _in_a_circle(label, name, moved & (sizes[mostly] >= _ENOUGH_IN_A_CIRCLE))
    within = sizes[mostly][circle].sum()
    # Two classes that look the same are a coin toss each; four standard errors are no luck.
    exchanged = counts[circle].sum() > within / 2 + 2 * within**0.5
    if exchanged or counts[moved].sum() >= 0.4 * len(labels):
        moved = circle if exchanged else moved
        raise DataError(
            f"{file}: its predictions are in another order of classes than the labels; "
            f"it takes class {label[moved][0]} for {name[moved][0]}"
        )


def _in_a_circle(label: Integers, name: Integers, moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which classes lead back to themselves, going from each moved class to the one that it is taken for."""
    left = moved
    while (fewer := left & np.isin(name, label[left]) & np.isin(label, name[left])).sum() < left.sum():
        left = fewer
    return left


def same_images(one: Rows, other: Rows) -> bool:
    """Whether two predictions of one network are of the same images; it may have been calibrated anew between them.

    Then labels are equal, the best classes mostly, and the network is sure and unsure about the same images.
    """
    if len(one[0]) != len(other[0]) or (one[0][:, -1] != other[0][:, -1]).any():
        return False
    telling = (one[1][:, 0] < 1) & (other[1][:, 0] < 1)  # images that it is certain about look all the same
    if telling.sum() < _ENOUGH_ROWS or (one[0][telling, :3] == other[0][telling, :3]).all(axis=1).mean() < 0.4:
        return False
    doubt = np.log(1 - np.stack([one[1][telling, 0], other[1][telling, 0]]).astype(np.float64))
    doubt -= doubt.mean(axis=1, keepdims=True)
    return bool(doubt[0] @ doubt[1] > 0.8 * np.linalg.norm(doubt[0]) * np.linalg.norm(doubt[1]))


def _second_run(rows: Rows) -> int | None:
    """The row at which a run begins again that went through the images in the same order, or None.

    Labels alone do not tell, as classes may take turns: predictions are compared too.
    """
    labels = rows[0][:, -1]
    change = int(np.argmax(labels != labels[0]))
    if not change:
        return None  # one class only
    starts = np.flatnonzero((labels[change - 1 : -1] == labels[0]) & (labels[change:] == labels[change]))
    for start in starts[1:].tolist():
        size = min(start, len(labels) - start)
        other = labels[start : start + size] != labels[:size]
        size = int(np.argmax(other)) if other.any() else size
        if size >= _ENOUGH_ROWS and same_images(
            (rows[0][:size], rows[1][:size]),
            (rows[0][start : start + size], rows[1][start : start + size]),
        ):
            return start
    return None


def _why(one: tuple[Path, NDArray[np.number]], other: tuple[Path, NDArray[np.number]]) -> str:
    """A guess at why two files have different numbers of rows."""
    (_, shorter), (file, longer) = sorted((one, other), key=lambda named: len(named[1]))
    if len(longer) == len(shorter) + 1:
        return "one lost a row, perhaps its first, read as a header"
    again = longer[len(shorter) :, -1]
    if len(again) <= len(shorter) and (again == longer[: len(again), -1]).all():
        return f"{file.name} holds rows twice (a second run appended to the first)"
    return "they are of different image sets, or a run was stopped"
