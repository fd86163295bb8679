import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from onceforall.data import parquet
from onceforall.data.decode import read_whole
from onceforall.data.parquet import parquet_files, read_parquet
from onceforall.errors import ConfigError, DataError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_table(path, labels, names=None, images=None, image_column="image", label_column="label"):
    """A parquet file as the Hugging Face hub has them."""
    images = images or [{"bytes": png(i), "path": f"{i}.png"} for i in range(len(labels))]
    table = pa.table({image_column: images, label_column: labels})
    if names:
        feature = {label_column: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": feature}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_names_parts_and_images_come_from_the_files(tmp_path):
    write_table(tmp_path / "train-00000-of-00002.parquet", [0, 1], ["cat", "dog"])
    write_table(tmp_path / "train-00001-of-00002.parquet", [1], ["cat", "dog"])
    write_table(tmp_path / "test-00000-of-00001.parquet", [1], ["cat", "dog"])
    raw = read_parquet(tmp_path)
    assert raw.classes == ["cat", "dog"]
    assert {name: part.labels.tolist() for name, part in raw.parts.items()} == {"train": [0, 1, 1], "test": [1]}
    entries = raw.parts["train"].entries
    assert len(entries) == 3
    assert entries.name(2) == "0.png"
    assert read_whole(entries.payload(1), 3)[0, 0].tolist() == [1, 0, 0]


def test_one_file_and_the_data_folder_of_the_hub_are_found(tmp_path):
    file = write_table(tmp_path / "data" / "all.parquet", [0, 1])
    assert parquet_files(tmp_path) == parquet_files(tmp_path / "data") == parquet_files(file) == [file]
    assert read_parquet(file).parts["train"].labels.tolist() == [0, 1]


def test_without_metadata_numbers_name_the_classes_and_texts_name_themselves(tmp_path):
    assert read_parquet(write_table(tmp_path / "a.parquet", [2, 0])).classes == ["0", "1", "2"]
    raw = read_parquet(write_table(tmp_path / "b.parquet", ["pear", "apple", "pear"]))
    assert raw.classes == ["apple", "pear"]
    assert raw.parts["train"].labels.tolist() == [1, 0, 1]


def test_columns_have_usual_names_or_are_named(tmp_path):
    file = write_table(tmp_path / "a.parquet", [0, 1], image_column="img", label_column="fine_label")
    assert len(read_parquet(file).parts["train"].labels) == 2
    odd = write_table(tmp_path / "b.parquet", [0, 1], image_column="photo", label_column="kind")
    assert len(read_parquet(odd, "photo", "kind").parts["train"].labels) == 2
    with pytest.raises(ConfigError, match=r"no column image or img, only photo, kind; set data.image_column"):
        read_parquet(odd)
    with pytest.raises(ConfigError, match="no column breed"):
        read_parquet(odd, "photo", "breed")


def test_images_may_be_plain_bytes_or_paths_beside_the_table(tmp_path):
    raw = read_parquet(write_table(tmp_path / "a.parquet", [0, 1], images=[png(1), png(2)]))
    assert raw.parts["train"].entries.payload(1) == png(2)
    assert raw.parts["train"].entries.name(1) == "a train row 1"
    (tmp_path / "x.png").write_bytes(png(9))
    rows = [{"bytes": None, "path": "x.png"}, {"bytes": png(1), "path": None}, {"bytes": None, "path": None}]
    entries = read_parquet(write_table(tmp_path / "b.parquet", [0, 1, 0], images=rows)).parts["train"].entries
    assert read_whole(entries.payload(0), 3)[0, 0, 0] == 9
    assert entries.name(1) == "b train row 1"
    assert entries.payload(2) == b""


def test_what_cannot_be_used_is_named_with_the_remedy(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"holds no \.parquet files; set data\.root"):
        read_parquet(tmp_path)
    missing = write_table(tmp_path / "null.parquet", [0, None])
    with pytest.raises(DataError, match="1 images have no label"):
        read_parquet(missing)
    with pytest.raises(DataError, match=r"labels are of type double"):
        read_parquet(write_table(tmp_path / "float.parquet", [0.5, 1.0], names=["a", "b"]))
    whole = missing.read_bytes()
    (tmp_path / "cut" / "x").mkdir(parents=True)
    (tmp_path / "cut" / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train\.parquet cannot be read .*copy it again"):
        read_parquet(tmp_path / "cut")
    monkeypatch.setattr(parquet, "_physical_memory", lambda: 1000)
    with pytest.raises(DataError, match="more than half of this machine's memory; write them out as an image folder"):
        read_parquet(missing)


def test_files_must_agree_about_parts_and_columns(tmp_path):
    write_table(tmp_path / "odd" / "train.parquet", [0, 1])
    write_table(tmp_path / "odd" / "more.parquet", [0, 1])
    with pytest.raises(DataError, match=r"more\.parquet belongs to no part; rename it"):
        read_parquet(tmp_path / "odd")
    write_table(tmp_path / "test" / "test.parquet", [0, 1])
    with pytest.raises(DataError, match="has no training part, only test"):
        read_parquet(tmp_path / "test")
    write_table(tmp_path / "mixed" / "train-0.parquet", [0, 1])
    write_table(tmp_path / "mixed" / "train-1.parquet", ["a", "b"])
    with pytest.raises(DataError, match="do not have the same columns"):
        read_parquet(tmp_path / "mixed")


def test_real_files_keep_their_names_and_order(shared):
    raw = read_parquet(shared / "data" / "grocery160")
    assert len(raw.classes) == 81
    assert raw.classes[:3] == ["Golden-Delicious", "Granny-Smith", "Pink-Lady"]
    assert {part: len(images.labels) for part, images in raw.parts.items()} == {
        "train": 2640,
        "validation": 296,
        "test": 2485,
    }
    coarse = read_parquet(shared / "data" / "grocery160", label_column="coarse_label")
    assert len(coarse.classes) == 43
    assert not np.array_equal(coarse.parts["train"].labels, raw.parts["train"].labels)
