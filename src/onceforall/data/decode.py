"""One encoded image to pixels: any mode, any orientation, straight to the size that is asked for.

Imports neither torch nor torchvision, so that a worker process starts quickly.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # the EXIF tag
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class FileSlice(NamedTuple):
    """Bytes `[offset, offset + size)` of a file: an image inside a tar archive."""

    path: str
    offset: int
    size: int


Payload = str | bytes | FileSlice
"""An encoded image: the path of its file, its bytes, or a slice of a file."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; need not be whole."""

View = Callable[[int, int], Box]
"""Chooses the box to show of an image of (width, height)."""


@dataclass(frozen=True)
class CorruptImage:
    """An image that could not be read, and why."""

    name: str
    reason: str


def open_image(payload: Payload) -> Image.Image:
    """Read the header of an image; the pixels follow when they are used."""
    if isinstance(payload, str):
        return Image.open(payload)
    if isinstance(payload, bytes):
        return Image.open(io.BytesIO(payload))
    with open(payload.path, "rb") as file:
        file.seek(payload.offset)
        return Image.open(io.BytesIO(file.read(payload.size)))


def oriented_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as a viewer shows the image, that is after its EXIF orientation."""
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; unreadable EXIF counts as upright, because the pixels may still be good."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # any of a dozen parser errors, none of which says anything about the pixels
        return 1
    return value if value in _TRANSPOSE else 1


def convert(image: Image.Image, in_chans: int) -> Image.Image:
    """Bring any mode to 8 bits and `in_chans` channels (1 or 3).

    Transparency is laid on white, 16 bits are scaled to 8 by their full range (not clipped), CMYK and palettes become
    RGB, and one channel is repeated to three.
    """
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    mode = "L" if in_chans == 1 else "RGB"
    if image.mode == mode:
        return image
    # Pillow converts CMYK only to RGB; a second step brings any such mode to one channel.
    return (image if image.mode in ("1", "L", "P", "RGB") else image.convert("RGB")).convert(mode)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale I;16, I and F images to 0..255; I is read as 16 bits unless its values need more, F as 0..1 if it fits."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.round(scaled).astype(np.uint8))


def read_whole(payload: Payload, in_chans: int) -> np.ndarray:
    """Decode all pixels: uint8 array of shape (height, width, in_chans)."""
    with open_image(payload) as image:
        orientation = _orientation(image)
        return _pixels(_upright(convert(image, in_chans), orientation), in_chans)


def read_view(payload: Payload, in_chans: int, resolution: int, view: View, mirror: bool = False) -> np.ndarray:
    """Decode the box that `view` chooses, resized to a square: uint8 array (resolution, resolution, in_chans).

    The box is chosen from the header, so that a JPEG is decoded at the smallest of its eight scales that still holds
    `resolution` pixels in the box; the rest is one antialiased bilinear resize.
    """
    with open_image(payload) as image:
        orientation = _orientation(image)
        width, height = oriented_size(image)
        left, top, right, bottom = view(width, height)
        wanted = (width * resolution / (right - left), height * resolution / (bottom - top))
        if orientation >= 5:
            wanted = wanted[::-1]
        image.draft(None, (math.ceil(wanted[0]), math.ceil(wanted[1])))  # a no-op for everything but JPEG
        upright = _upright(convert(image, in_chans), orientation)
        x, y = upright.width / width, upright.height / height
        box = (left * x, top * y, min(right * x, upright.width), min(bottom * y, upright.height))
        small = upright.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
    return _pixels(small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else small, in_chans)


def read_centre(payload: Payload, in_chans: int, short_side: int, side: int) -> np.ndarray:
    """Resize the short side to `short_side` pixels, then cut out the middle: uint8 array (side, side, in_chans).

    Pixel for pixel what torchvision's `Resize` and `CenterCrop` make of an image folder, as the published ImageNet
    numbers need: whole pixels, no decoding at reduced scale, and no regard to EXIF orientation.
    """
    with open_image(payload) as image:
        plain = image.convert("L" if in_chans == 1 else "RGB")
    shorter, longer = sorted(plain.size)
    long_side = int(short_side * longer / shorter)
    landscape = plain.width > plain.height
    resized = plain.resize((long_side, short_side) if landscape else (short_side, long_side), Image.Resampling.BILINEAR)
    left, top = round((resized.width - side) / 2), round((resized.height - side) / 2)
    return _pixels(resized.crop((left, top, left + side, top + side)), in_chans)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image if orientation == 1 else image.transpose(_TRANSPOSE[orientation])


def _pixels(image: Image.Image, in_chans: int) -> np.ndarray:
    return np.asarray(image).reshape(image.height, image.width, in_chans)


def check(payload: Payload) -> None:
    """Decode everything, at the lowest scale the format allows, and raise whatever the decoder raises."""
    with open_image(payload) as image:
        image.draft(None, (1, 1))
        image.load()


def reason_of(error: Exception) -> str:
    """Why an image could not be read, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def centre_view(width: int, height: int, share: float = 1.0) -> Box:
    """The centred square with `share` of the short side."""
    side = share * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def evaluation_view(resolution: int, zoom: float = 1.0) -> View:
    """What "short side to ceil(resolution / 0.875), then centre crop" shows (the usual ImageNet test transform).

    `zoom`: share of its sides to show.
    """
    share = zoom * resolution / math.ceil(resolution / 0.875)
    return lambda width, height: centre_view(width, height, share)


def random_view(generator: np.random.Generator, crop_scale: float, crop_ratio: float) -> View:
    """A box of random area (`crop_scale`..1 of the image) and side ratio (1/`crop_ratio`..`crop_ratio`).

    The geometry of "random resized crop" (Szegedy et al. 2015), with sides that do not fit cut to the image instead of
    drawn again: four numbers an image, no loop.
    """
    area, ratio, across, down = generator.random(4)

    def view(width: int, height: int) -> Box:
        pixels = width * height * (crop_scale + (1 - crop_scale) * area)
        sides = math.exp((2 * ratio - 1) * math.log(crop_ratio))
        box_width, box_height = min(math.sqrt(pixels * sides), width), min(math.sqrt(pixels / sides), height)
        left, top = across * (width - box_width), down * (height - box_height)
        return left, top, left + box_width, top + box_height

    return view
