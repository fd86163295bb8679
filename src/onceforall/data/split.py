"""Class-balanced random choice: the one way images are set aside."""

import numpy as np


def stratified_choice(labels: np.ndarray, count: int, seed: tuple[int, ...], *, keep_one: bool = True) -> np.ndarray:
    """Indices (ascending) of about `count` images, every class in proportion; a function of its arguments only.

    Quotas are rounded by largest remainder. With `keep_one` no class loses its last image, so fewer than `count` may
    come back.
    """
    sizes = np.bincount(labels)
    available = np.maximum(sizes - 1, 0) if keep_one else sizes
    quotas = _quotas(sizes, available, count)
    keys = np.random.default_rng(seed).random(len(labels))
    order = np.lexsort((keys, labels))  # classes together, random inside
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.sort(order[rank < np.repeat(quotas, sizes)])


def _quotas(sizes: np.ndarray, available: np.ndarray, count: int) -> np.ndarray:
    """How many of each class, summing to `count` where `available` allows it."""
    exact = sizes * (count / max(sizes.sum(), 1))
    quotas = np.minimum(np.floor(exact).astype(np.int64), available)
    by_remainder = np.argsort(-(exact - np.floor(exact)), kind="stable")
    while (missing := count - int(quotas.sum())) > 0:
        open_classes = by_remainder[quotas[by_remainder] < available[by_remainder]]
        if len(open_classes) == 0:
            break
        quotas[open_classes[:missing]] += 1  # one each round, so at most max(sizes) rounds
    return quotas
