import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.functional import adjust_brightness, adjust_saturation

from onceforall.data.augment import (
    AugmentConfig,
    Draws,
    cut_out,
    draw,
    jitter_colour,
    normalise,
    resize,
    shift_and_flip,
)
from onceforall.errors import ConfigError

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 8, 10), dtype=np.uint8))


def one_by_one(images: torch.Tensor, draws: Draws, shift: int, padding: str) -> torch.Tensor:
    """The same augmentation as anyone would write it: pad, crop, flip, image after image."""
    _, _, height, width = images.shape
    done = []
    for image, y, x, flip in zip(images.numpy(), draws.shift_y, draws.shift_x, draws.flip, strict=True):
        around = ((0, 0), (shift, shift), (shift, shift))
        padded = np.pad(image, around, mode="reflect") if padding == "reflect" else np.pad(image, around)
        crop = padded[:, shift + y : shift + y + height, shift + x : shift + x + width]
        done.append(crop[:, :, ::-1] if flip else crop)
    return torch.from_numpy(np.stack(done))


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000), shift=st.integers(0, 4), flip=st.booleans(), padding=st.sampled_from(["reflect", "zero"])
)
def test_one_gather_equals_pad_crop_and_flip_of_every_image(seed, shift, flip, padding):
    draws = draw(np.random.default_rng(seed), len(IMAGES), shift=shift, flip=flip)
    assert torch.equal(shift_and_flip(IMAGES, draws, padding), one_by_one(IMAGES, draws, shift, padding))


def test_draws_use_their_whole_range_and_flip_half():
    draws = draw(np.random.default_rng(0), 20_000, shift=2, flip=True)
    for shifts in (draws.shift_y, draws.shift_x):
        assert np.allclose(np.bincount(shifts + 2) / 20_000, 1 / 5, atol=0.02)
    assert abs(draws.flip.mean() - 0.5) < 0.02
    assert not draw(np.random.default_rng(0), 100, shift=2, flip=False).flip.any()


def test_switching_flips_off_leaves_the_other_draws_alone():
    with_flip, without = (draw(np.random.default_rng(3), 50, shift=3, flip=flip) for flip in (True, False))
    assert np.array_equal(with_flip.shift_x, without.shift_x)
    assert np.array_equal(with_flip.cut_y, without.cut_y)


def test_colour_jitter_is_torchvisions_one_image_at_a_time():
    factors = torch.tensor([[1, 1], [1.12, 1.5], [0.88, 0.5], [1, 0], [2, 1.5], [0, 1]], dtype=torch.float32)
    jittered = jitter_colour(IMAGES, factors)
    assert torch.equal(jittered[0], IMAGES[0])
    for image, done, (brightness, saturation) in zip(IMAGES, jittered, factors.tolist(), strict=True):
        expected = adjust_saturation(adjust_brightness(image, brightness), saturation)
        assert (done.int() - expected.int()).abs().max() <= 2  # torchvision rounds down after each of three steps
    grey = jitter_colour(IMAGES[:, :1], factors)
    assert torch.equal(grey[3], IMAGES[3, :1])


def test_normalise_takes_out_mean_and_deviation():
    mean, std = (0.2, 0.4, 0.6), (0.1, 0.2, 0.3)
    expected = (IMAGES.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        normalised = normalise(IMAGES, mean, std, memory_format)
        assert normalised.dtype == torch.float32
        assert normalised.is_contiguous(memory_format=memory_format)
        assert torch.allclose(normalised.double(), expected, atol=1e-5)


def test_resize_is_antialiased_and_leaves_the_right_size_alone():
    square = torch.rand(2, 3, 16, 16)
    assert resize(square, 16) is square
    assert resize(square, 24).shape == (2, 3, 24, 24)
    checkers = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 1.0
    assert (resize(checkers.expand(1, 1, 16, 16), 4) - 0.5).abs().max() < 0.1


def test_cutout_covers_one_square_of_the_given_side():
    centre = np.full(1, 0.5)
    draws = Draws(*(np.zeros(1, dtype=np.int64),) * 2, np.zeros(1, dtype=bool), centre, centre)
    cut = cut_out(torch.ones(1, 2, 8, 8), draws, 0.5)
    expected = F.pad(torch.zeros(1, 2, 4, 4), (2, 2, 2, 2), value=1.0)
    assert torch.equal(cut, expected)


def test_cutout_at_the_corner_covers_a_quarter():
    corner = np.zeros(1)
    draws = Draws(*(np.zeros(1, dtype=np.int64),) * 2, np.zeros(1, dtype=bool), corner, corner)
    cut = cut_out(torch.ones(1, 1, 8, 8), draws, 0.5)
    assert (cut == 0).sum() == 4
    assert (cut[:, :, :2, :2] == 0).all()


def test_draws_at_positions_are_those_of_the_images_there():
    draws = draw(np.random.default_rng(0), 10, shift=3, flip=True)
    some = draws.at(np.array([2, 7]))
    assert some.shift_x.tolist() == [draws.shift_x[2], draws.shift_x[7]]
    assert draws.at(slice(4, 6)).flip.tolist() == draws.flip[4:6].tolist()


@pytest.mark.parametrize(
    "wrong", [{"padding": "mirror"}, {"shift": 0.9}, {"cutout": -0.1}, {"crop_scale": 0.0}, {"crop_ratio": 0.5}]
)
def test_impossible_settings_name_the_allowed_values(wrong):
    with pytest.raises(ConfigError, match=rf"augment\.{next(iter(wrong))} is .*use"):
        AugmentConfig(**wrong)
