"""Ensembles chosen by the likelihood of the true classes: fewer right on the selection images, more on others.

Of tens of thousands of ensembles counted on the same images the best are also the luckiest: part of what they gain is
gone on new images. The mean log probability of the true class moves far less by chance, because every image adds to it
by how sure the vote is. It needs one number per network and image, as the vote gives the true class the mean of what
its members give it.
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
from .pool import EXHAUSTIVE_NETWORKS, every_set
from .temperature import NOTHING, Floats
from .votes import VoteTable

_VOTES = 12  # a member's share is a multiple of one vote in at most twelve
# Standard errors of its lead with which an ensemble takes the place of one network: summed, a larger network is as fast
# and usually better, so doubt counts against the ensemble; side by side one member more costs nothing.
_LEAD = {"summed": 4.0, "maximal": 1.0}
_ALIKE = 1e-7  # of the log likelihood: below what float32 sums can tell apart

Shares = NDArray[np.int64]


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

    Every ensemble on the front of latency and likelihood is given one vote more, to each network in turn (a member can
    get several), until nothing on the front changes. So all pairs are looked at, and all sets of the networks that may
    stand alone where these are few. With `at_least=1` an ensemble stands only if it is likelier than the likeliest
    network alone that is as fast, by four standard errors of the difference (summed) or one (maximal); elsewhere stands
    the network with most images right.

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
    check_choice(votes, at_least, most, min(votes.members, _VOTES))
    singles = votes.correct(np.eye(votes.members))
    reference = reference_point(latencies, singles, votes.images, checked)
    alone = np.ones(votes.members, dtype=bool) if single is None else single
    shares, looked_at = _grown(label_probabilities, latencies, checked, at_least, alone)
    if at_least == 1:
        needed = _LEAD[checked] if lead is None else lead
        shares = _leading(shares, label_probabilities, latencies, checked, alone, needed)
        shares = _with_best_singles(shares, np.where(alone, singles, -1), latencies, checked)
    if len(shares) > most:
        latency = latencies_of(shares > 0, latencies, checked)
        losses = -_logarithms(shares, label_probabilities).mean(axis=1)
        shares = shares[largest_subset(np.stack([latency, losses], axis=1), (reference[0], losses.max()), most)]
    found = _ensembles(shares, votes.correct(shares), latencies_of(shares > 0, latencies, checked))
    return EnsembleFront(checked, votes.images, found, looked_at, reference)


def _grown(given: Floats, latencies: Floats, rule: Rule, at_least: int, alone: NDArray[np.bool_]) -> tuple[Shares, int]:
    """Votes per network (n, N) of the front by rising latency and likelihood, and the number of ensembles looked at.

    Ensembles of fewer than `at_least` members grow on a front of their own.
    """
    narrow = np.maximum(given, NOTHING).astype(np.float32)
    networks = len(narrow)
    todo: Shares = np.eye(networks, dtype=np.int64)
    shares = np.concatenate([todo, _several_of(alone)])
    likelihoods = np.array(
        [np.log(row @ narrow / row.sum()).mean(dtype=np.float64) for row in shares.astype(np.float32)]
    )
    known: set[bytes] = set()
    looked_at = len(shares)
    while len(todo):
        more, values = [shares], [likelihoods]
        for row in todo[todo.sum(axis=1) < _VOTES]:
            more.append(row + np.eye(networks, dtype=np.int64))
            mixed = (row.astype(np.float32) @ narrow + narrow) / np.float32(row.sum() + 1)
            values.append(np.log(mixed).mean(axis=1, dtype=np.float64))
            looked_at += networks
        known.update(row.tobytes() for row in todo)
        shares, likelihoods = np.concatenate(more), np.concatenate(values)
        large = (shares > 0).sum(axis=1) >= at_least
        groups = [np.flatnonzero(~large), np.flatnonzero(large)]
        kept = np.concatenate([_front(shares, likelihoods, latencies, rule, group) for group in groups])
        shares, likelihoods = shares[kept], likelihoods[kept]
        todo = np.array([row for row in shares if row.tobytes() not in known], dtype=np.int64).reshape(-1, networks)
    delivered = (shares > 0).sum(axis=1) >= at_least
    return shares[delivered], looked_at


def _several_of(alone: NDArray[np.bool_]) -> Shares:
    """One vote for each member of every set of two or more networks that may stand alone; none where too many may."""
    networks = np.flatnonzero(alone)
    if len(networks) > EXHAUSTIVE_NETWORKS:
        return np.zeros((0, len(alone)), dtype=np.int64)
    sets = every_set(len(networks))
    sets = sets[sets.sum(axis=1) > 1]
    shares = np.zeros((len(sets), len(alone)), dtype=np.int64)
    shares[:, networks] = sets
    return shares


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
    return rows[_front(rows, likelihoods, latencies, rule, np.flatnonzero(leading))]


def _front(shares: Shares, likelihoods: Floats, latencies: Floats, rule: Rule, group: Integers) -> Integers:
    """Of a group of rows, those that are likelier than everything as fast, by rising latency."""
    if not len(group):
        return group
    latency = latencies_of(shares[group] > 0, latencies, rule)
    order = np.lexsort((-likelihoods[group], latency))
    before = np.maximum.accumulate(np.concatenate([[-np.inf], likelihoods[group][order]]))[:-1]
    return group[order[likelihoods[group][order] > before + _ALIKE]]


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


def _ensembles(shares: Shares, correct: Integers, latencies: Floats) -> tuple[Ensemble, ...]:
    """Distinct ensembles in their order; equal shares are no weights."""
    found: dict[bytes, Ensemble] = {}
    for row, count, latency in zip(shares, correct.tolist(), latencies.tolist(), strict=True):
        members = np.flatnonzero(row)
        given = row[members] / row.sum()
        weights = None if (row[members] == row[members[0]]).all() else tuple(given.tolist())
        found.setdefault((row / row.sum()).tobytes(), Ensemble(tuple(members.tolist()), latency, count, weights))
    return tuple(found.values())
