"""Exported ensembles opened again: what they say about themselves, and how their members vote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .backends import INPUT, PLAIN, Card, Prediction, open_onnx

VOTE = "probabilities"


class EnsembleInput(NamedTuple):
    """What members are shown: height and width in pixels, and of the image as it is ("plain") or another view."""

    resolution: int
    view: str = PLAIN


@dataclass(frozen=True, kw_only=True)
class EnsembleCard(Card):
    """What the file of an ensemble says about itself.

    Attributes:
        members: name, arch (or None), resolution in pixels, view, weight and temperature of every member; the vote is
            the sum of weight * softmax(logits / temperature), and the weights sum to one.
    """

    members: tuple[dict[str, Any], ...]

    def __post_init__(self) -> None:
        if not all("view" in member for member in self.members):
            raise ValueError("its members do not say what they are shown")

    @property
    def inputs(self) -> dict[str, EnsembleInput]:
        """By name, smallest first: `images`, or of several `images_96`, `images_96_mirrored`, ..."""
        shown = {EnsembleInput(member["resolution"], member["view"]) for member in self.members}
        if len(shown) == 1:
            return {INPUT: shown.pop()}
        return {_name(one): one for one in sorted(shown, key=lambda one: (one.resolution, one.view != PLAIN, one.view))}


class OnnxEnsemble:
    """An exported ensemble in ONNX Runtime; its members run one after the other.

    Photos are resized and cropped for each resolution and view anew, so the images of every input are given.

    Args:
        path: a file written by `export_ensemble_onnx`.
        threads: of the runtime.

    Raises:
        FileFormatError: not an ONNX file, or one without the description of an ensemble.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self._session, self.card = open_onnx(path, EnsembleCard, threads)

    def probabilities(self, images_NCHW: dict[str, np.ndarray]) -> np.ndarray:
        """(N, classes) float32, the vote on normalised float images, given by name of the input.

        Raises:
            DataError: an input is missing or one too many, or not the same number of images of each.
        """
        self._check_names(images_NCHW)
        if len(counts := {len(images) for images in images_NCHW.values()}) > 1:
            raise DataError(f"{self.card.name} takes the same images for every input, not {_listed(counts)}")
        given = {name: images.astype(np.float32) for name, images in images_NCHW.items()}
        return np.asarray(self._session.run([VOTE], given)[0])

    def predict(self, images_NHWC: dict[str, np.ndarray], top: int = 1) -> list[Prediction]:
        """Most probable classes of 8-bit images, given by name of the input.

        Args:
            images_NHWC: uint8, for each input the same images as its view shows them, shape
                (N, resolution, resolution, in_chans).
            top: classes per image.

        Raises:
            DataError: images of another shape or type, or not for every input.
        """
        self._check_names(images_NHWC)
        inputs = self.card.inputs
        normalised = {name: self.card.normalised(some, inputs[name].resolution) for name, some in images_NHWC.items()}
        return [self.card.best(row, top) for row in self.probabilities(normalised)]

    def _check_names(self, images: dict[str, np.ndarray]) -> None:
        expected = self.card.inputs
        if images.keys() != expected.keys():
            raise DataError(f"{self.card.name} takes {_listed(expected)}, not {_listed(images)}")


def _name(shown: EnsembleInput) -> str:
    name = f"{INPUT}_{shown.resolution}"
    return name if shown.view == PLAIN else f"{name}_{shown.view.replace('-', '_')}"


def _listed(values: Any) -> str:
    return " and ".join(map(str, sorted(values))) or "no"
