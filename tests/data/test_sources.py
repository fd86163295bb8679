import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from onceforall.data import DataConfig, DataSource, EncodedImages, ResidentImages, load_data, resolve_source
from onceforall.data.parquet import read_parquet
from onceforall.errors import ConfigError, DataError


def images_of(images) -> set:
    """What identifies the images of a set."""
    if isinstance(images, ResidentImages):
        return {image.numpy().tobytes() for image in images.images}
    return {images.name(i) for i in range(len(images))}


def test_digits_need_nothing(digits_source):
    source = digits_source
    assert (source.name, source.in_chans, source.num_classes) == ("digits", 1, 10)
    assert source.classes == [str(i) for i in range(10)]
    assert (len(source.train), len(source.holdout), len(source.test)) == (1294, 144, 359)
    assert source.test_is_split
    assert source.train.images.shape == (1294, 1, 8, 8)
    assert source.train.images.max() == 255
    assert not source.train.mirror
    assert source.train.padding == "zero"
    assert np.bincount(source.test.labels).min() >= 34
    assert not images_of(source.train) & images_of(source.test)
    assert not images_of(source.holdout) & images_of(source.test)
    assert "no test part was given" in source.summary


def test_the_seed_moves_the_hold_out_but_never_the_test_part(digits_source):
    again, other = load_data(DataConfig("digits")), load_data(DataConfig("digits", seed=1))
    assert torch.equal(again.train.images, digits_source.train.images)
    assert torch.equal(again.holdout.images, digits_source.holdout.images)
    assert torch.equal(other.test.images, digits_source.test.images)
    assert not torch.equal(other.holdout.images, digits_source.holdout.images)
    assert again.mean == digits_source.mean != other.mean


def test_hold_out_may_be_a_count_or_nothing():
    assert len(load_data(DataConfig("digits", holdout=100)).holdout) == 100
    none = load_data(DataConfig("digits", holdout=0))
    assert (len(none.holdout), len(none.train)) == (0, 1438)


def test_limits_keep_classes_balanced_and_leave_the_hold_out_alone(digits_source):
    quick = load_data(DataConfig("digits", max_train=200, max_test=50))
    assert np.bincount(quick.train.labels).tolist() == pytest.approx([20] * 10, abs=1)
    assert len(quick.test) == 50
    assert torch.equal(quick.holdout.images, digits_source.holdout.images)
    assert images_of(quick.train) < images_of(digits_source.train)
    with pytest.raises(ConfigError, match=r"data\.max_train is 0"):
        load_data(DataConfig("digits", max_train=0))


def test_a_photo_folder_with_a_test_part(tmp_path, write_photos):
    root = write_photos(tmp_path, per_class=10, parts=("train", "test"))
    source = load_data(DataConfig(root=str(root), holdout=0.2))
    assert isinstance(source.train, EncodedImages)
    assert (len(source.train), len(source.holdout), len(source.test)) == (24, 6, 30)
    assert np.bincount(source.holdout.labels).tolist() == [2, 2, 2]
    assert all("/train/" in name for name in images_of(source.holdout) | images_of(source.train))
    assert all("/test/" in name for name in images_of(source.test))
    assert not images_of(source.holdout) & images_of(source.train)
    assert not source.test_is_split
    assert source.corrupt == []


def test_class_folders_alone_are_divided_in_three(tmp_path, write_photos):
    root = write_photos(tmp_path, per_class=20)
    source = load_data(DataConfig(root=str(root)))
    parts = [images_of(part) for part in (source.train, source.holdout, source.test)]
    assert [len(part) for part in parts] == [43, 5, 12]
    assert len(set().union(*parts)) == 60
    assert source.test_is_split


def names_of(source: DataSource, root: Path) -> dict[str, set]:
    """Relative names of the images of each part."""
    parts = {"train": source.train, "holdout": source.holdout, "test": source.test}
    return {part: {name.removeprefix(f"{root}/") for name in images_of(images)} for part, images in parts.items()}


def moved(before: dict[str, set], after: dict[str, set]) -> int:
    """How many images that were there before are in another part now."""
    return sum(len(before[one] & after[other]) for one in before for other in after if one != other)


@pytest.mark.parametrize("resident", ["false", "true"])
def test_a_photo_more_or_less_hardly_moves_the_others(tmp_path, write_photos, resident):
    root = write_photos(tmp_path / "photos", per_class=30, size=(80, 72))
    options = {"resident": resident, "resolution": 16}
    before = load_data(DataConfig(root=str(root), **options))
    again = load_data(DataConfig(root=str(shutil.copytree(root, tmp_path / "moved")), **options))
    assert again.digests == before.digests
    shutil.copy(root / "apple" / "000.jpg", root / "apple" / "0000.jpg")  # first of all in the order of names
    more = load_data(DataConfig(root=str(root), **options))
    assert more.digests["train"] != before.digests["train"]
    (root / "apple" / "0000.jpg").unlink()
    (root / "banana" / "007.jpg").unlink()
    less = load_data(DataConfig(root=str(root), **options))
    for after in (more, less):
        if resident == "false":
            assert moved(names_of(before, root), names_of(after, root)) <= 3
        else:
            kept = np.intersect1d(before.train.keys, after.train.keys)
            assert len(kept) >= len(before.train) - 3


def test_a_row_more_hardly_moves_the_others(tmp_path):
    def load(numbers: range) -> DataSource:
        rows = []
        for number in numbers:
            image = io.BytesIO()
            Image.new("RGB", (8, 8), (number, 0, 0)).save(image, "PNG")
            rows.append(image.getvalue())
        table = pa.table({"image": rows, "label": [number % 2 for number in numbers]})
        pq.write_table(table, tmp_path / "train.parquet")
        return load_data(DataConfig(root=str(tmp_path)))

    before, after = load(range(1, 81)), load(range(81))
    for part in ("train", "holdout", "test"):
        one, other = getattr(before, part).keys, getattr(after, part).keys
        assert len(np.setdiff1d(one, other)) <= 2


def test_validation_is_the_test_part_where_there_is_no_other(tmp_path, write_photos, caplog):
    write_photos(tmp_path / "two", parts=("train", "val"))
    two = load_data(DataConfig(root=str(tmp_path / "two")))
    assert all("/val/" in name for name in images_of(two.test))
    assert all("/train/" in name for name in images_of(two.holdout))


def test_a_validation_part_beside_a_test_part_is_the_hold_out(tmp_path, write_photos):
    root = write_photos(tmp_path, parts=("train", "val", "test"))
    shutil.rmtree(root / "val" / "cherry")
    source = load_data(DataConfig(root=str(root)))
    assert (len(source.train), len(source.holdout), len(source.test)) == (18, 12, 18)
    assert all("/val/" in name for name in images_of(source.holdout))
    assert all("/test/" in name for name in images_of(source.test))
    assert "12 hold-out (its own validation part; 1 of 3 classes have none), 18 test images" in source.summary


@pytest.mark.parametrize("words", [{"holdout": 0.2}, {"holdout": 0}, {"holdout_rule": "official"}])
def test_a_hold_out_that_is_asked_for_comes_from_the_training_images(tmp_path, write_photos, words):
    root = write_photos(tmp_path, parts=("train", "val", "test"))
    source = load_data(DataConfig(root=str(root), **words))
    assert len(source.train) + len(source.holdout) == 18
    assert all("/train/" in name for name in images_of(source.holdout) | images_of(source.train))
    assert "hold-out (from the training images; its validation part of 18 is not used), 18 test" in source.summary


def test_corrupt_images_are_in_no_set_and_listed(tmp_path, write_photos):
    root = write_photos(tmp_path, classes=("a", "b"), per_class=100, size=(80, 72))
    (root / "b" / "050.jpg").write_bytes((root / "b" / "050.jpg").read_bytes()[:200])
    source = load_data(DataConfig(root=str(root)))
    assert [image.name for image in source.corrupt] == [str(root / "b" / "050.jpg")]
    names = set().union(*(images_of(part) for part in (source.train, source.holdout, source.test)))
    assert len(names) == 199
    assert "1 corrupt left out" in source.summary
    for number in range(5):
        (root / "a" / f"00{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="6 of 200 images cannot be read, more than the 5 that may be left out"):
        load_data(DataConfig(root=str(root)))


def test_auto_takes_what_lies_at_the_root(tmp_path, write_photos):
    write_photos(tmp_path / "photos")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "train.parquet").write_bytes(b"")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train.tar").write_bytes(b"")
    found = {
        name: resolve_source(DataConfig(root=str(tmp_path / name))).source for name in ("photos", "tables", "shards")
    }
    assert found == {"photos": "folder", "tables": "parquet", "shards": "wds/shards"}
    assert resolve_source(DataConfig(source="digits")).source == "digits"
    assert resolve_source(DataConfig(source="torch/cifar10")).source == "torch/cifar10"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source": "imagenet"}, ConfigError, r"data\.source is 'imagenet'; use auto, digits, folder, parquet, torch/"),
        ({"source": "torch"}, ConfigError, "use auto, digits"),
        ({"source": "digits", "root": "."}, ConfigError, r"images at \. use: experiment=photos data\.root=\.$"),
        ({}, ConfigError, r"^data\.root=PATH is needed \(or data=digits for the embedded images\)$"),
        ({"source": "folder"}, ConfigError, r"needs data\.root=FOLDER"),
        ({"root": "/no/such/folder"}, DataError, r"/no/such/folder does not exist; set data\.root"),
        ({"root": __file__}, DataError, "is a file; set data.root to a folder"),
        (
            {"source": "digits", "holdout": 2000},
            ConfigError,
            r"data\.holdout is 2000 for 1438 images; use a fraction below 1",
        ),
        ({"source": "digits", "holdout": -0.5}, ConfigError, r"data\.holdout is -0\.5"),
        ({"source": "digits", "test_fraction": 1e9}, ConfigError, r"data\.test_fraction is 1e\+09"),
        ({"source": "digits", "seed": -1}, ConfigError, r"data\.seed is -1; use 0 or more"),
    ],
)
def test_impossible_options_name_the_remedy(options, error, message):
    with pytest.raises(error, match=message):
        load_data(DataConfig(**options))


def test_one_class_is_too_few(tmp_path, write_photos):
    with pytest.raises(DataError, match=r"has 1 class \(apple\); training needs at least two"):
        load_data(DataConfig(root=str(write_photos(tmp_path, classes=("apple",)))))


def test_one_image_per_class_leaves_nothing_to_set_aside(tmp_path, write_photos):
    root = str(write_photos(tmp_path, per_class=1))
    with pytest.raises(
        DataError, match=r"data\.test_fraction=0\.2 leaves no image to set aside.*data\.test_fraction=0"
    ):
        load_data(DataConfig(root=root))
    assert len(load_data(DataConfig(root=root, holdout=0, test_fraction=0)).train) == 3


def test_labels_outside_the_classes_stop(tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    table = pa.table({"image": [image.getvalue()] * 4, "label": [0, 1, -1, 0]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"image 2 has label -1, outside 0\.\.1 \(1 such labels\)"):
        load_data(DataConfig(root=str(tmp_path)))


def test_a_class_that_only_has_broken_images_stops(tmp_path, write_photos):
    root = write_photos(tmp_path, classes=("a", "b"), per_class=150, size=(72, 72))
    (root / "rare").mkdir()
    (root / "rare" / "0.jpg").write_bytes(b"broken")
    with pytest.raises(DataError, match="class 'rare' has no training image that can be read"):
        load_data(DataConfig(root=str(root)))


def test_webdataset_and_torchvision_sources_load(tmp_path):
    from .test_library import write_mnist
    from .test_shards import write_shard

    shards = write_shard(tmp_path / "s" / "train.tar", {f"{i:03d}": str(i % 2) for i in range(20)}).parent
    source = load_data(DataConfig(root=str(shards)))
    assert (source.name, len(source.train), len(source.test)) == ("s", 14, 4)
    write_mnist(tmp_path)
    mnist = load_data(DataConfig(source="torch/mnist", root=str(tmp_path), holdout=5))
    assert (mnist.in_chans, len(mnist.train), len(mnist.test), mnist.train.mirror) == (1, 15, 10, False)


def test_real_cifar_becomes_resident(shared):
    source = load_data(DataConfig(root=str(shared / "data" / "cifar10"), max_test=1000))
    assert isinstance(source.train, ResidentImages)
    assert source.train.images.shape == (45_000, 3, 32, 32)
    assert np.bincount(source.holdout.labels).tolist() == [500] * 10
    assert np.bincount(source.test.labels).tolist() == [100] * 10
    assert source.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.005)
    assert source.std == pytest.approx((0.247, 0.243, 0.262), abs=0.005)


def test_real_groceries_are_the_same_as_table_and_as_folder(shared, tmp_path):
    tables = shared / "data" / "grocery160"
    raw = read_parquet(tables)
    for part, images in raw.parts.items():
        for index, label in enumerate(images.labels):
            # numbered, because a folder is read in the order of its names
            folder = tmp_path / part / f"{label:02d} {raw.classes[label]}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:05d}.jpg").write_bytes(images.entries.payload(index))
    from_tables, from_folder = (load_data(DataConfig(root=str(root))) for root in (tables, tmp_path))
    assert [name[3:] for name in from_folder.classes] == from_tables.classes
    for part in ("train", "holdout", "test"):
        counts = [np.bincount(getattr(s, part).labels, minlength=81) for s in (from_tables, from_folder)]
        assert np.array_equal(*counts)
    assert from_folder.mean == pytest.approx(from_tables.mean, abs=0.02)
    assert (len(from_tables.train), len(from_tables.holdout), len(from_tables.test)) == (2640, 296, 2485)
    assert np.bincount(from_tables.train.labels, minlength=81).min() > 0


def test_real_imagenet_samples_need_all_their_images_for_training(shared):
    root = str(shared / "data" / "imagenet_samples")
    with pytest.raises(DataError, match="no class may lose its last one"):
        load_data(DataConfig(root=root))
    source = load_data(DataConfig(root=root, holdout=0, test_fraction=0))
    assert (len(source.train), len(source.test), source.num_classes) == (1000, 0, 1000)
    assert source.classes[0] == "n01440764 tench"


def test_for_a_network_from_elsewhere_nothing_is_set_aside(tmp_path, write_photos, digits_source):
    source = load_data(DataConfig("digits"), training=False)
    assert (len(source.train), len(source.holdout), len(source.test)) == (1797, 0, 1797)
    assert not source.test_is_split
    write_photos(tmp_path / "both", parts=("train", "val"))
    both = load_data(DataConfig(root=str(tmp_path / "both")), training=False)
    assert (len(both.train), len(both.holdout), len(both.test)) == (18, 0, 18)
    assert not images_of(both.train) & images_of(both.test)
    write_photos(tmp_path / "one", parts=("val",))
    one = load_data(DataConfig(root=str(tmp_path / "one"), max_test=6), training=False)
    assert (len(one.train), len(one.test), one.classes) == (0, 6, ["apple", "banana", "cherry"])
    assert all(0 < value < 1 for value in (*one.mean, *one.std))
    with pytest.raises(DataError, match="no train folder"):
        load_data(DataConfig(root=str(tmp_path / "one")))


def test_a_parquet_folder_without_training_rows(tmp_path, shared):
    rows = pq.read_table(next((shared / "data" / "cifar10").glob("test-*"))).slice(0, 30)
    pq.write_table(rows, tmp_path / "test.parquet")
    source = load_data(DataConfig(root=str(tmp_path)), training=False)
    assert (len(source.train), len(source.test), source.num_classes) == (0, 30, 10)
    with pytest.raises(DataError, match="has no training part, only test"):
        load_data(DataConfig(root=str(tmp_path)))


def test_imagenet_settings_reach_the_images(tmp_path, write_photos):
    photos = write_photos(tmp_path, per_class=10)
    given = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "test_transform": "official"}
    source = load_data(DataConfig(root=str(photos), holdout=7, holdout_rule="official", test_fraction=0.2, **given))
    assert (source.mean, source.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert {part.test_transform for part in (source.train, source.holdout, source.test)} == {"official"}
    assert (len(source.train), len(source.holdout), len(source.test)) == (17, 7, 6)
    again = load_data(DataConfig(root=str(photos), holdout=7, holdout_rule="official", test_fraction=0.2, seed=5))
    assert images_of(again.holdout) == images_of(source.holdout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_transform": "squash"}, "data.test_transform is 'squash'; use centre or official or mmrazor"),
        ({"holdout_rule": "last"}, "data.holdout_rule is 'last'"),
        ({"mean": [0.5, 0.5]}, r"data.mean is \[0.5, 0.5\]; give 1 numbers"),
        ({"std": [0.0]}, "every deviation must be above 0"),
        ({"std": [1.5]}, "data.std"),
    ],
)
def test_settings_that_fit_nothing(options, message):
    with pytest.raises(ConfigError, match=message):
        load_data(DataConfig("digits", **options))
