import struct
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from onceforall.data.library import read_hugging_face, read_torchvision
from onceforall.errors import ConfigError, DataError, MissingExtra


def write_mnist(root, train: int = 20, test: int = 10) -> None:
    """The four files torchvision's MNIST keeps."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("t10k", test)):
        images = np.arange(count * 784, dtype=np.uint32).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())


def test_torchvision_arrays_come_with_their_names_and_are_not_mirrored_when_digits(tmp_path):
    write_mnist(tmp_path)
    raw = read_torchvision("mnist", tmp_path)
    assert raw.name == "torch/mnist"
    assert raw.classes[0] == "0 - zero"
    assert not raw.mirror
    train = raw.parts["train"]
    assert train.images.shape == (20, 1, 28, 28)
    assert train.images.dtype == np.uint8
    assert train.images[1, 0, 0, :3].tolist() == [784 % 256, 785 % 256, 786 % 256]
    assert raw.parts["test"].labels.tolist() == list(range(10))
    with pytest.raises(TypeError, match="not encoded"):
        _ = train.entries


def test_channels_come_first_whatever_the_set_keeps(tmp_path, monkeypatch):
    class Last:
        def __init__(self, root, train, download):
            self.data, self.targets, self.classes = np.zeros((4, 8, 9, 3), np.uint8), [0, 1, 0, 1], ["a", "b"]

    class First:
        def __init__(self, root, split):
            self.data, self.labels = np.zeros((4, 3, 8, 9), np.uint8), np.array([0, 1, 2, 1])

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Last)
    monkeypatch.setattr("torchvision.datasets.STL10", First)
    last, first = read_torchvision("CIFAR10", tmp_path), read_torchvision("stl10", tmp_path)
    assert last.parts["train"].images.shape == first.parts["test"].images.shape == (4, 3, 8, 9)
    assert last.mirror
    assert first.classes == ["0", "1", "2"]


def test_torchvision_lists_of_files_stay_files(tmp_path, monkeypatch):
    class Listed:
        classes = (("tench", "Tinca tinca"), ("goldfish",))

        def __init__(self, root, split):
            self.samples = [(f"{root}/{split}/{i}.jpg", i % 2) for i in range(3)]

    monkeypatch.setattr("torchvision.datasets.ImageNet", Listed)
    raw = read_torchvision("imagenet", tmp_path)
    assert raw.classes == ["tench, Tinca tinca", "goldfish"]
    assert raw.parts["test"].entries.name(2) == f"{tmp_path}/val/2.jpg"


def test_torchvision_errors_name_the_remedy(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no data set 'cifar11'; it has .*cifar10"):
        read_torchvision("cifar11", tmp_path)
    with pytest.raises(DataError, match=r"torch/cifar10 cannot be opened below .*download=true"):
        read_torchvision("cifar10", tmp_path)
    with pytest.raises(ConfigError, match="no training and test part"):
        read_torchvision("fakedata", tmp_path)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda root, train: SimpleNamespace())
    with pytest.raises(ConfigError, match="keeps neither arrays nor a list of files"):
        read_torchvision("cifar10", tmp_path)


def test_a_missing_datasets_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"onceforall\[hf\]"):
        read_hugging_face("cifar10", None, None, None)


def test_hugging_face_tables_are_read_by_split(monkeypatch, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    table = pa.table({"img": [{"bytes": None, "path": str(tmp_path / "x.png")}] * 2, "label": [0, 1]})
    part = SimpleNamespace(data=SimpleNamespace(table=table), features={"label": SimpleNamespace(names=["cat", "dog"])})
    asked = {}

    def load_dataset(name, cache_dir):
        asked.update(name=name, cache_dir=cache_dir)
        return {"train": part, "test": part, "unsupervised": part}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    raw = read_hugging_face("owner/pets", tmp_path, None, None)
    assert asked == {"name": "owner/pets", "cache_dir": str(tmp_path)}
    assert set(raw.parts) == {"train", "test"}
    assert raw.classes == ["cat", "dog"]
    assert raw.parts["train"].entries.payload(0) == str(tmp_path / "x.png")


def test_a_hugging_face_set_that_does_not_open_is_one_line(monkeypatch):
    def load_dataset(name, cache_dir):
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(DataError, match="hfds/owner/pets cannot be opened: no network; check the name"):
        read_hugging_face("owner/pets", None, None, None)
