"""Mean and standard deviation of training images."""

import numpy as np

from .decode import evaluation_view, read_view
from .images import ImageSet, ResidentImages, encoded

_RESIDENT_SAMPLE = 10_000
_ENCODED_SAMPLE = 512
_SIDE = 128


def channel_statistics(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel in 0..1 units, over pixels of evenly spaced images.

    At most 10,000 resident images, or 512 encoded ones as the test transform shows them at 128 pixels. A deviation is
    at least 1/255, so that images of one colour do not divide by zero.
    """
    if isinstance(images, ResidentImages):
        pixels = images.images[_evenly_spaced(len(images), _RESIDENT_SAMPLE)].cpu().numpy()
        counts = [np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(pixels.shape[1])]
    else:
        photos = encoded(images)
        counts = np.zeros((photos.in_chans, 256), dtype=np.int64)
        for index in _evenly_spaced(len(images), _ENCODED_SAMPLE):
            try:
                shown = read_view(photos.payload(int(index)), photos.in_chans, _SIDE, evaluation_view(_SIDE))
            except Exception:  # an image that the scan's sample missed; the loader will name it
                continue
            for channel in range(photos.in_chans):
                counts[channel] += np.bincount(shown[:, :, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    shares = np.asarray(counts) / np.sum(counts, axis=1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0))
    return tuple(float(m) for m in mean), tuple(max(float(d), 1 / 255) for d in deviation)


def _evenly_spaced(count: int, limit: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))
