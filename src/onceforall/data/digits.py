"""The embedded default: scikit-learn's 8x8 digits, so that a first run needs no download."""

import numpy as np

from .raw import RawPart, RawSource


def read_digits() -> RawSource:
    """1,797 grey images of 8x8 pixels (values 0..16 scaled to 0..255), ten classes, no test part of their own.

    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (UCI), as shipped with scikit-learn.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    part = RawPart(pixels, labels.astype(np.int64))
    return RawSource("digits", {"train": part}, [str(i) for i in range(10)], mirror=False, padding="zero")
