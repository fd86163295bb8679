"""How well predictions agree with measurements."""

import numpy as np


def mean_relative_error(measured: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of |predicted - measured| / measured (MAPE as a fraction: 0.02 is 2 %)."""
    measured, predicted = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    return float(np.mean(np.abs(predicted - measured) / measured))


def kendall_tau(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b rank correlation, -1 to 1; ties are taken out of the norm. NaN when a or b is constant."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    order_a, order_b = (np.sign(values[:, None] - values[None, :]) for values in (a, b))
    pairs_a, pairs_b = np.abs(order_a).sum(), np.abs(order_b).sum()
    if not pairs_a or not pairs_b:
        return float("nan")
    return float((order_a * order_b).sum() / np.sqrt(pairs_a * pairs_b))
