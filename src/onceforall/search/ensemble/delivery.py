"""What a selection delivers: singles and ensembles by name, chosen on selection images, told on test images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..front import hypervolume
from .blocks import Integers
from .ensembles import EnsembleFront, Sets, front_of
from .temperature import Floats
from .votes import VoteTable


def singles_front(front: EnsembleFront, votes: VoteTable, latencies_ms: Floats, alone: Sets) -> EnsembleFront:
    """The whole front of networks alone, on the images and towards the reference of a front of ensembles.

    `alone`: a set of one member for each network, (n, N).
    """
    correct = votes.correct(alone)
    return front_of(alone, correct, latencies_ms, front.rule, votes.images, len(alone), front.reference, len(alone))


def counts_of(front: EnsembleFront, votes: VoteTable) -> Integers:
    """Images of another table right for every ensemble of a front, (n,)."""
    return votes.correct(front.sets(votes.members)) if front.ensembles else np.zeros(0, dtype=np.int64)


def described(
    front: EnsembleFront, names: Sequence[str], label: str, test: Integers | None = None, test_images: int = 0
) -> dict[str, Any]:
    """A front in plain JSON values: hypervolumes on both image sets and one entry per ensemble, named `<label>-NN`."""
    digits = max(2, len(str(len(front.ensembles) - 1)))
    entries = []
    for index, one in enumerate(front.ensembles):
        right = None if test is None else int(test[index]) / test_images
        entries.append(
            {
                "name": f"{label}-{index:0{digits}d}",
                "networks": [names[member] for member in one.members],
                "weights": None if one.weights is None else list(one.weights),
                "latency_ms": one.latency_ms,
                "holdout_top1": one.correct / front.images,
                "holdout_top1_error": _standard_error(one.correct / front.images, front.images),
                "test_top1": right,
                "test_top1_error": None if right is None else _standard_error(right, test_images),
            }
        )
    return {
        "holdout_hypervolume": front.hypervolume(),
        "test_hypervolume": None if test is None else _test_hypervolume(front, test, test_images),
        "members": entries,
    }


def entry_within(entries: Sequence[dict[str, Any]], latency_ms: float) -> dict[str, Any] | None:
    """Of entries of one front the one to take within a latency, the last that is fast enough; None without.

    They stand by rising latency, each better than those before by what the front was chosen by, on selection images.
    """
    fast = [entry for entry in entries if entry["latency_ms"] <= latency_ms]
    return fast[-1] if fast else None


def _test_hypervolume(front: EnsembleFront, correct: Integers, images: int) -> float:
    errors: NDArray[np.float64] = 100 - 100 * correct / images
    return hypervolume(np.stack([front.points[:, 0], errors], axis=1), front.reference)


def _standard_error(share: float, images: int) -> float:
    return math.sqrt(share * (1 - share) / images)
