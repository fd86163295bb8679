"""The published accuracy predictors: small networks over one-hot features, for whole arrays of architectures."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...cost.table import as_codes
from ...errors import ConfigError, FileFormatError
from ...space import Arch, SearchSpace, create_space
from .checkpoints import read_torch_file
from .encoders import TUTORIAL_RESOLUTIONS, ArchEncoder, Choice, nas_choices, tutorial_choices

_RESNET_RESOLUTIONS = (128, 144, 160, 176, 192, 224, 240, 256)  # of the published weights: 208 is not among them
_SOUND_FROM = 160  # pixels; below, the tutorial's predictions are not even monotone in the resolution
_ROWS = 512  # predicted at a time: their activations stay in the processor's cache

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class PublishedPredictor:
    """A multi-layer perceptron with relu that predicts the top-1 accuracy (0..1) of architectures.

    Attributes:
        space: whose architectures and codes `predict` takes.
        choices: what the inputs stand for.
        layers: weight (outputs, inputs) and bias (outputs,) of every layer, float64.
        offset: added to the output.
        made_for: name of the space the predictor was trained on; "" when the file does not tell.
        forced: take spaces of other widths, and resolutions where the predictor is known to be wrong.
        dtype: of the computation; float32 is twice as fast as float64 and differs by less than 1e-6.
    """

    space: SearchSpace
    choices: tuple[Choice, ...]
    layers: Layers
    offset: float = 0.0
    made_for: str = ""
    forced: bool = False
    dtype: type = np.float32

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions of the space that `predict` takes, in pixels."""
        return tuple(r for r in self.encoder.resolutions if r >= self._smallest)

    @property
    def _smallest(self) -> int:
        return _SOUND_FROM if self.made_for and not self.forced else 0

    @cached_property
    def encoder(self) -> ArchEncoder:
        """Turns architectures into inputs."""
        return ArchEncoder(self.space, self.choices)

    def for_space(self, space: SearchSpace) -> "PublishedPredictor":
        """The same predictor for the codes of another space, for example a restricted one.

        Raises:
            ConfigError: a space with choices or widths that the predictor was not trained on.
        """
        if self.made_for and not self.forced and space.layout.stages != create_space(self.made_for).layout.stages:
            raise ConfigError(
                f"this accuracy predictor was trained on networks of {self.made_for}, not of {space.name}; "
                "force=True takes it all the same"
            )
        ArchEncoder(space, self.choices)  # which refuses choices that have no input
        return replace(self, space=space)

    def predict(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Top-1 accuracy (0..1) of n architectures or (n, D) codes of `space`: (n,) float64.

        Raises:
            ConfigError: a resolution the predictor was not made for.
            InvalidArch: an architecture that is not in the space.
        """
        if isinstance(archs, np.ndarray):
            codes = as_codes(self.space, archs)
            self._check(self.space.resolutions[index] for index in np.unique(codes[:, 0]))
        else:
            self._check(arch.resolution for arch in archs)
            codes = self.space.encode(archs)
        parts = [self._forward(self.encoder.encode(codes[i : i + _ROWS])) for i in range(0, len(codes), _ROWS)]
        return np.concatenate([np.empty(0), *parts])

    def _check(self, resolutions: Iterable[int]) -> None:
        if foreign := sorted(set(resolutions) - set(self.resolutions)):
            known = ", ".join(map(str, self.resolutions)) or "none of the space's"
            remedy = ""
            if foreign[0] < self._smallest:
                remedy = f"; it misjudges networks below {_SOUND_FROM} px, force=True takes them all the same"
            raise ConfigError(f"the accuracy predictor was not made for {foreign[0]} px (it takes {known}){remedy}")

    def _forward(self, features: np.ndarray) -> np.ndarray:
        values = features
        for number, (weight, bias) in enumerate(self._prepared, start=1):
            values = values @ weight
            values += bias
            if number < len(self._prepared):
                np.maximum(values, 0, out=values)
        return values[:, 0].astype(np.float64) + self.offset

    @cached_property
    def _prepared(self) -> Layers:
        """The layers as the products want them: transposed, contiguous, in the type of the computation."""
        return tuple(
            (np.ascontiguousarray(weight.T, dtype=self.dtype), bias.astype(self.dtype)) for weight, bias in self.layers
        )


def load_accuracy_predictor(
    path: str | Path,
    space: SearchSpace | None = None,
    resolutions: Sequence[int] | None = None,
    *,
    force: bool = False,
    dtype: type = np.float32,
) -> PublishedPredictor:
    """Read an accuracy predictor of the official project.

    The tutorial's (128 inputs) is for mbv3_w1.2 at 112 to 224 px in steps of 16, and refuses what is below 160 px,
    where it is wrong. Those of the later encoders are for ResNet-50 (82 inputs in the published file), or for any
    MobileNetV3 or ProxylessNAS space.

    Args:
        space: whose codes will be given; None: the one the published files are for.
        resolutions: of the later encoders, in the order they were built with; None: that of the published file, or
            224 px alone for mobile spaces.
        force: take spaces of other widths, and resolutions below 160 px, with the tutorial's predictor.
        dtype: float32 or float64, of the computation.

    Raises:
        FileFormatError: a file that is damaged, needs more than tensors, or has other layers.
        ConfigError: a space that does not fit the file.
    """
    tensors = read_torch_file(path)
    if isinstance(tensors.get("state_dict"), Mapping):
        tensors = tensors["state_dict"]
    layers, offset, tutorial = _layers(path, tensors)
    inputs = layers[0][0].shape[1]
    if space is None:
        if not tutorial and inputs != len(_RESNET_RESOLUTIONS) + 74:
            raise ConfigError(f"{path} does not tell which space its {inputs} inputs are for; give space=...")
        space = create_space("mbv3_w1.2" if tutorial else "resnet50")
        known = TUTORIAL_RESOLUTIONS if tutorial else resolutions or _RESNET_RESOLUTIONS
        if tutorial and not force:
            known = [r for r in known if r >= _SOUND_FROM]
        space = replace(space, resolutions=tuple(sorted(known)))
    if tutorial:
        choices = tutorial_choices(space.layout)
    else:
        default = (224,) if space.layout.kind == "mobile" else _RESNET_RESOLUTIONS
        choices = nas_choices(space.layout, resolutions or default)
    predictor = PublishedPredictor(space, choices, layers, offset, "mbv3_w1.2" if tutorial else "", force, dtype)
    if (made := predictor.encoder.dimensions) != inputs:
        raise FileFormatError(
            f"{path} has {inputs} inputs, but architectures of {space.name} have {made} features with these "
            "resolutions; give the space and the resolutions it was trained with"
        )
    return predictor.for_space(space)


def _layers(path: str | Path, tensors: Mapping[str, Any]) -> tuple[Layers, float, bool]:
    """Layers in order, what is added to the output, and whether it is the tutorial's kind of file."""
    import torch

    pattern = re.compile(r"(?:layers\.)?(\d+)(?:\.0)?\.(weight|bias)")
    found: dict[int, dict[str, np.ndarray]] = {}
    offset, unknown = 0.0, []
    for key, value in tensors.items():
        match = pattern.fullmatch(str(key))
        is_offset = key == "base_acc" and isinstance(value, torch.Tensor) and value.numel() == 1
        if not isinstance(value, torch.Tensor) or (match is None and not is_offset):
            unknown.append(key)
        elif match is None:
            offset = float(value)
        else:
            found.setdefault(int(match[1]), {})[match[2]] = value.detach().double().numpy()
    layers = [found[number] for number in sorted(found)]
    if unknown or not layers or any("weight" not in layer or layer["weight"].ndim != 2 for layer in layers):
        held = ", ".join(sorted(map(str, tensors))[:4]) or "nothing"
        raise FileFormatError(f"{path} is not an accuracy predictor: it holds {held}")
    pairs = tuple((layer["weight"], layer.get("bias", np.zeros(len(layer["weight"])))) for layer in layers)
    widths = [weight.shape for weight, _ in pairs]
    chained = all(before[0] == after[1] for before, after in pairwise(widths))
    if not chained or widths[-1][0] != 1 or any(bias.shape != (len(weight),) for weight, bias in pairs):
        raise FileFormatError(f"{path} is not an accuracy predictor: its layers have shapes {widths}")
    return pairs, offset, "base_acc" not in tensors
