"""What a vote can change: of all classes and images, those on which two sets of members can differ.

Let p_n(c) be what network n gives class c of an image with label y. A set of members with weights w_n >= 0 is right
when no rival c beats y, that is when for every c the margin sum_n w_n (p_n(y) - p_n(c)) is above zero, or zero with
y < c (equal votes go to the lowest class). So an image is a list of rivals, each a row of N margins, and

* a rival whose margins are positive for all n (or not negative, with y < c) never wins: its row is dropped;
* an image without rows is always right;
* an image with a row that no set can win (all margins negative, or not positive with c < y) is always wrong;
* a row that lies above another one for all n, and does not lose a tie that the other wins, is decided by it: the sum
  of the other is not larger, so where the other is won this one is too. It is dropped.

Each of these compares numbers of one network with each other, n by n. Hence it holds for all weights and sets alike,
and for all temperatures, which keep the order of a network's probabilities.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .blocks import Block, Integers, Units


@dataclass(frozen=True)
class Rivals:
    """The rows that are left of one image: margins (rows, N) in units, and whether the label wins a tie (rows,)."""

    image: int
    margins: Units
    wins_ties: NDArray[np.bool_]


@dataclass(frozen=True)
class Compaction:
    """All images of a table: how many there are, how many are right for every set of members, and the open ones."""

    members: int
    images: int
    always_right: int
    open: list[Rivals]


def compact(blocks: Iterable[Block]) -> Compaction:
    """Keep only what a vote can change. Raises DataError for no images, or blocks of different networks."""
    members, images, always_right = 0, 0, 0
    open_images: list[Rivals] = []
    for block in blocks:
        if members and len(block.probabilities) != members:
            raise DataError(f"images of {members} and of {len(block.probabilities)} networks in one table")
        members = len(block.probabilities)
        first = block.first_classes()
        # Where all networks name the same class, that class lies above or level with every other for all n, and below
        # it in number where level: it wins every vote.
        agreed = (first == first[0]).all(axis=0)
        always_right += int((agreed & (first[0] == block.labels)).sum())
        for index in np.flatnonzero(~agreed):
            classes, values = block.image(int(index))
            found = rivals(classes, values, int(block.labels[index]), images + int(index))
            if found is not None and len(found.margins):
                open_images.append(found)
            always_right += found is not None and not len(found.margins)
        images += len(block.labels)
    if not images or not members:
        raise DataError("a vote needs at least one image and one network")
    return Compaction(members, images, always_right, open_images)


def rivals(classes: Integers, values: Units, label: int, image: int = 0) -> Rivals | None:
    """The rows of one image that can decide it: `values` (N, K) of `classes` (K,). None: no set of members is right."""
    margins = values[:, [int(np.searchsorted(classes, label))]] - values
    wins_ties = label < classes
    reached = margins + wins_ties  # whole numbers: a won tie counts one unit
    lost = (reached <= 0).all(axis=0) & (classes != label)
    if lost.any():
        return None
    contested = np.flatnonzero((reached <= 0).any(axis=0) & (classes != label))
    # A row below another one for all n has the smaller sum: going up by sums, it is met first.
    order = contested[np.lexsort((wins_ties[contested], margins[:, contested].sum(axis=0, dtype=np.int64)))]
    left, ties, kept = margins[:, order].T.copy(), wins_ties[order], []
    numbers = order
    while len(numbers):
        kept.append(numbers[0])
        decided = (left >= left[0]).all(axis=1) & (ties >= ties[0])
        left, ties, numbers = left[~decided], ties[~decided], numbers[~decided]
    return Rivals(image, margins[:, kept].T, wins_ties[kept])
