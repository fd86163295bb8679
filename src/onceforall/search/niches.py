"""Geometry of a front while it is searched: its spread representatives, how far others fall short, who survives.

Points are (n, objectives), all minimised, in units of the front's extent.
"""

import numpy as np
from numpy.typing import NDArray

from .operators import Values

Indices = NDArray[np.int64]


def spread_out(points: Values, count: int) -> Indices:
    """Indices of at most `count` different points, the best of each objective first, then always the farthest one."""
    ends = list(dict.fromkeys(points.argmin(axis=0).tolist()))
    distance = np.full(len(points), np.inf)
    chosen: list[int] = []
    while len(chosen) < count and distance.any():
        chosen.append(ends[len(chosen)] if len(chosen) < len(ends) else int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)


def nearest(points: Values, centres: Values) -> Indices:
    """Index of the nearest centre of every point."""
    distance = np.zeros((len(points), len(centres)))
    for column, centre in zip(points.T, centres.T, strict=True):
        distance += (column[:, None] - centre) ** 2
    return distance.argmin(axis=1)


def shortfall(points: Values, front: Values) -> Values:
    """How much every point would have to gain in its easiest objective to be dominated no more, (n,).

    0 for members of the front, negative beyond it. `front` holds mutually non-dominated points.
    """
    if points.shape[1] == 2:  # along a sorted front one objective rises and the other falls: look where they cross
        front = front[np.argsort(front[:, 0], kind="stable")]
        after = np.searchsorted(front[:, 0] - front[:, 1], points[:, 0] - points[:, 1])
        sides = [front[np.maximum(after - 1, 0)], front[np.minimum(after, len(front) - 1)]]
        return np.maximum(*[(points - side).min(axis=1) for side in sides])
    least = points[:, :1] - front[:, 0]
    for column, values in zip(points.T[1:], front.T[1:], strict=True):
        np.minimum(least, column[:, None] - values, out=least)
    return least.max(axis=1)


def best_of_each(niche: Indices, short: Values, count: int) -> Indices:
    """Indices of the `count` points with the smallest shortfall of every niche, niche by niche."""
    order = np.lexsort((short, niche))
    begins = np.concatenate([[True], niche[order][1:] != niche[order][:-1]])
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(begins, place, 0))
    return order[rank < count]
