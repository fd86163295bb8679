"""What is wrong with the rows of published files: doubled, lost, or in another order; and what is not."""

from pathlib import Path

import numpy as np
import pytest

from onceforall.errors import DataError, FileFormatError
from onceforall.search.ensemble.published_checks import check_class_order, check_images

CLASSES, EACH = 8, 60
FILE = Path("model_00_class.csv")


def rows_of(logits, labels):
    """The five best classes with the label, and their probabilities."""
    values = np.exp(logits)
    values /= values.sum(axis=1, keepdims=True)
    best = np.argsort(-values, axis=1)[:, :5]
    return np.column_stack([best, labels]), np.take_along_axis(values, best, axis=1)


def in_order(order):
    folders = np.repeat(np.arange(CLASSES), EACH)
    return {
        "folders": folders,
        "taking turns": np.tile(np.arange(CLASSES), EACH),
        "mixed": np.random.default_rng(0).permutation(folders),
    }[order]


def made_logits(labels, seed=1):
    """Of a network that is mostly right, and of some classes surer than of others."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += rng.normal(3, 1.5, size=len(labels)) + labels / CLASSES
    return logits


@pytest.fixture(params=["folders", "taking turns", "mixed"])
def labels(request):
    return in_order(request.param)


APPENDED = {
    "twice": [(0, None)],
    "three times": [(0, None), (0, None)],
    "one and a half times": [(0, CLASSES * EACH // 2)],
    "twice, calibrated anew": [(0.2, None)],
    "half, calibrated anew": [(0.2, CLASSES * EACH // 2)],
}


@pytest.mark.parametrize("appended", list(APPENDED))
def test_a_second_run_is_found(labels, appended):
    """Calibrated anew, a third of the rows differ in the ranks four and five."""
    logits, rng = made_logits(labels), np.random.default_rng(2)
    parts = [(logits, labels)]
    for noise, end in APPENDED[appended]:
        parts.append(((logits + noise * rng.normal(size=logits.shape))[:end], labels[:end]))
    rows = rows_of(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    with pytest.raises(FileFormatError, match=f"begin anew at row {len(labels) + 1}"):
        check_images(FILE, rows, None)


def test_a_stopped_run_before_a_whole_one_is_found(labels):
    logits, part = made_logits(labels), 2 * EACH + 16
    rows = rows_of(np.concatenate([logits[:part], logits]), np.concatenate([labels[:part], labels]))
    with pytest.raises(FileFormatError, match=f"begin anew at row {part + 1}"):
        check_images(FILE, rows, None)


def test_other_images_with_the_same_labels_are_no_second_run(labels):
    """Two sets in the same order of classes, say of two cameras, one after the other."""
    logits = np.concatenate([made_logits(labels, 1), made_logits(labels, 2)])
    check_images(FILE, rows_of(logits, np.tile(labels, 2)), None)


def test_a_network_that_is_certain_of_everything_is_no_second_run():
    labels = in_order("taking turns")
    classes, _ = rows_of(100 * np.eye(CLASSES)[labels], labels)
    check_images(FILE, (classes, np.tile([1.0, 0, 0, 0, 0], (len(labels), 1))), None)


def test_a_lost_first_row_is_found_in_any_order(labels):
    classes, values = rows_of(made_logits(labels), labels)
    check_images(FILE, (classes, values), None)
    with pytest.raises(DataError, match=f"one image of class {labels[0]} is missing where all classes have {EACH}"):
        check_images(FILE, (classes[1:], values[1:]), None)
    check_images(FILE, (classes[1:], values[1:]), len(labels) - 1)
    with pytest.raises(DataError, match=f"{len(labels) - 1} rows for {len(labels)} images; one lost a row"):
        check_images(FILE, (classes[1:], values[1:]), len(labels))
    check_images(FILE, (classes[3:], values[3:]), None)  # no balanced set


def check_order(change):
    labels = in_order("mixed")
    classes, _ = rows_of(made_logits(labels), labels)
    check_class_order(FILE, np.column_stack([change(classes[:, :5], labels), labels]))


@pytest.mark.parametrize(
    "order",
    [[1, 2, 3, 4, 5, 6, 7, 0], [0, 1, 7, 6, 5, 4, 3, 2], [0, 1, 5, 3, 4, 2, 6, 7], [0, 3, 1, 2, 4, 5, 6, 7]],
)
def test_another_order_of_classes_is_found(order):
    first = min(label for label in range(CLASSES) if order[label] != label)
    with pytest.raises(DataError, match=f"{FILE}: .* it takes class {first} for {order[first]}"):
        check_order(lambda classes, _: np.array(order)[classes])


@pytest.mark.parametrize(("classes", "each"), [(20, 5), (80, 4)])
def test_another_order_of_small_classes_is_found(classes, each):
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(classes), each)
    said = np.where(rng.random(len(labels)) < 0.85, labels, rng.integers(0, classes, len(labels)))
    five = (said[:, None] + np.arange(5)) % classes
    check_class_order(FILE, np.column_stack([five, labels]))
    with pytest.raises(DataError, match="another order of classes"):
        check_class_order(FILE, np.column_stack([rng.permutation(classes)[five], labels]))


def confused(classes, labels):
    """Two classes are taken for two others, and these for anything: three in four of all images are guessed."""
    guessed = np.random.default_rng(0).permuted(np.tile(np.arange(CLASSES), (len(labels), 1)), axis=1)[:, :5]
    found = np.where((np.arange(len(labels)) % 4 == 0)[:, None], classes, guessed)
    found[labels == 2] = [3, 2, 1, 0, 4]
    found[labels == 5] = [6, 2, 1, 0, 4]
    return found


def alike(classes, labels):
    """Two classes look the same: which one is said is a coin toss, here luckier for the other one of both."""
    found = classes.copy()
    for label, other in ((2, 5), (5, 2)):
        rows = np.flatnonzero(labels == label)
        found[rows] = [label, other, 0, 1, 3]
        found[rows[: EACH // 2 + 6]] = [other, label, 0, 1, 3]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda classes, _: classes,
        alike,
        lambda classes, _: classes[::-1],
        lambda classes, _: np.tile([3, 1, 2, 0, 4], (len(classes), 1)),
        confused,
    ],
)
def test_a_bad_network_is_no_other_order(change):
    check_order(change)
