import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from onceforall.data.decode import read_whole
from onceforall.data.shards import read_shards
from onceforall.errors import DataError


def write_shard(path, samples: dict[str, str | None], ending: str = "png"):
    """A WebDataset shard: an image and a label file per sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (key, label) in enumerate(samples.items()):
            image = io.BytesIO()
            Image.new("RGB", (4, 4), (number, 0, 0)).save(image, "PNG")
            files = {f"{key}.{ending}": image.getvalue(), f"{key}.json": b"{}"}
            if label is not None:
                files[f"{key}.cls"] = label.encode()
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def test_images_are_read_in_place(tmp_path):
    write_shard(tmp_path / "train-000.tar", {"a/0001": "0", "a/0002": "2\n"})
    write_shard(tmp_path / "train-001.tar", {"b/0001": "1"})
    write_shard(tmp_path / "val-000.tar", {"c/0001": "1"})
    raw = read_shards("fruit", tmp_path)
    assert raw.classes == ["0", "1", "2"]
    assert raw.parts["train"].labels.tolist() == [0, 2, 1]
    assert raw.parts["validation"].labels.tolist() == [1]
    entries = raw.parts["train"].entries
    assert entries.name(1) == f"{tmp_path}/train-000.tar:a/0002"
    assert np.array_equal(read_whole(entries.payload(1), 3), np.full((4, 4, 3), [1, 0, 0]))


def test_classes_have_names_from_a_list_or_from_the_labels(tmp_path):
    write_shard(tmp_path / "numbered" / "x.tar", {"1": "0", "2": "1"})
    (tmp_path / "numbered" / "classes.txt").write_text("pear\nplum\n")
    assert read_shards("", tmp_path / "numbered").classes == ["pear", "plum"]
    named = read_shards("", write_shard(tmp_path / "named.tar", {"1": "plum", "2": "pear"}, ending="PNG"))
    assert named.classes == ["pear", "plum"]
    assert named.parts["train"].labels.tolist() == [1, 0]


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.tar shards"):
        read_shards("", tmp_path)
    unlabelled = write_shard(tmp_path / "unlabelled.tar", {"1": None})
    with pytest.raises(DataError, match=r"1 has no label; every image needs a file 1\.cls"):
        read_shards("", unlabelled)
    (tmp_path / "broken.tar").write_bytes(b"not a tar file" * 100)
    with pytest.raises(DataError, match=r"broken\.tar cannot be read"):
        read_shards("", tmp_path / "broken.tar")
    write_shard(tmp_path / "val" / "val.tar", {"1": "0"})
    assert list(read_shards("", tmp_path / "val", require_train=False).parts) == ["validation"]
    with pytest.raises(DataError, match="no training shards"):
        read_shards("", tmp_path / "val")
