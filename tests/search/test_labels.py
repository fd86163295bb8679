import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onceforall.errors import FileFormatError, InvalidArch, RunError, StorageError
from onceforall.search import LabelStore
from onceforall.space import create_space

SPACE = create_space("resnet_small")
ARCHS = list(dict.fromkeys(SPACE.sample_many(20, np.random.default_rng(0))))[:5]


def filled(path: Path) -> LabelStore:
    store = LabelStore(path, SPACE, "w1", images=300)
    for index, arch in enumerate(ARCHS):
        store.add(arch, 0.5 + index / 100, 0.02)
    return store


def test_labels_survive_in_order(tmp_path: Path) -> None:
    path = tmp_path / "predictor" / "labels.jsonl"
    written = list(filled(path))
    store = LabelStore(path, SPACE, "w1", images=300)
    assert list(store) == written
    assert len(store) == 5
    assert ARCHS[2] in store
    label = store.get(ARCHS[2])
    assert label is not None
    assert label.top1 == 0.52
    assert store.get(SPACE.largest if SPACE.largest not in ARCHS else SPACE.smallest) is None
    assert not store.notes
    record = json.loads(path.read_text().splitlines()[0])
    assert set(record) == {"arch", "top1", "top1_error", "images", "calibration_images", "batch_size", "weights"}


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_torn_last_line_is_dropped_with_a_note(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "labels.jsonl"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    store = LabelStore(path, SPACE, "w1", images=300)
    assert len(store) == 4
    assert "torn last line" in store.notes[0]
    store.add(ARCHS[4], 0.54, 0.02)
    assert path.read_bytes() == whole


def test_file_torn_in_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"arch": {"resol')
    assert len(LabelStore(path, SPACE, "w1")) == 0
    assert path.read_text() == ""


def test_refuses_other_weights_and_other_spaces(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    filled(path)
    before = path.read_bytes()
    with pytest.raises(RunError, match="other weights"):
        LabelStore(path, SPACE, "w2", images=300)
    with pytest.raises(RunError, match="another space"):
        LabelStore(path, create_space("mbv3_small"), "w1", images=300)
    assert path.read_bytes() == before


def test_other_image_counts_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    filled(path)
    store = LabelStore(path, SPACE, "w1", images=1000)
    assert len(store) == 0
    assert "5 labels" in store.notes[0]
    store.add(ARCHS[0], 0.6, 0.01)
    assert len(LabelStore(path, SPACE, "w1", images=1000)) == 1
    assert len(LabelStore(path, SPACE, "w1", images=300)) == 5
    recalibrated = LabelStore(path, SPACE, "w1", images=300, calibration_images=500)
    assert len(recalibrated) == 0
    assert "after calibration on 500 in batches of 0, or do not say so; not used" in recalibrated.notes[0]
    other = tmp_path / "calibrated.jsonl"
    LabelStore(other, SPACE, "w1", 300, 500, 200).add(ARCHS[0], 0.6, 0.01)
    assert [len(LabelStore(other, SPACE, "w1", 300, 500, size)) for size in (200, 100)] == [1, 0]
    assert len(LabelStore(path, SPACE, "w1", 300, 0, 100)) == 5, "nothing was calibrated: batches do not matter"


def test_other_resolutions_are_set_aside(tmp_path: Path) -> None:
    path, space = tmp_path / "labels.jsonl", create_space("resnet_small", resolutions=(24, 28, 32))
    wide = LabelStore(path, space, "w1")
    for arch in space.sample_many(20, np.random.default_rng(1)):
        wide.add(arch, 0.5, 0.02)
    before = path.read_bytes()
    narrow = LabelStore(path, space.restrict(resolutions=(24, 32)), "w1")
    assert list(narrow) == [label for label in wide if label.arch.resolution != 28]
    left = before.count(b'"resolution": 28')
    assert 0 < left < 20
    assert narrow.notes == [f"{left} labels of {path} are of other resolutions than 24, 32 px; not used"]
    with pytest.raises(InvalidArch, match="resolution 28"):
        narrow.add(replace(space.largest, resolution=28), 0.5, 0.02)
    assert path.read_bytes() == before
    assert list(LabelStore(path, space, "w1")) == list(wide)


def test_lines_that_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    filled(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{}", lines[1]]) + "\n")
    with pytest.raises(FileFormatError, match=r"line 2 of .* is not a label"):
        LabelStore(path, SPACE, "w1", images=300)
    path.write_text(lines[0].replace("0.5,", "NaN,") + "\n")
    with pytest.raises(FileFormatError, match=r"line 1 of .* gives top1=nan"):
        LabelStore(path, SPACE, "w1", images=300)


def test_bad_labels_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    store = LabelStore(path, SPACE, "w1")
    with pytest.raises(FileFormatError, match="top1=nan"):
        store.add(ARCHS[0], float("nan"), 0.0)
    with pytest.raises(FileFormatError, match=r"top1=97\.0"):
        store.add(ARCHS[0], 97.0, 0.0)
    with pytest.raises(InvalidArch):
        store.add(create_space("mbv3_small").largest, 0.5, 0.0)
    assert not path.exists()


def test_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.jsonl"
    store = filled(path)
    before = path.read_bytes()
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real_write(handle, data[: len(data) // 2]))
    with pytest.raises(StorageError, match="labels written before are intact"):
        store.add(SPACE.largest, 0.5, 0.0)
    assert path.read_bytes() == before


def test_memory_only() -> None:
    store = LabelStore(None, SPACE, "w1")
    store.add(ARCHS[0], 0.5, 0.0)
    assert len(store) == 1
