"""Views of images: how much of a photo they show, and which way round."""

import numpy as np
import pytest
import torch
from PIL import Image

from onceforall.data import PLAIN, VIEWS, DataConfig, ResidentImages, View, eval_batches, load_data
from onceforall.deploy import backends
from onceforall.errors import ConfigError

SIDE = 64


@pytest.fixture
def ramps(tmp_path):
    """Photos whose brightness tells the column: 320 wide, 200 high, 0 on the left to 255 on the right."""
    column = np.round(np.linspace(0, 255, 320)).astype(np.uint8)
    for part in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for index in range(2):
                Image.fromarray(np.tile(column, (200, 1))).save(folder / f"{index}.png")
    return tmp_path


def columns(root, view: str, transform: str) -> np.ndarray:
    """The column of the photo, 0 to 1, that each column of a view shows."""
    source = load_data(DataConfig(root=str(root), holdout=0, test_transform=transform, workers=0))
    batches = eval_batches(
        VIEWS[view].cut_from(source.test), resolution=SIDE, batch_size=4, mean=[0] * 3, std=[1] * 3, device="cpu"
    )
    return VIEWS[view].turned(next(batches)[0])[0, 0].mean(0).numpy()


@pytest.mark.parametrize("transform", ["centre", "official", "mmrazor"])
def test_a_zoomed_view_shows_the_middle_four_fifths(ramps, transform):
    plain, zoomed = (columns(ramps, view, transform) for view in (PLAIN, "zoomed"))
    width = (plain[-1] - plain[0]) * SIDE / (SIDE - 1)
    assert width == pytest.approx(0.875 * 200 / 320, abs=0.01)
    assert (zoomed[-1] - zoomed[0]) * SIDE / (SIDE - 1) == pytest.approx(0.8 * width, abs=0.01)
    assert zoomed.mean() == pytest.approx(plain.mean(), abs=0.005)
    for view, shown in (("mirrored", plain), ("zoomed-mirrored", zoomed)):
        np.testing.assert_allclose(columns(ramps, view, transform), shown[::-1])


def test_a_plain_view_is_the_image_itself(digits_source):
    assert PLAIN == backends.PLAIN  # rooms that may not import each other
    images = torch.rand(2, 3, 8, 8)
    assert VIEWS[PLAIN].turned(images) is images
    assert VIEWS[PLAIN].cut_from(digits_source.test) is digits_source.test


def test_small_images_in_memory_cannot_be_zoomed(digits_source):
    assert isinstance(digits_source.test, ResidentImages)
    with pytest.raises(ConfigError, match="zoomed views are cut out of photos"):
        View(zoomed=True).cut_from(digits_source.test)
