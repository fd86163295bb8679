import numpy as np
import pytest
import torch

from onceforall.data.images import EncodedImages, PathEntries, ResidentImages
from onceforall.data.statistics import channel_statistics


def test_resident_statistics_are_those_of_all_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8), dtype=np.uint8)
    pixels[:, 1] //= 2
    mean, std = channel_statistics(ResidentImages(torch.from_numpy(pixels), np.zeros(50, dtype=np.int64)))
    assert mean == pytest.approx((pixels / 255).mean((0, 2, 3)).tolist())
    assert std == pytest.approx((pixels / 255).std((0, 2, 3)).tolist())


def test_a_large_set_is_sampled_evenly():
    pixels = torch.zeros(30_000, 1, 1, 1, dtype=torch.uint8)
    pixels[15_000:] = 255
    mean, std = channel_statistics(ResidentImages(pixels, np.zeros(30_000, dtype=np.int64)))
    assert mean == pytest.approx((0.5,))
    assert std == pytest.approx((0.5,))


def test_one_colour_does_not_divide_by_zero():
    images = ResidentImages(torch.full((4, 3, 8, 8), 51, dtype=torch.uint8), np.zeros(4, dtype=np.int64))
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((0.2,) * 3)
    assert std == (1 / 255,) * 3


def test_photos_are_decoded_and_broken_ones_passed_over(tmp_path, write_photos):
    root = write_photos(tmp_path, classes=("red",), per_class=4)
    paths = sorted(str(path) for path in root.rglob("*.jpg"))
    whole = channel_statistics(EncodedImages(PathEntries(paths), np.zeros(4, dtype=np.int64)))
    with_broken = channel_statistics(
        EncodedImages(PathEntries([*paths, str(tmp_path / "gone.jpg")]), np.zeros(5, dtype=np.int64))
    )
    assert whole == with_broken
    mean, std = whole
    assert mean[0] > 0.7 > 0.3 > mean[1]
    assert all(0 < value < 0.2 for value in std)
