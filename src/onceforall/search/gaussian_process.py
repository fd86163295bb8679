"""Gaussian-process regression on a few hundred noisy labels: mean, error bar, and hyperparameters by evidence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Matrix = NDArray[np.float64]

# Logarithms of: weight and inverse width of each part of the kernel, and the noise variance; for standardised labels.
# The start is also the centre of a weak prior, which keeps 30 labels from choosing an extreme.
_START = np.array([-1.0, -1.0, 0.0, -1.0, -1.0, -2.0])
_PRIOR_WIDTH = 3.0
_BOUNDS = [(-7.0, 5.0)] * len(_START)
_MOST_FOR_EVIDENCE = 400  # one evidence costs n^3; more labels than this do not move five numbers


@dataclass(frozen=True)
class Inputs:
    """Rows to regress on: `features` (n, F) for linear and similarity parts, `size` (n,) a scalar measure of capacity.

    `size` may be all zero, which leaves its part of the kernel a constant.
    """

    features: Matrix
    size: Matrix

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.int64]) -> "Inputs":
        """Some of the rows."""
        return Inputs(self.features[rows], self.size[rows])


class GaussianProcess:
    """Kernel = linear in the features + similarity (RBF) over the features + smooth function (RBF) of the size.

    The linear part carries additive effects of single choices, the size part the saturating growth of accuracy with
    capacity, the similarity part what is left. `hyperparameters` (6,) are logarithms.
    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, algorithm 2.1 and section 5.4.1.
    """

    def __init__(
        self, inputs: Inputs, labels: Matrix, parameters: dict[str, Matrix] | None = None, seed: int = 0
    ) -> None:
        """Fit labels (n,); without the `parameters` of a copy the evidence chooses them (deterministic for a seed)."""
        self.inputs = inputs
        self.mean = float(labels.mean())
        self.scale = float(labels.std()) or 1.0
        self.centre = inputs.features.mean(axis=0)
        self.spread = float(((inputs.features - self.centre) ** 2).sum(axis=1).mean()) or 1.0
        self.size_centre = float(inputs.size.mean())
        self.size_spread = float(inputs.size.std()) or 1.0
        targets = (labels - self.mean) / self.scale
        self.hyperparameters = self._choose(targets, seed) if parameters is None else parameters["hyperparameters"]
        self.factor = self._factor(self._distances(inputs, inputs), self.hyperparameters)
        self.weights: Matrix = cho_solve((self.factor, True), targets)

    @property
    def tensors(self) -> dict[str, Matrix]:
        """What a copy needs besides inputs and labels."""
        return {"hyperparameters": self.hyperparameters}

    def predict(self, inputs: Inputs, with_error: bool = False) -> tuple[Matrix, Matrix]:
        """Mean (n,) and standard deviation (n,) of the function without label noise; zeros unless `with_error`."""
        kernel = self._kernel(*self._distances(inputs, self.inputs), self.hyperparameters)
        mean = self.mean + self.scale * (kernel @ self.weights)
        if not with_error:
            return mean, np.zeros(len(mean))
        prior = np.exp(self.hyperparameters[0]) * ((inputs.features - self.centre) ** 2).sum(axis=1) / self.spread
        prior += np.exp(self.hyperparameters[1]) + np.exp(self.hyperparameters[3])
        explained = (solve_triangular(self.factor, kernel.T, lower=True) ** 2).sum(axis=0)
        return mean, self.scale * np.sqrt(np.maximum(prior - explained, 1e-12))

    def _distances(self, a: Inputs, b: Inputs) -> tuple[Matrix, Matrix, Matrix]:
        """Scaled inner products, squared distances of features, squared distances of sizes; each (len(a), len(b))."""
        left, right = a.features - self.centre, b.features - self.centre
        inner = left @ right.T / self.spread
        lengths = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None]
        squared = np.maximum(lengths / self.spread - 2 * inner, 0.0) / 2
        sizes = (a.size[:, None] - b.size[None]) / self.size_spread
        return inner, squared, sizes**2

    @staticmethod
    def _kernel(inner: Matrix, squared: Matrix, sizes: Matrix, log: Matrix) -> Matrix:
        linear, similar, narrow, size, size_narrow = np.exp(log[:5])
        return linear * inner + similar * np.exp(-narrow * squared) + size * np.exp(-0.5 * size_narrow * sizes)

    def _factor(self, distances: tuple[Matrix, Matrix, Matrix], log: Matrix) -> Matrix:
        kernel = self._kernel(*distances, log)
        kernel[np.diag_indices_from(kernel)] += np.exp(log[5]) + 1e-6
        return cholesky(kernel, lower=True)

    def _choose(self, targets: Matrix, seed: int) -> Matrix:
        rows = np.random.default_rng(seed).permutation(len(targets))[:_MOST_FOR_EVIDENCE]
        chosen, targets = self.inputs.take(rows), targets[rows]
        distances = self._distances(chosen, chosen)

        def cost(log: Matrix) -> float:
            try:
                factor = self._factor(distances, log)
            except LinAlgError:
                return 1e6
            half = solve_triangular(factor, targets, lower=True)
            prior = 0.5 * (((log - _START) / _PRIOR_WIDTH) ** 2).sum()
            return float(0.5 * half @ half + np.log(np.diag(factor)).sum() + prior)

        return np.asarray(minimize(cost, _START, method="L-BFGS-B", bounds=_BOUNDS).x)
