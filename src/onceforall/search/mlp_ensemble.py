"""A small ensemble of multi-layer perceptrons for a few hundred noisy labels and more; its spread is the error bar."""

import warnings

import numpy as np
from numpy.typing import NDArray

from .gaussian_process import Inputs, Matrix

_MEMBERS = 8
_HIDDEN = 64
_FEATURE_SCALE = 3.0  # squared length of a typical input, so that a hidden unit bends within the data
_WEIGHT_DECAY = 10.0


class MlpEnsemble:
    """Mean and spread of perceptrons with one hidden layer, each fitted to a bootstrap sample (Breiman, 1996).

    The spread is scaled to the errors on labels that members did not draw, which hold the noise of the labels too.
    Features are scaled together, not one by one: a rare choice keeps its small variance and little influence.
    `parameters` are the weights of all members, see `tensors`.
    """

    def __init__(
        self, inputs: Inputs, labels: Matrix, parameters: dict[str, Matrix] | None = None, seed: int = 0
    ) -> None:
        """Fit labels (n,), or take `parameters` that `tensors` gave."""
        self.parameters = self._fit(inputs, labels, seed) if parameters is None else parameters

    def predict(self, inputs: Inputs, with_error: bool = False) -> tuple[Matrix, Matrix]:
        """Mean (n,) and error bar (n,), which is zero unless `with_error`."""
        outputs = self._outputs(inputs)
        if not with_error:
            return outputs.mean(axis=0), np.zeros(len(inputs))
        return outputs.mean(axis=0), self.parameters["error_scale"] * outputs.std(axis=0, ddof=1)

    def _outputs(self, inputs: Inputs) -> Matrix:
        """What every member says, (members, n)."""
        p = self.parameters
        hidden = np.tanh(self._scaled(inputs) @ p["weights0"] + p["biases0"][:, None])
        return p["mean"] + p["scale"] * ((hidden @ p["weights1"][..., None])[..., 0] + p["biases1"][:, None])

    @property
    def tensors(self) -> dict[str, Matrix]:
        """Everything a copy needs."""
        return self.parameters

    def _scaled(self, inputs: Inputs) -> Matrix:
        p = self.parameters
        features = (inputs.features - p["centre"]) * p["feature_scale"]
        size = (inputs.size - p["size_centre"]) * p["size_scale"]
        return np.concatenate([features, size[:, None]], axis=1)

    def _fit(self, inputs: Inputs, labels: Matrix, seed: int) -> dict[str, Matrix]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        centre = inputs.features.mean(axis=0)
        length = float(np.sqrt(((inputs.features - centre) ** 2).sum(axis=1).mean())) or 1.0
        self.parameters = {
            "centre": centre,
            "feature_scale": np.array(_FEATURE_SCALE / length),
            "size_centre": inputs.size.mean(),
            "size_scale": np.array(1.0 / (float(inputs.size.std()) or 1.0)),
            "mean": labels.mean(),
            "scale": np.array(float(labels.std()) or 1.0),
        }
        rows, targets = self._scaled(inputs), (labels - labels.mean()) / self.parameters["scale"]
        members = []
        samples = [
            np.random.default_rng([seed, member]).integers(0, len(rows), len(rows)) for member in range(_MEMBERS)
        ]
        for member, drawn in enumerate(samples):
            network = MLPRegressor(
                hidden_layer_sizes=(_HIDDEN,),
                activation="tanh",
                solver="lbfgs",
                alpha=_WEIGHT_DECAY,
                max_iter=300,
                random_state=np.random.RandomState([seed, member]),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a bounded fit is what is wanted
                members.append(network.fit(rows[drawn], targets[drawn]))
        self.parameters |= {
            "weights0": np.stack([network.coefs_[0] for network in members]),
            "biases0": np.stack([network.intercepts_[0] for network in members]),
            "weights1": np.stack([network.coefs_[1][:, 0] for network in members]),
            "biases1": np.stack([network.intercepts_[1][0] for network in members]),
        }
        seen = np.stack([np.isin(np.arange(len(rows)), drawn) for drawn in samples])
        return self.parameters | {"error_scale": np.array(_error_scale(self._outputs(inputs), seen, labels))}


def _error_scale(outputs: Matrix, seen: NDArray[np.bool_], labels: Matrix) -> float:
    """Error per spread, from members that did not see a label: outputs and seen (members, n)."""
    unseen = np.where(seen, np.nan, outputs)
    several = (~seen).sum(axis=0) > 1
    if not several.any():
        return 1.0
    errors = labels[several] - np.nanmean(unseen[:, several], axis=0)
    spreads = np.nanvar(unseen[:, several], axis=0, ddof=1)
    return float(np.sqrt((errors**2).mean() / max(spreads.mean(), 1e-12)))
