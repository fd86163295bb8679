"""Views of images: what networks are shown beside the image as it is."""

import pytest
import torch
from torch import nn

from onceforall.deploy import PLAIN, VIEWS, Viewed


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(8, 8), (20, 20), (64, 96), (3, 3), (1, 1)])
def test_a_view_has_the_shape_of_the_image_and_adds_nothing(view, size):
    images = torch.rand(2, 3, *size)
    shown = VIEWS[view](images)
    assert shown.shape == images.shape
    assert shown.min() >= images.min() - 1e-6
    assert shown.max() <= images.max() + 1e-6


def test_views_of_a_ramp():
    ramp = torch.arange(20.0, dtype=torch.float64).expand(1, 1, 20, 20)
    assert VIEWS[PLAIN](ramp) is ramp
    assert torch.equal(VIEWS["mirrored"](ramp), 19 - ramp)
    # The middle 16 columns, 2 to 17, stretched by 20 / 16; ends are held.
    expected = (2 + (torch.arange(20) + 0.5) * 0.8 - 0.5).clamp(2, 17).double().expand(1, 1, 20, 20)
    torch.testing.assert_close(VIEWS["zoomed"](ramp), expected)
    torch.testing.assert_close(VIEWS["zoomed-mirrored"](ramp), VIEWS["zoomed"](19 - ramp))
    torch.testing.assert_close(VIEWS["zoomed"](ramp.mT), expected.mT)


def test_a_network_is_shown_its_view():
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(Viewed(nn.Identity(), "mirrored")(images), images.flip(-1))
