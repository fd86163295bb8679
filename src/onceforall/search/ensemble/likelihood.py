"""Ensembles chosen by the likelihood of the true classes: fewer right on the selection images, more on others.

Of tens of thousands of ensembles counted on the same images the best are also the luckiest: part of what they gain is
gone on new images. The mean log probability of the true class moves far less by chance, because every image adds to it
by how sure the vote is.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Integers
from .ensembles import (
    Ensemble,
    EnsembleFront,
    Rule,
    check_choice,
    check_latencies,
    check_rule,
    largest_subset,
    latencies_of,
    reference_point,
)
from .likeliest import MOST_VOTES, Shares, front_rows, likeliest_ensembles
from .temperature import NOTHING, Floats
from .votes import VoteTable

# Standard errors of its lead with which an ensemble takes the place of one network: summed, a larger network is as fast
# and usually better, so doubt counts against the ensemble; side by side one member more costs nothing.
_LEAD = {"summed": 4.0, "maximal": 1.0}


def select_by_likelihood(
    votes: VoteTable,
    label_probabilities: Floats,
    latencies_ms: ArrayLike,
    rule: str = "summed",
    *,
    single: NDArray[np.bool_] | None = None,
    at_least: int = 1,
    most: int = 100,
    lead: float | None = None,
) -> EnsembleFront:
    """Find ensembles with shares of the vote: each is likelier to be right than everything as fast that was met.

    Which ensembles are looked at `likeliest_ensembles` says; a member can have several votes. With `at_least=1` an
    ensemble stands only if it is likelier than the likeliest network alone that is as fast, by four standard errors of
    the difference (summed) or one (maximal); elsewhere stands the network with most images right.

    Args:
        votes: counts the images right, for the record. label_probabilities: what each network gives the true class of
            each image, (N, M); after `fit_temperatures`, as networks that are too sure or too modest distort it.
        latencies_ms, rule, at_least, most: as in `select_ensembles`.
        lead: standard errors in place of those.
        single: which members may stand alone, (N,), one of them as fast as every other; None: all.

    Returns:
        Ensembles by rising latency and likelihood: the last that is fast enough is the one to take. Its count of
        images right can be below that of a faster one.

    Raises:
        ConfigError: one network, a latency that is missing, an impossible option.
    Source: votes with replacement are Caruana et al., Ensemble Selection from Libraries of Models (ICML 2004).
    """
    checked, latencies = check_rule(rule), check_latencies(latencies_ms, votes.members)
    check_choice(votes, at_least, most, min(votes.members, MOST_VOTES))
    singles = votes.correct(np.eye(votes.members))
    reference = reference_point(latencies, singles, votes.images, checked)
    alone = np.ones(votes.members, dtype=bool) if single is None else single
    shares, looked_at = likeliest_ensembles(label_probabilities, latencies, checked, at_least, alone)
    if at_least == 1:
        needed = _LEAD[checked] if lead is None else lead
        shares = _leading(shares, label_probabilities, latencies, checked, alone, needed)
        shares = _with_best_singles(shares, np.where(alone, singles, -1), latencies, checked)
    if len(shares) > most:
        losses = -_logarithms(shares, label_probabilities).mean(axis=1)
        shares = _thinned(shares, latencies_of(shares > 0, latencies, checked), losses, reference[0], most)
    found = _ensembles(shares, votes.correct(shares), latencies_of(shares > 0, latencies, checked))
    return EnsembleFront(checked, votes.images, found, looked_at, reference)


def _logarithms(shares: Shares, given: Floats) -> Floats:
    """Log probability that each ensemble gives the true class of each image, (n, M)."""
    return np.log(shares @ np.maximum(given, NOTHING) / shares.sum(axis=1, keepdims=True))


def _leading(
    shares: Shares, given: Floats, latencies: Floats, rule: Rule, alone: NDArray[np.bool_], needed: float
) -> Shares:
    """The front of the networks that may stand `alone` and of the ensembles that are likelier by the lead needed."""
    networks = np.flatnonzero(alone)
    singles = np.eye(len(latencies), dtype=np.int64)[networks]
    rows = np.concatenate([singles, shares[np.count_nonzero(shares, axis=1) > 1]])
    logarithms = _logarithms(rows, given)
    likelihoods, latency = logarithms.mean(axis=1), latencies_of(rows > 0, latencies, rule)
    leading = np.ones(len(rows), dtype=bool)
    for index in range(len(networks), len(rows)):
        fast = latencies[networks] <= latency[index]
        lead = logarithms[index] - logarithms[np.where(fast, likelihoods[: len(networks)], -np.inf).argmax()]
        leading[index] = lead.mean() > needed * lead.std() / len(lead) ** 0.5
    rows = rows[leading]
    return rows[front_rows(latency[leading], likelihoods[leading])]


def _with_best_singles(shares: Shares, singles: Integers, latencies: Floats, rule: Rule) -> Shares:
    """The front with, wherever a single network is the likeliest, the one as fast with most images right.

    That can change at the latency of any network. Only networks slower than the last ensemble before are asked, as the
    likeliest one is.
    """
    starts = latencies_of(shares > 0, latencies, rule)
    several = np.count_nonzero(shares, axis=1) > 1
    rows: list[NDArray[np.int64]] = []
    for latency in np.unique(np.concatenate([starts, latencies])):
        place = int(np.searchsorted(starts, latency, side="right")) - 1
        row = shares[place]
        if not several[place]:
            slower_than = starts[: place + 1][several[: place + 1]].max(initial=0)
            asked = np.flatnonzero((latencies <= latency) & (latencies > slower_than))
            row = np.zeros_like(row)
            row[asked[np.lexsort((latencies[asked], -singles[asked]))[0]]] = 1
        if not rows or (row != rows[-1]).any():
            rows.append(row)
    return np.array(rows)


def _thinned(shares: Shares, latency: Floats, losses: Floats, reference: float, most: int) -> Shares:
    """Those that dominate most latency and loss; single networks, which stand for their accuracy, stay if they can."""
    several = np.count_nonzero(shares, axis=1) > 1
    asked = np.flatnonzero(several) if (~several).sum() <= most else np.arange(len(shares))
    points = np.stack([latency, losses], axis=1)[asked]
    room = most - (len(shares) - len(asked))
    kept = asked[largest_subset(points, (reference, losses.max()), room)] if room else asked[:0]
    return np.delete(shares, np.setdiff1d(asked, kept), axis=0)


def _ensembles(shares: Shares, correct: Integers, latencies: Floats) -> tuple[Ensemble, ...]:
    """Distinct ensembles in their order; equal shares are no weights."""
    found: dict[bytes, Ensemble] = {}
    for row, count, latency in zip(shares, correct.tolist(), latencies.tolist(), strict=True):
        members = np.flatnonzero(row)
        given = row[members] / row.sum()
        weights = None if (row[members] == row[members[0]]).all() else tuple(given.tolist())
        found.setdefault((row / row.sum()).tobytes(), Ensemble(tuple(members.tolist()), latency, count, weights))
    return tuple(found.values())
