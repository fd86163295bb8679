import shutil

import numpy as np
import pytest

from onceforall.data.folder import read_folder
from onceforall.errors import DataError


def test_class_folders_at_the_root_are_all_training_images(tmp_path, write_photos):
    raw = read_folder(write_photos(tmp_path / "fruit"))
    assert raw.name == "fruit"
    assert raw.classes == ["apple", "banana", "cherry"]
    assert set(raw.parts) == {"train"}
    assert raw.parts["train"].labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert raw.parts["train"].entries.name(6).endswith("banana/000.jpg")


@pytest.mark.parametrize(
    ("folder", "part"), [("val", "validation"), ("validation", "validation"), ("valid", "validation"), ("test", "test")]
)
def test_parts_are_known_by_their_folder(tmp_path, write_photos, folder, part):
    raw = read_folder(write_photos(tmp_path, parts=("train", folder)))
    assert set(raw.parts) == {"train", part}
    assert len(raw.parts[part].labels) == 18


def test_a_test_part_may_lack_classes_and_the_rest_keep_their_numbers(tmp_path, write_photos):
    write_photos(tmp_path, parts=("train", "test"))
    shutil.rmtree(tmp_path / "test" / "apple")
    assert np.unique(read_folder(tmp_path).parts["test"].labels).tolist() == [1, 2]


def test_nested_images_count_and_everything_else_is_left_alone(tmp_path, write_photos):
    write_photos(tmp_path)
    (tmp_path / "apple" / "red").mkdir()
    shutil.copy(tmp_path / "apple" / "000.jpg", tmp_path / "apple" / "red" / "UPPER.JPG")
    (tmp_path / "apple" / "notes.txt").write_text("no image")
    (tmp_path / "apple" / ".thumb.jpg").write_text("hidden")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "readme.md").write_text("beside the classes")
    raw = read_folder(tmp_path)
    assert raw.classes == ["apple", "banana", "cherry"]
    assert (raw.parts["train"].labels == 0).sum() == 7


def test_an_empty_class_stops_and_says_which(tmp_path, write_photos):
    write_photos(tmp_path)
    (tmp_path / "blueberry").mkdir()
    with pytest.raises(DataError, match=r"blueberry holds no images; add images of that class or remove the folder"):
        read_folder(tmp_path)


def test_a_folder_without_images_stops(tmp_path):
    (tmp_path / "apple").mkdir()
    with pytest.raises(DataError, match="holds no images; expected files such as"):
        read_folder(tmp_path)


def test_images_without_class_folders_stop_with_the_remedy(tmp_path, write_photos):
    write_photos(tmp_path / "all", classes=("apple",))
    with pytest.raises(DataError, match="put the images of each class into a folder of their own"):
        read_folder(tmp_path / "all" / "apple")


def test_a_test_folder_alone_asks_for_a_training_folder(tmp_path, write_photos):
    write_photos(tmp_path, parts=("test", "val"))
    with pytest.raises(DataError, match=r"no train folder; add .*train"):
        read_folder(tmp_path)


def test_a_test_class_without_training_images_stops(tmp_path, write_photos):
    write_photos(tmp_path, parts=("train", "val"))
    (tmp_path / "val" / "durian").mkdir()
    with pytest.raises(DataError, match="durian is a class without training images"):
        read_folder(tmp_path)


def test_for_testing_alone_no_training_part_is_needed(tmp_path, write_photos):
    write_photos(tmp_path, parts=("val",))
    raw = read_folder(tmp_path, require_train=False)
    assert (list(raw.parts), raw.classes) == (["validation"], ["apple", "banana", "cherry"])
    write_photos(tmp_path / "other", parts=("train",))
    with pytest.raises(DataError, match=r"has no val or test folder; add .*val, or set data.root to .*train itself"):
        read_folder(tmp_path / "other", require_train=False)
    assert list(read_folder(tmp_path / "other" / "train", require_train=False).parts) == ["train"]


def test_images_that_lie_flat_in_val_stop_and_unlabelled_test_images_beside_val_are_left_alone(tmp_path, write_photos):
    write_photos(tmp_path, parts=("train", "val"))
    (tmp_path / "test").mkdir()
    shutil.copy(tmp_path / "val" / "apple" / "000.jpg", tmp_path / "test")
    assert list(read_folder(tmp_path).parts) == ["train", "validation"]
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(DataError, match=r"test has no class folders; put the images of each class"):
        read_folder(tmp_path)
