"""Class-balanced random choice: the one way images are set aside."""

import numpy as np


def stratified_choice(
    labels: np.ndarray, keys: np.ndarray, count: int, seed: tuple[int, ...], *, keep_one: bool = True
) -> np.ndarray:
    """Indices (ascending) of about `count` images, every class in proportion; a function of its arguments only.

    Inside a class, images stand in an order that follows from `seed` and each one's own key (uint64), and the first
    are taken: one image more or less moves the border of a class by what its quota changes, and nothing else.

    Quotas are rounded by largest remainder. With `keep_one` no class loses its last image, so fewer than `count` may
    come back.
    """
    sizes = np.bincount(labels)
    available = np.maximum(sizes - 1, 0) if keep_one else sizes
    return first_of_each_class(labels, _mixed(keys, seed), _quotas(sizes, available, count))


def first_of_each_class(labels: np.ndarray, keys: np.ndarray, quotas: np.ndarray | int) -> np.ndarray:
    """Indices (ascending) of the images with the lowest keys of each class, at most `quotas` of it.

    Args:
        labels, keys: of the images, (N,).
        quotas: one number, or one per class.
    """
    sizes = np.bincount(labels)
    order = np.lexsort((keys, labels))
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < np.repeat(np.broadcast_to(quotas, sizes.shape), sizes)])


def official_holdout(images: int, count: int) -> np.ndarray:
    """Indices (ascending) of the hold-out of the Once-for-All code: the head of one fixed permutation by torch."""
    import torch

    return np.sort(torch.randperm(images, generator=torch.Generator().manual_seed(2147483647))[:count].numpy())


def _mixed(keys: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """Another random-looking order of keys for every seed: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = keys ^ np.random.SeedSequence(seed).generate_state(1, np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


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
