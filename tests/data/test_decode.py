import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onceforall.data.decode import (
    FileSlice,
    centre_view,
    check,
    convert,
    evaluation_view,
    open_image,
    oriented_size,
    random_view,
    read_view,
    read_whole,
)

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def smooth(width: int, height: int) -> Image.Image:
    return Image.fromarray(COLOURS[:6, :8]).resize((width, height), Image.Resampling.BICUBIC)


def test_rgb_png_is_read_exactly():
    assert np.array_equal(read_whole(encode(Image.fromarray(COLOURS)), 3), COLOURS)


def test_grey_is_repeated_to_three_channels_and_kept_as_one():
    grey = encode(Image.fromarray(RAMP))
    assert np.array_equal(read_whole(grey, 1), RAMP[:, :, None])
    assert np.array_equal(read_whole(grey, 3), np.repeat(RAMP[:, :, None], 3, axis=2))


def test_colour_becomes_grey_by_luma():
    grey = read_whole(encode(Image.fromarray(COLOURS)), 1)[:, :, 0]
    assert np.abs(grey - COLOURS @ [0.299, 0.587, 0.114]).max() <= 1


def test_sixteen_bits_are_scaled_by_their_range_not_clipped():
    deep = (RAMP.astype(np.uint16) << 8) + RAMP  # 0..65535 in steps of 257
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(read_whole(encode(Image.fromarray(deep), kind), 1)[:, :, 0], RAMP)
    assert Image.fromarray(deep).mode.startswith("I;16")
    for value, expected in ((0x8000, 128), (300, 1), (0xFFFF, 255)):
        assert (read_whole(encode(Image.fromarray(np.full((4, 4), value, np.uint16))), 1) == expected).all()


def test_big_endian_sixteen_bits_read_the_same(tmp_path):
    Image.fromarray((RAMP.astype(np.uint16) * 257).astype(">u2")).save(tmp_path / "big.tif")
    assert np.array_equal(read_whole(str(tmp_path / "big.tif"), 1)[:, :, 0], RAMP)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP / np.float32(255), RAMP),  # 0..1
        (RAMP.astype(np.float32), RAMP),  # 0..255
        (RAMP.astype(np.float32) * 257, RAMP),  # 0..65535
        (RAMP.astype(np.float32) * 1000 - 7, RAMP),  # anything else: from its smallest to its largest value
        (RAMP.astype(np.int32) * 257, RAMP),
        (RAMP.astype(np.int32) * 8_000_000, RAMP),
    ],
)
def test_float_and_integer_images_are_scaled(values, expected):
    assert np.array_equal(read_whole(encode(Image.fromarray(values), "TIFF"), 1)[:, :, 0], expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new(mode, (4, 4), (0,) * len(mode))  # black, fully transparent
    assert (read_whole(encode(image), 3) == 255).all()
    opaque = Image.new(mode, (4, 4), (10,) * (len(mode) - 1) + (255,))
    assert (read_whole(encode(opaque), 3) == 10).all()


def test_a_palette_gives_its_colours_and_its_transparent_entry_gives_white():
    palette = Image.new("P", (2, 2))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 0])
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 0, 0]]])
    assert np.array_equal(read_whole(encode(palette), 3), expected)
    expected[1, 0] = 255
    assert np.array_equal(read_whole(encode(palette, transparency=2), 3), expected)


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    red = read_whole(encode(image, "JPEG", quality=95), 3)
    assert (red[..., 0] > 250).all()
    assert (red[..., 1:] < 5).all()
    assert read_whole(encode(image, "JPEG"), 1).shape == (16, 16, 1)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16", "PA"]
)
@pytest.mark.parametrize("in_chans", [1, 3])
def test_every_mode_converts(mode, in_chans):
    assert convert(Image.new(mode, (5, 3)), in_chans).mode == ("L" if in_chans == 1 else "RGB")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_whole_and_cropped(orientation):
    upright = smooth(64, 48)
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = encode(stored, "PNG", exif=exif)
    with open_image(encoded) as image:
        assert oriented_size(image) == (64, 48)
    assert np.array_equal(read_whole(encoded, 3), np.asarray(upright))
    corner = read_view(encoded, 3, 16, lambda width, height: (0, 0, width / 4, height / 3))
    assert np.array_equal(corner, np.asarray(upright)[:16, :16])
    jpeg = encode(stored, "JPEG", quality=100, subsampling=0, exif=exif)
    small = read_view(jpeg, 3, 8, lambda width, height: (0, 0, width / 2, height))
    reference = upright.resize((8, 8), Image.Resampling.BILINEAR, box=(0, 0, 32, 48))
    assert np.abs(small.astype(int) - np.asarray(reference)).mean() < 6


def test_a_jpeg_decoded_at_a_smaller_scale_shows_the_same():
    image = smooth(640, 480)
    fast = read_view(encode(image, "JPEG", quality=95), 3, 48, evaluation_view(48)).astype(int)
    exact = read_view(encode(image, "PNG"), 3, 48, evaluation_view(48)).astype(int)
    assert np.abs(fast - exact).mean() < 2


def test_the_test_view_is_resize_short_side_then_centre_crop():
    image = smooth(225, 150)
    resolution = 56
    resized = image.resize((96, 64), Image.Resampling.BILINEAR)  # ceil(56 / 0.875) = 64
    expected = np.asarray(resized.crop((20, 4, 76, 60))).astype(int)
    shown = read_view(encode(image), 3, resolution, evaluation_view(resolution)).astype(int)
    assert np.abs(shown - expected).mean() < 0.5


def test_mirror_flips_left_and_right():
    encoded = encode(Image.fromarray(COLOURS))
    plain, mirrored = (read_view(encoded, 3, 12, centre_view, mirror) for mirror in (False, True))
    assert np.array_equal(mirrored, plain[:, ::-1])


def test_bytes_paths_and_slices_of_files_read_the_same(tmp_path):
    encoded = encode(Image.fromarray(COLOURS))
    (tmp_path / "a.png").write_bytes(encoded)
    (tmp_path / "b.tar").write_bytes(b"before" + encoded + b"after")
    for payload in (str(tmp_path / "a.png"), FileSlice(str(tmp_path / "b.tar"), 6, len(encoded))):
        assert np.array_equal(read_whole(payload, 3), COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_cut_off_image_is_noticed(kind):
    encoded = encode(Image.fromarray(np.tile(COLOURS, (8, 8, 1))), kind)
    check(encoded)
    with pytest.raises((OSError, SyntaxError)):
        check(encoded[: len(encoded) // 2])
    with pytest.raises(OSError, match="cannot identify"):
        check(b"no image at all")


@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    seed=st.integers(0, 2**63 - 1),
    scale=st.floats(0.05, 1),
    ratio=st.floats(1, 3),
)
def test_random_views_lie_inside_and_are_large_enough(width, height, seed, scale, ratio):
    left, top, right, bottom = random_view(np.random.default_rng(seed), scale, ratio)(width, height)
    assert 0 <= left < right <= width + 1e-9
    assert 0 <= top < bottom <= height + 1e-9
    if width == height and ratio == 1:
        assert (right - left) * (bottom - top) >= scale * width * height * (1 - 1e-9)


@given(width=st.integers(1, 400), height=st.integers(1, 400), resolution=st.integers(1, 300))
def test_test_views_are_centred_squares(width, height, resolution):
    left, top, right, bottom = evaluation_view(resolution)(width, height)
    assert left + right == pytest.approx(width)
    assert top + bottom == pytest.approx(height)
    assert right - left == pytest.approx(bottom - top)
    assert right - left <= min(width, height)
