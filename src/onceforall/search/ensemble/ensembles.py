"""Ensembles as values: members, latency, accuracy; and the front of a selection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError
from ..front import hypervolume, non_dominated
from .blocks import Integers
from .votes import VoteTable

Rule = Literal["summed", "maximal"]
RULES = ("summed", "maximal")
Sets = NDArray[np.bool_]
_REFERENCE_LATENCY = {"summed": 4.0, "maximal": 1.1}


@dataclass(frozen=True)
class Ensemble:
    """Networks that vote: their numbers in the table, and `correct` images on which the vote is right.

    `latency_ms` is the sum of the members' latencies, one after the other, or that of the slowest, side by side.
    `weights` are the members' shares of the vote, None where all count alike.
    """

    members: tuple[int, ...]
    latency_ms: float
    correct: int
    weights: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Describe the ensemble in plain JSON values."""
        return {
            "members": list(self.members),
            "weights": None if self.weights is None else list(self.weights),
            "latency_ms": self.latency_ms,
            "correct": self.correct,
        }


@dataclass(frozen=True)
class EnsembleFront:
    """Distinct ensembles by rising latency, of `evaluations` that were looked at; each is better than all as fast.

    Better is more accurate, or likelier to be right where they were chosen by that (see `select_by_likelihood`).
    `reference` is the latency (ms) and the error (percent) that hypervolumes are measured towards.
    """

    rule: Rule
    images: int
    ensembles: tuple[Ensemble, ...]
    evaluations: int
    reference: tuple[float, float]

    @property
    def points(self) -> NDArray[np.float64]:
        """Latency in ms and error in percent of every ensemble, (n, 2)."""
        rows = [(one.latency_ms, 100 - 100 * one.correct / self.images) for one in self.ensembles]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 2)

    def hypervolume(self, reference: Sequence[float] | None = None) -> float:
        """What the front dominates, in ms times percent, towards `reference` or the front's own."""
        return hypervolume(self.points, reference or self.reference)

    def best_within(self, latency_ms: float) -> Ensemble | None:
        """The best ensemble that is fast enough, None when there is none."""
        fast = [one for one in self.ensembles if one.latency_ms <= latency_ms]
        return fast[-1] if fast else None

    def sets(self, networks: int) -> NDArray[np.float64]:
        """Weights of every ensemble over all networks of the table, (n, networks)."""
        table = np.zeros((len(self.ensembles), networks))
        for row, one in zip(table, self.ensembles, strict=True):
            row[list(one.members)] = one.weights or 1
        return table


def latencies_of(sets: Sets, latencies_ms: NDArray[np.float64], rule: Rule) -> NDArray[np.float64]:
    """Latency of sets of members, (P, N) -> (P,)."""
    each = np.where(sets, latencies_ms, 0.0)
    return each.sum(axis=1) if rule == "summed" else each.max(axis=1, initial=0.0)


def reference_point(
    latencies_ms: NDArray[np.float64], singles: Integers, images: int, rule: Rule
) -> tuple[float, float]:
    """The default reference: 1.1 (maximal) or 4 times (summed) the slowest network, and the error of the worst."""
    return float(_REFERENCE_LATENCY[rule] * latencies_ms.max()), float(100 - 100 * singles.min() / images)


def check_rule(rule: str) -> Rule:
    """The rule, if it is one. Raises ConfigError."""
    if rule == "summed" or rule == "maximal":
        return rule
    raise ConfigError(f"rule={rule}: use summed (members one after the other) or maximal (side by side)")


def check_latencies(latencies_ms: ArrayLike, networks: int) -> NDArray[np.float64]:
    """Latencies (N,) in ms. Raises ConfigError when one is missing, infinite or not positive."""
    values = np.asarray(latencies_ms, dtype=np.float64)
    if values.shape != (networks,):
        raise ConfigError(f"{networks} networks, but latencies of shape {values.shape}")
    for index in np.flatnonzero(~(np.isfinite(values) & (values > 0))):
        raise ConfigError(f"the latency of network {index} is missing or not positive: {values[index]}")
    return values


def check_choice(votes: VoteTable, at_least: int, most: int, most_members: int) -> None:
    """Raise ConfigError where there is nothing to choose, or `at_least` and `most` are impossible."""
    if votes.members < 2:
        raise ConfigError("one network is no ensemble: predictions of at least two are needed")
    if votes.all_equal():
        raise ConfigError(
            f"all {votes.members} networks and their votes are right on the same images; there is nothing to choose"
        )
    if not 1 <= at_least <= most_members or most < 1:
        raise ConfigError(f"at_least={at_least} most={most}: between 1 and {most_members} members, 1 ensemble or more")


def front_of(
    sets: Sets,
    correct: Integers,
    latencies_ms: NDArray[np.float64],
    rule: Rule,
    images: int,
    evaluations: int,
    reference: tuple[float, float],
    most: int = 100,
) -> EnsembleFront:
    """Reduce sets of members (P, N) with their counts (P,) to a front of at most `most` ensembles.

    Of ensembles with equal latency and accuracy the first stays. When there are too many, those stay that have the
    largest hypervolume together.
    """
    latency = latencies_of(sets, latencies_ms, rule)
    points = np.stack([latency, -correct.astype(np.float64)], axis=1)
    best = np.flatnonzero(non_dominated(points)) if len(points) else np.zeros(0, dtype=np.int64)
    _, first = np.unique(points[best], axis=0, return_index=True)
    best = best[first]
    if len(best) > most:
        errors = 100 - 100 * correct[best] / images
        best = best[largest_subset(np.stack([latency[best], errors], axis=1), reference, most)]
    found = tuple(
        Ensemble(tuple(np.flatnonzero(sets[row]).tolist()), float(latency[row]), int(correct[row])) for row in best
    )
    return EnsembleFront(rule, images, found, evaluations, reference)


def largest_subset(points: NDArray[np.float64], reference: tuple[float, float], count: int) -> NDArray[np.int64]:
    """Of a front (n, 2) sorted by its first value, the `count` points of largest hypervolume; of two or more both ends.

    Between one chosen point and the next the front dominates a rectangle as high as the first of them, so that the best
    choices up to each point follow from those with one point less.
    """
    width, height = np.minimum(points[:, 0], reference[0]), np.maximum(reference[1] - points[:, 1], 0)
    if count < 2:
        return np.array([((reference[0] - width) * height).argmax()])
    area = (width - width[:, None]) * height[:, None]  # from point i up to point j
    area[np.tril_indices(len(points))] = -np.inf
    best = np.full(len(points), -np.inf)
    best[0] = 0
    before = []
    for _ in range(count - 1):
        total = best[:, None] + area
        before.append(total.argmax(axis=0))
        best = total.max(axis=0)
    chosen = [len(points) - 1]
    for choices in reversed(before):
        chosen.append(int(choices[chosen[-1]]))
    return np.array(chosen[::-1])
