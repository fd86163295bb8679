"""Exported files opened again: what they say about themselves, and their predictions."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from ..errors import DataError, FileFormatError

INPUT, OUTPUT = "images", "logits"
PLAIN = "plain"  # the view of an image that is the image as it is


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """What every exported file says about itself.

    Attributes:
        name: of the network or ensemble.
        in_chans: channels of the input.
        classes: names in the order of the outputs.
        mean, std: per channel, of pixel values in 0..1; the input is (pixels / 255 - mean) / std.
        test_transform: how an image was brought to the resolution when accuracy was measured, by a name of
            docs/files.md; None in files that do not say so.
    """

    name: str
    in_chans: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    test_transform: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Key-value texts as ONNX keeps them; every value is JSON."""
        return {field: json.dumps(getattr(self, field), ensure_ascii=False) for field in self.__dataclass_fields__}

    @classmethod
    def from_metadata(cls, texts: dict[str, str]) -> Self:
        """The inverse of `to_metadata`. Raises KeyError or ValueError when something is missing or not JSON."""
        texts = {"test_transform": "null", "view": json.dumps(PLAIN)} | texts  # files of before they were noted
        values: dict[str, Any] = {field: json.loads(texts[field]) for field in cls.__dataclass_fields__}
        for field, value in values.items():
            if isinstance(value, list):
                values[field] = tuple(value)
        return cls(**values)

    def normalised(self, images_NHWC: np.ndarray, resolution: int) -> np.ndarray:
        """(N, in_chans, resolution, resolution) float32 of 8-bit images. Raises DataError for other shapes or types."""
        expected = (resolution, resolution, self.in_chans)
        if images_NHWC.dtype != np.uint8 or images_NHWC.shape[1:] != expected:
            raise DataError(
                f"{self.name} takes uint8 images of shape {expected}, "
                f"not {images_NHWC.dtype} of shape {images_NHWC.shape[1:]}; resize and crop them first"
            )
        mean, std = (np.array(values, dtype=np.float32) for values in (self.mean, self.std))
        return ((images_NHWC.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)

    def best(self, probabilities: np.ndarray, top: int) -> Prediction:
        """The `top` most probable classes of one image."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        return Prediction(
            tuple(self.classes[index] for index in order), tuple(float(probabilities[index]) for index in order)
        )


@dataclass(frozen=True, kw_only=True)
class NetworkCard(Card):
    """What the file of one network says about itself.

    Attributes:
        resolution: height and width of the input in pixels.
        arch: the architecture as plain values, or None.
        view: what the network is shown of an image, as a member of an ensemble; otherwise the image as it is.
    """

    resolution: int
    arch: dict[str, Any] | None
    view: str = PLAIN


CardKind = TypeVar("CardKind", bound=Card)


def open_onnx(path: str | Path, card: type[CardKind], threads: int) -> tuple[Any, CardKind]:
    """A session of ONNX Runtime and what the file says about itself. Raises FileFormatError, as `OnnxNetwork`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no base class
        raise FileFormatError(f"{path} cannot be opened by ONNX Runtime: {error}") from error
    try:
        return session, card.from_metadata(session.get_modelmeta().custom_metadata_map)
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"{path} does not describe its input and classes ({error}); was it written by `ofa export`?"
        ) from error


class OnnxNetwork:
    """An exported network in ONNX Runtime.

    Args:
        path: a file written by `export_onnx`.
        threads: of the runtime.

    Raises:
        FileFormatError: not an ONNX file, or one without the description `export_onnx` writes.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self._session, self.card = open_onnx(path, NetworkCard, threads)

    def logits(self, images_NCHW: np.ndarray) -> np.ndarray:
        """(N, classes) float32 logits of normalised float images."""
        return np.asarray(self._session.run([OUTPUT], {INPUT: images_NCHW.astype(np.float32)})[0])

    def predict(self, images_NHWC: np.ndarray, top: int = 1) -> list[Prediction]:
        """Most probable classes of 8-bit images that have the network's resolution already.

        Args:
            images_NHWC: uint8, shape (N, resolution, resolution, in_chans).
            top: classes per image.

        Raises:
            DataError: images of another shape or type.
        """
        logits = self.logits(self.card.normalised(images_NHWC, self.card.resolution))
        likelihood = np.exp(logits - logits.max(axis=1, keepdims=True))
        return [self.card.best(row / row.sum(), top) for row in likelihood]
