"""Batched augmentation of resident images: a few tensor operations a batch, no Python per image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import ConfigError
from ..settings import setting


@dataclass
class AugmentConfig:
    """Random changes of training images; the defaults suit each source by themselves.

    Small resident images are shifted by up to `shift` of their side (padded, then cropped); photos are cropped to a
    random part of at least `crop_scale` of their area.
    """

    shift: float = setting(0.125, "small images: largest shift each way, as a fraction of the side")
    padding: str = setting("auto", "what a shift uncovers: auto, reflect or zero; auto = zero for digits, else reflect")
    flip: bool | None = setting(None, "mirror half of the images; by default where a mirrored image keeps its label")
    cutout: float = setting(0.0, "side of a square set to the mean, as a fraction of the image side; 0 = none")
    crop_scale: float = setting(0.25, "photos: smallest part of the area that a random crop shows")
    crop_ratio: float = setting(4 / 3, "photos: largest ratio of the sides of a random crop")
    brightness: float = setting(0.0, "brightness times 1 - x to 1 + x (Once-for-All on ImageNet: 32/255 = 0.1255)")
    saturation: float = setting(0.0, "saturation times 1 - x to 1 + x (Once-for-All on ImageNet: 0.5)")

    def __post_init__(self) -> None:
        if self.padding not in ("auto", "reflect", "zero"):
            raise ConfigError(f"augment.padding is {self.padding!r}; use auto, reflect or zero")
        limits = {
            "shift": (0, 0.5),
            "cutout": (0, 1),
            "crop_scale": (1e-3, 1),
            "brightness": (0, 1),
            "saturation": (0, 1),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"augment.{name} is {getattr(self, name)}; use a value from {low} to {high}")
        if self.crop_ratio < 1:
            raise ConfigError(f"augment.crop_ratio is {self.crop_ratio}; use a value of at least 1")


@dataclass(frozen=True)
class Draws:
    """The random numbers of one batch, so that ranks can draw for the joint batch and keep their part."""

    shift_y: np.ndarray  # (n,) whole pixels, signed
    shift_x: np.ndarray
    flip: np.ndarray  # (n,) bool
    cut_y: np.ndarray  # (n,) centre of the cutout, 0..1
    cut_x: np.ndarray

    def at(self, positions: slice | np.ndarray) -> "Draws":
        """The draws of the images at these positions of the batch."""
        return Draws(*(getattr(self, name)[positions] for name in self.__dataclass_fields__))


def draw(generator: np.random.Generator, count: int, *, shift: int, flip: bool) -> Draws:
    """Draw for `count` images: shifts of at most `shift` pixels each way, flips, cutout centres."""
    shifts = generator.integers(-shift, shift + 1, size=(2, count))
    flips = (generator.random(count) < 0.5) & flip
    centres = generator.random((2, count))
    return Draws(shifts[0], shifts[1], flips, centres[0], centres[1])


def shift_and_flip(images_NCHW: torch.Tensor, draws: Draws, padding: str) -> torch.Tensor:
    """Shift and mirror every image by its own draw: one gather from flat pixels.

    Args:
        images_NCHW: any dtype, any device.
        draws: of N images, on the host.
        padding: "reflect" (without repeating the edge) or "zero".
    """
    count, channels, height, width = images_NCHW.shape
    device = images_NCHW.device
    shift_y, shift_x, flip = (
        torch.from_numpy(values).to(device) for values in (draws.shift_y, draws.shift_x, draws.flip)
    )
    rows = torch.arange(height, device=device) + shift_y[:, None]
    columns = torch.arange(width, device=device) + shift_x[:, None]
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    index = _reflect(rows, height)[:, :, None] * width + _reflect(columns, width)[:, None, :]
    index = index.view(count, 1, height * width).expand(count, channels, height * width)
    shifted = images_NCHW.reshape(count, channels, height * width).gather(2, index).view_as(images_NCHW)
    if padding == "zero":
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        shifted.mul_(inside[:, None])
    return shifted


def _reflect(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror positions outside 0..size-1 back inside; the edge pixel itself is not repeated."""
    last = size - 1
    return last - (last - positions.abs()).abs()


def jitter_colour(images_NCHW: torch.Tensor, factors_N2: torch.Tensor) -> torch.Tensor:
    """Scale brightness, then saturation, of every image: uint8 to uint8, clamped in between as torchvision does.

    Args:
        images_NCHW: uint8; with one channel there is no saturation.
        factors_N2: brightness and saturation factors, 1 = unchanged; float32 on the device of the images.
    """
    brightness, saturation = (factor.view(-1, 1, 1, 1) for factor in factors_N2.unbind(1))
    changed = (images_NCHW * brightness).clamp_(0, 255)
    if images_NCHW.shape[1] == 3:
        luma = torch.tensor([0.299, 0.587, 0.114], device=changed.device).view(1, 3, 1, 1)  # ITU-R 601, as Pillow
        grey = (changed * luma).sum(1, keepdim=True)
        changed = torch.lerp(grey, changed, saturation).clamp_(0, 255)
    return changed.round_().to(torch.uint8)


def normalise(
    images_NCHW: torch.Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> torch.Tensor:
    """uint8 0..255 to float32 with the given mean and standard deviation per channel (in 0..1 units) taken out."""
    shape = (1, len(mean), 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=images_NCHW.device).mul_(255).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=images_NCHW.device).mul_(255).reciprocal_().view(shape)
    return images_NCHW.to(torch.float32, memory_format=memory_format).sub_(centre).mul_(scale)


def resize(images_NCHW: torch.Tensor, resolution: int, mode: str = "bilinear") -> torch.Tensor:
    """To a square of `resolution` pixels: antialiased bilinear, or plain bicubic; unchanged if that is the size."""
    if images_NCHW.shape[-2:] == (resolution, resolution):
        return images_NCHW
    return F.interpolate(images_NCHW, (resolution, resolution), mode=mode, antialias=mode == "bilinear")


def cut_out(images_NCHW: torch.Tensor, draws: Draws, share: float) -> torch.Tensor:
    """Set a square with `share` of the side to zero (the mean) in every normalised image, in place.

    DeVries and Taylor 2017; the centre may lie anywhere, so that part of the square may fall outside.
    """
    height, width = images_NCHW.shape[-2:]
    device = images_NCHW.device
    cut_y, cut_x = (torch.from_numpy(values).float().to(device) for values in (draws.cut_y, draws.cut_x))
    far_y = (torch.arange(height, device=device) + 0.5 - cut_y[:, None] * height).abs() > share * height / 2
    far_x = (torch.arange(width, device=device) + 0.5 - cut_x[:, None] * width).abs() > share * width / 2
    return images_NCHW.mul_(far_y[:, None, :, None] | far_x[:, None, None, :])
