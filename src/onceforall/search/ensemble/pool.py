"""Ensembles worth a look: near those of a front, or between two of them."""

import numpy as np

from .ensembles import Sets

EXHAUSTIVE_NETWORKS = 14  # 16,383 sets: no more than a search would look at
_MIXTURES = 2000
_MOST = 10_000
_NEAR = 5  # places along the front
_CHANGES = 1.5  # networks that change in a mixture, on average


def every_set(networks: int) -> Sets:
    """All sets but the empty one, (2^networks - 1, networks)."""
    return (np.arange(1, 2**networks)[:, None] >> np.arange(networks)) & 1 > 0


def random_sets(rng: np.random.Generator, networks: int, members: int, count: int) -> Sets:
    """Sets with so many members and with one more in turn, (count, networks)."""
    sets = np.zeros((count, networks), dtype=bool)
    for place, row in enumerate(sets):
        row[rng.choice(networks, size=min(members + place % 2, networks), replace=False)] = True
    return sets


def around(front: Sets, rng: np.random.Generator) -> Sets:
    """Distinct sets that differ from one of `front` by one network or by an exchange, and random mixtures of two.

    The same sets and generator give the same; of many some are drawn. None is empty.
    """
    networks = front.shape[1]
    one = np.eye(networks, dtype=bool)
    parts = [_mixtures(front, rng)]
    for row in front:
        out, into = np.flatnonzero(row), np.flatnonzero(~row)
        parts.append(row ^ one)
        parts.append((row ^ one[out][:, None] ^ one[into]).reshape(-1, networks))
    every = np.concatenate(parts)
    every = every[every.any(axis=1)]
    _, first = np.unique(np.packbits(every, axis=1), axis=0, return_index=True)
    if len(first) > _MOST:
        first = rng.choice(first, size=_MOST, replace=False)
    return every[np.sort(first)]


def _mixtures(front: Sets, rng: np.random.Generator) -> Sets:
    first, second = rng.integers(len(front), size=(2, _MIXTURES))
    near = np.clip(first + rng.integers(-_NEAR, _NEAR + 1, size=_MIXTURES), 0, len(front) - 1)
    second = np.where(rng.random(_MIXTURES) < 0.5, near, second)  # neighbours mix to something about as fast
    mixed = np.where(rng.random((_MIXTURES, front.shape[1])) < 0.5, front[first], front[second])
    return mixed ^ (rng.random(mixed.shape) < _CHANGES / front.shape[1])
