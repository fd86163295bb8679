import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from onceforall.data import prepare as room
from onceforall.data.images import EncodedImages, PathEntries, ResidentImages
from onceforall.data.prepare import prepare
from onceforall.data.raw import RawPart, RawSource
from onceforall.errors import ConfigError, DataError


class Bytes:
    """Encoded images in memory."""

    def __init__(self, encoded: list[bytes]):
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def payload(self, index: int) -> bytes:
        return self.encoded[index]

    def name(self, index: int) -> str:
        return f"number {index}"

    def key(self, index: int) -> bytes:
        return self.encoded[index]


def encode(seed: int, size: tuple[int, int] = (32, 32), kind: str = "JPEG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).convert(mode).save(file, kind)
    return file.getvalue()


def source(*encoded: bytes) -> RawSource:
    part = RawPart(Bytes(list(encoded)), np.arange(len(encoded), dtype=np.int64) % 2)
    return RawSource("pile", {"train": part}, ["a", "b"])


def prepared(raw: RawSource, **options):
    return prepare(raw, **{"resident": "auto", "resolution": None, "in_chans": None} | options)


def decoded(images: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(images)).convert(mode))


def test_small_images_of_one_size_become_one_tensor():
    encoded = [encode(i) for i in range(5)]
    images = prepared(source(*encoded)).parts["train"]
    assert isinstance(images, ResidentImages)
    assert images.images.shape == (5, 3, 32, 32)
    assert images.images.dtype == torch.uint8
    assert np.array_equal(images.images[3].permute(1, 2, 0).numpy(), decoded(encoded[3]))
    assert images.labels.tolist() == [0, 1, 0, 1, 0]


def test_every_kind_of_file_lands_in_its_place(monkeypatch):
    monkeypatch.setattr(room, "_CHUNK", 4)
    kinds = [("JPEG", "RGB")] * 5 + [("PNG", "RGB"), ("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK")]
    encoded = [encode(i, (24, 40), kind, mode) for i, (kind, mode) in enumerate(kinds)]
    pixels = prepared(source(*encoded)).parts["train"].images.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, np.stack([decoded(one) for one in encoded]))


def test_one_channel_is_possible():
    encoded = [encode(i, mode="L") for i in range(4)]
    images = prepared(source(*encoded), in_chans=1).parts["train"]
    assert images.in_chans == 1
    assert np.array_equal(images.images[2, 0].numpy(), decoded(encoded[2], "L"))


@pytest.mark.parametrize("sizes", [[(96, 72)] * 4, [(32, 32), (32, 33)] * 2, [(65, 65)] * 4])
def test_large_or_unequal_images_stay_encoded(sizes):
    images = prepared(source(*(encode(i, size) for i, size in enumerate(sizes)))).parts["train"]
    assert isinstance(images, EncodedImages)
    assert len(images) == 4


def test_one_odd_size_that_the_headers_did_not_show_is_found(caplog):
    encoded = [encode(i % 3) for i in range(100)]
    encoded[1] = encode(1, (32, 36))  # not among the evenly spaced headers
    with caplog.at_level(logging.INFO):
        images = prepared(source(*encoded)).parts["train"]
    assert isinstance(images, EncodedImages)
    assert "image sizes differ" in caplog.text


def test_what_is_resident_can_be_chosen(monkeypatch):
    small, large = source(*(encode(i) for i in range(4))), source(*(encode(i, (96, 72)) for i in range(4)))
    assert isinstance(prepared(small, resident="false").parts["train"], EncodedImages)
    images = prepared(large, resident="true", resolution=48).parts["train"]
    assert isinstance(images, ResidentImages)
    assert images.images.shape == (4, 3, 48, 48)
    assert images.test_transform == images.subset(np.arange(2)).test_transform == "square"
    assert prepared(small).parts["train"].test_transform == "whole"
    with pytest.raises(ConfigError, match=r"needs data\.resolution"):
        prepared(large, resident="true")
    with pytest.raises(ConfigError, match="use auto, true or false"):
        prepared(small, resident="yes")
    with pytest.raises(ConfigError, match="use 1 or 3"):
        prepared(small, in_chans=4)
    monkeypatch.setattr(room, "RESIDENT_BYTES", 1000)
    assert isinstance(prepared(small).parts["train"], EncodedImages)


@pytest.mark.parametrize("size", [(32, 32), (96, 72)])
def test_one_percent_corrupt_is_left_out_and_named(size, caplog):
    encoded = [encode(i % 5, size) for i in range(200)]
    encoded[7] = encoded[7][:-300]
    encoded[100] = b"GIF, or so it says"
    done = prepared(source(*encoded))
    images = done.parts["train"]
    assert [image.name for image in done.corrupt] == ["number 7", "number 100"]
    assert "truncated" in done.corrupt[0].reason
    assert "corrupt image left out: number 100" in caplog.text
    assert len(images) == 198
    assert images.labels[7] == 0  # number 8 has moved up
    if isinstance(images, EncodedImages):
        assert images.name(7) == "number 8"
        assert images.payload(99) == encoded[101]


@pytest.mark.parametrize(("images", "allowed"), [(9, 0), (30, 3), (98, 5), (700, 7)])
def test_a_few_or_one_percent_corrupt_may_be_left_out(images, allowed, caplog):
    encoded = [encode(0)] * images
    encoded[:allowed] = [b""] * allowed
    assert len(prepared(source(*encoded)).corrupt) == allowed
    encoded[allowed] = b""
    caplog.clear()
    with pytest.raises(DataError, match=rf"{allowed + 1} of {images} images cannot be read, more than the {allowed} "):
        prepared(source(*encoded))
    assert len(caplog.records) == max(0, allowed + 1 - 3)  # the first three are in the error


def test_missing_files_count_as_corrupt(tmp_path):
    part = RawPart(PathEntries([str(tmp_path / "gone.jpg")] * 2), np.array([0, 1]))
    with pytest.raises(DataError, match=r"gone\.jpg \(FileNotFoundError"):
        prepared(RawSource("pile", {"train": part}, ["a", "b"]))


def test_a_large_set_is_checked_by_a_sample(monkeypatch):
    monkeypatch.setattr(room, "SCAN_LIMIT", 20)
    looked_at = []
    monkeypatch.setattr(room, "check", looked_at.append)
    images = prepared(source(*[encode(0, (96, 72))] * 60)).parts["train"]
    assert len(looked_at) == 20
    assert len(images) == 60


def test_arrays_get_the_channels_that_are_asked_for():
    grey = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    raw = RawSource("array", {"train": RawPart(grey, np.arange(6) % 2)}, ["a", "b"], mirror=False, padding="zero")
    images = prepared(raw).parts["train"]
    assert images.in_chans == 1
    assert (images.mirror, images.padding) == (False, "zero")
    tripled = prepared(raw, in_chans=3).parts["train"]
    assert np.array_equal(tripled.images.numpy(), np.repeat(grey, 3, axis=1))
    colour = RawSource("array", {"train": RawPart(tripled.images.numpy(), np.arange(6) % 2)}, ["a", "b"])
    assert np.array_equal(prepared(colour, in_chans=1).parts["train"].images.numpy(), grey)
