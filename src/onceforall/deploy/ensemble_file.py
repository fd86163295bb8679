"""Exported ensembles opened again: what they say about themselves, and how their members vote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .backends import INPUT, Card, Prediction, open_onnx

VOTE = "probabilities"


@dataclass(frozen=True, kw_only=True)
class EnsembleCard(Card):
    """What the file of an ensemble says about itself.

    Attributes:
        members: name, arch (or None), resolution in pixels, weight and temperature of every member, and the view of
            the image that the file shows it (`VIEWS`); the vote is the sum of weight * softmax(logits / temperature),
            and the weights sum to one.
    """

    members: tuple[dict[str, Any], ...]

    @property
    def inputs(self) -> dict[int, str]:
        """Name of the input by resolution, smallest first: `images`, or with several resolutions `images_96`, ..."""
        resolutions = sorted({member["resolution"] for member in self.members})
        if len(resolutions) == 1:
            return {resolutions[0]: INPUT}
        return {resolution: f"{INPUT}_{resolution}" for resolution in resolutions}


class OnnxEnsemble:
    """An exported ensemble in ONNX Runtime; its members run one after the other.

    Photos are resized and cropped for each resolution anew, so the images of every resolution are given.

    Args:
        path: a file written by `export_ensemble_onnx`.
        threads: of the runtime.

    Raises:
        FileFormatError: not an ONNX file, or one without the description of an ensemble.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self._session, self.card = open_onnx(path, EnsembleCard, threads)

    def probabilities(self, images_NCHW: dict[int, np.ndarray]) -> np.ndarray:
        """(N, classes) float32, the vote on normalised float images, given by resolution.

        Raises:
            DataError: a resolution is missing or one too many, or not the same number of images of each.
        """
        expected = self.card.inputs
        if images_NCHW.keys() != expected.keys():
            raise DataError(
                f"{self.card.name} takes images of {_listed(expected)} pixels, not of {_listed(images_NCHW)}"
            )
        if len(counts := {len(images) for images in images_NCHW.values()}) > 1:
            raise DataError(f"{self.card.name} takes the same images in every resolution, not {_listed(counts)}")
        given = {name: images_NCHW[resolution].astype(np.float32) for resolution, name in expected.items()}
        return np.asarray(self._session.run([VOTE], given)[0])

    def predict(self, images_NHWC: dict[int, np.ndarray], top: int = 1) -> list[Prediction]:
        """Most probable classes of 8-bit images, given by resolution.

        Args:
            images_NHWC: uint8, of each resolution the same images, shape (N, resolution, resolution, in_chans).
            top: classes per image.

        Raises:
            DataError: images of another shape or type, or not of every resolution.
        """
        normalised = {size: self.card.normalised(images, size) for size, images in images_NHWC.items()}
        return [self.card.best(row, top) for row in self.probabilities(normalised)]


def _listed(values: Any) -> str:
    return " and ".join(map(str, sorted(values))) or "no"
