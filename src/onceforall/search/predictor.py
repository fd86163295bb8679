"""Accuracy of architectures that were never evaluated, learned from some that were, with an error bar."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..cost import kendall_tau
from ..errors import ConfigError, FileFormatError, RunError
from ..files import atomic_path, read_json, tensor_pair, write_json
from ..space import Arch, SearchSpace
from .constraints import checked_values
from .gaussian_process import GaussianProcess, Inputs, Matrix
from .mlp_ensemble import MlpEnsemble
from .operators import CodeFunction, Codes

FEWEST_LABELS = 6  # labels below which no curve can be told from noise
_FOLDS = 5
_CHUNK = 8192  # rows predicted at once; bounds memory at about 20 MB per 300 labels
_FORMAT = 1


@dataclass(frozen=True)
class PredictorQuality:
    """Agreement of predictions with labels that the predictor did not see (5-fold, hyperparameters refitted).

    `r2` and `kendall_tau` are over all labels; labels carry noise of their own, which bounds both from above.
    `pairs` are (measured, predicted), one per label.
    """

    r2: float
    kendall_tau: float
    n_labels: int
    mean_absolute_error: float
    pairs: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Describe the quality in plain JSON values."""
        pairs = [{"measured": measured, "predicted": predicted} for measured, predicted in self.pairs]
        return {**asdict(self), "pairs": pairs}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> "PredictorQuality":
        """Rebuild from `to_dict`."""
        pairs = tuple((float(pair["measured"]), float(pair["predicted"])) for pair in description["pairs"])
        return cls(**{**description, "pairs": pairs})

    def __str__(self) -> str:
        return (
            f"{self.n_labels} labels, 5-fold cross-validated: R2 {self.r2:.3f}, Kendall tau {self.kendall_tau:.3f}, "
            f"mean error {100 * self.mean_absolute_error:.2f} points"
        )


MODELS: dict[str, type[GaussianProcess] | type[MlpEnsemble]] = {
    "gaussian_process": GaussianProcess,
    "mlp_ensemble": MlpEnsemble,
}


class AccuracyPredictor:
    """Top-1 accuracy (0..1) as a function of the choices of a space and the logarithm of one cost, with an error bar.

    The model is a Gaussian process or a small ensemble of perceptrons. The process ranks unseen networks at least as
    well at every number of labels up to a thousand (results/predictor); beyond some thousand it becomes slow.

    Args:
        space: the space whose codes are given to `fit` and `predict`.
        cost: optional callable on codes (n, D) -> (n,) positive, such as MACs; its logarithm is a feature that helps
            much in large spaces with few labels.
        cost_name: what the cost is; stored so that `load` can ask for the same one.
        weights: hash of the supernet's weights the labels were measured with.
        model: one of `MODELS`. Raises ConfigError for another.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CodeFunction | None = None,
        cost_name: str = "macs",
        weights: str = "",
        model: str = "gaussian_process",
    ) -> None:
        if model not in MODELS:
            raise ConfigError(f"model={model}: no such accuracy model; there are {', '.join(MODELS)}")
        self.model = model
        self.space = space
        self.cost = cost
        self.cost_name = cost_name if cost is not None else None
        self.weights = weights
        self._process: GaussianProcess | MlpEnsemble | None = None
        self._codes: Codes | None = None
        self._labels: Matrix | None = None
        self._quality: PredictorQuality | None = None

    @property
    def quality(self) -> PredictorQuality:
        """Cross-validated agreement with the labels of the last `fit`."""
        if self._quality is None:
            raise RunError("the accuracy predictor is not fitted; call fit with some evaluated networks first")
        return self._quality

    def fit(self, archs: Sequence[Arch] | Codes, top1: ArrayLike, seed: int = 0) -> "AccuracyPredictor":
        """Learn from measured accuracies (n,) in 0..1; also measures `quality` by cross-validation.

        Raises:
            ConfigError: fewer than 6 labels, labels that are not numbers in 0..1, or not one per architecture.
        """
        codes = self._as_codes(archs)
        labels = np.asarray(top1, dtype=np.float64)
        if labels.shape != (len(codes),):
            raise ConfigError(f"{len(codes)} architectures but labels of shape {labels.shape}; give one label each")
        if len(codes) < FEWEST_LABELS:
            raise ConfigError(
                f"an accuracy predictor needs at least {FEWEST_LABELS} evaluated networks, got {len(codes)}"
            )
        if not ((labels >= 0) & (labels <= 1)).all():
            raise ConfigError("labels must be accuracies between 0 and 1 (fractions, not percent) without NaN")
        inputs = self._inputs(codes)
        self._codes, self._labels = codes, labels
        self._process = MODELS[self.model](inputs, labels, seed=seed)
        self._quality = _cross_validate(MODELS[self.model], inputs, labels, seed)
        return self

    def predict(self, archs: Sequence[Arch] | Codes) -> Matrix:
        """Expected top-1 of architectures or code rows (n, D): (n,) float64 in 0..1."""
        return self._predict(archs, with_error=False)[0]

    def predict_with_error(self, archs: Sequence[Arch] | Codes) -> tuple[Matrix, Matrix]:
        """Expected top-1 and the standard deviation of that expectation (label noise not included), each (n,)."""
        return self._predict(archs, with_error=True)

    def _predict(self, archs: Sequence[Arch] | Codes, with_error: bool) -> tuple[Matrix, Matrix]:
        if self._process is None:
            raise RunError("the accuracy predictor is not fitted; call fit with some evaluated networks first")
        codes = self._as_codes(archs)
        if not len(codes):
            return np.empty(0), np.empty(0)
        parts = [
            self._process.predict(self._inputs(codes[start : start + _CHUNK]), with_error)
            for start in range(0, len(codes), _CHUNK)
        ]
        mean, error = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return np.clip(mean, 0.0, 1.0), error

    def _as_codes(self, archs: Sequence[Arch] | Codes) -> Codes:
        if isinstance(archs, np.ndarray):
            return np.asarray(archs, dtype=np.int64)
        return self.space.encode(list(archs))

    def _inputs(self, codes: Codes) -> Inputs:
        if self.cost is None:
            return Inputs(_thermometer(self.space, codes), np.zeros(len(codes)))
        cost = checked_values(str(self.cost_name), self.cost, codes)
        return Inputs(_thermometer(self.space, codes), np.log(np.maximum(cost, 1e-12)))

    def save(self, path: str | Path) -> None:
        """Write `path.safetensors` (labels, hyperparameters) and `path.json` (space, weights' hash, quality).

        Raises StorageError when the disk is full; a predictor that was there before is left intact.
        """
        from safetensors.numpy import save

        quality = self.quality
        assert self._process is not None
        assert self._codes is not None
        assert self._labels is not None
        tensors = {"codes": self._codes, "top1": self._labels, **self._process.tensors}
        with atomic_path(tensor_pair(path)[0]) as temporary:
            # safetensors' own writer hides a full disk behind another error
            temporary.write_bytes(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))
        description = {
            "format": _FORMAT,
            "kind": self.model,
            "space": self.space.to_dict(),
            "weights": self.weights,
            "cost": self.cost_name,
            "quality": quality.to_dict(),
        }
        write_json(tensor_pair(path)[1], description)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        space: SearchSpace | None = None,
        weights: str | None = None,
        cost: CodeFunction | None = None,
    ) -> "AccuracyPredictor":
        """Read a saved predictor; `cost` must be the callable it was fitted with, when there was one.

        Raises:
            FileFormatError: a file is missing or not a predictor.
            RunError: it belongs to another `space` or to other `weights` than the ones given.
            ConfigError: it was fitted with a cost and none is given.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        description = read_json(tensor_pair(path)[1])
        file = tensor_pair(path)[0]
        try:
            tensors = load_file(file)
            stored = SearchSpace.from_dict(description["space"])
            quality = PredictorQuality.from_dict(description["quality"])
            cost_name = description["cost"]
            labelled_weights = str(description["weights"])
            model = str(description["kind"])
            regressor = MODELS[model]
            codes, labels = tensors.pop("codes"), tensors.pop("top1")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{file} and its .json are not a saved accuracy predictor: {error}") from error
        if space is not None and space != stored:
            raise RunError(f"{path} predicts space {stored.name}, not this {space.name}; fit a predictor for this run")
        if weights is not None and weights != labelled_weights:
            raise RunError(f"{path} was fitted with other weights than this run's; collect labels and fit it again")
        if cost_name is not None and cost is None:
            raise ConfigError(f"{path} was fitted with {cost_name} as a feature; give that cost to load it")
        predictor = cls(stored, cost if cost_name else None, cost_name or "", labelled_weights, model)
        predictor._codes, predictor._labels, predictor._quality = codes, labels, quality
        predictor._process = regressor(predictor._inputs(codes), labels, tensors)
        return predictor


def _thermometer(space: SearchSpace, codes: Codes) -> Matrix:
    """One feature per step between neighbouring values, on from that value up: 3 -> 7 is twice as far as 3 -> 5.

    Columns with many values (25 resolutions) are scaled so that none weighs more than a block's column does.
    """
    steps = space.cardinalities - 1
    column = np.repeat(np.arange(len(steps)), steps)
    threshold = np.concatenate([np.arange(count) for count in steps])
    scale = np.sqrt(np.minimum(steps, 3) / np.maximum(steps, 1))
    return np.where(codes[:, column] > threshold, scale[column], 0.0)


def _cross_validate(
    model: type[GaussianProcess] | type[MlpEnsemble], inputs: Inputs, labels: Matrix, seed: int
) -> PredictorQuality:
    folds = min(_FOLDS, len(labels))
    fold_of = np.random.default_rng(seed).permutation(len(labels)) % folds
    predicted = np.empty_like(labels)
    for fold in range(folds):
        seen, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        process = model(inputs.take(seen), labels[seen], seed=seed)
        predicted[held] = process.predict(inputs.take(held))[0]
    errors = labels - predicted
    tau = kendall_tau(labels, predicted)
    total = float(((labels - labels.mean()) ** 2).sum())
    return PredictorQuality(
        r2=1.0 - float((errors**2).sum()) / total if total > 0 else 0.0,
        kendall_tau=tau if np.isfinite(tau) else 0.0,
        n_labels=len(labels),
        mean_absolute_error=float(np.abs(errors).mean()),
        pairs=tuple(zip(labels.tolist(), predicted.tolist(), strict=True)),
    )
