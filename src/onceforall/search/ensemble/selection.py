"""Which networks of a front should vote together: ensembles of high accuracy and low latency.

Singles belong to the same front as ensembles. All pairs are counted and all triples are counted or bounded, so that the
front is exact up to three members; larger ensembles grow out of it: every ensemble of the front is changed by one
network at a time, added, removed or exchanged, until nothing on the front can be improved that way. The latency of
members side by side is that of the slowest one, so that for each slowest member any faster ones are free: the same
moves, from the fast end to the slow end, hand every gain on to the levels above.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError
from .archive import Archive
from .blocks import Integers
from .bounds import PairBits, RowBits
from .ensembles import (
    EnsembleFront,
    Rule,
    Sets,
    check_choice,
    check_latencies,
    check_rule,
    front_of,
    latencies_of,
    reference_point,
)
from .pool import EXHAUSTIVE_NETWORKS, around, every_set, random_sets
from .promise import Promise, expected_gains
from .votes import VoteTable

Indices = NDArray[np.int64]
_LATEST = 800  # ensembles that promises are learned from
_FIRST_STRIDE = 16
_NEAR = 5  # places along the front
_EXCHANGES = 8  # tried at a time, of those that look best
_REMOVALS_TO_EXCHANGE = 8  # of an ensemble with many members only the least missed ones are exchanged


def select_ensembles(
    votes: VoteTable,
    latencies_ms: ArrayLike,
    rule: str = "summed",
    *,
    at_least: int = 1,
    most: int = 100,
    evaluations: int | None = None,
    mixtures: int = 1000,
    seed: int = 0,
    reference: tuple[float, float] | None = None,
) -> EnsembleFront:
    """Find the front of ensembles of a table: at most `most`, distinct, by rising latency.

    Args:
        latencies_ms: of every network (N,).
        rule: "summed", members run one after the other; "maximal", side by side.
        at_least: fewest members; 1 lets single networks compete.
        evaluations: most ensembles to count images for, single networks among them; None: as many as the search takes
            (all pairs among them). Ensembles that a bound rules out are not counted.
        mixtures: how often two ensembles of the front are mixed at random when nothing else improves it; without
            `evaluations` only.
        seed: of all that is random; same seed, same result.
        reference: latency in ms and error in percent for hypervolumes; None: see `reference_point`.

    Up to 14 networks all sets are tried.

    Raises:
        ConfigError: one network, networks that all agree, a latency that is missing, an impossible option.
    Source: the problem is that of OFA3 (see `published`); the way of solving it is our own.
    """
    checked, latencies = check_rule(rule), check_latencies(latencies_ms, votes.members)
    check_choice(votes, at_least, most, votes.members)
    if evaluations is not None and evaluations < votes.members:
        raise ConfigError(f"evaluations={evaluations}: each of the {votes.members} networks is evaluated first")
    search = _Search(votes, latencies, checked, at_least, evaluations)
    if reference is None:
        reference = reference_point(latencies, search.singles, votes.images, checked)
    enough = evaluations is None or evaluations >= 2**votes.members - 1
    if votes.members <= EXHAUSTIVE_NETWORKS and enough:
        search.everything()
    elif evaluations is None:
        search.run(mixtures, seed)
    else:
        search.run_within(evaluations, reference, seed)
    found = search.archive
    return front_of(found.sets, found.correct, latencies, checked, votes.images, search.evaluations, reference, most)


class _Search:
    """One selection: what was counted so far, and the moves that look for more."""

    def __init__(
        self, votes: VoteTable, latencies: NDArray[np.float64], rule: Rule, at_least: int, budget: int | None
    ) -> None:
        self.votes = votes
        self.latencies = latencies
        self.rule: Rule = rule
        self.at_least = at_least
        self.budget = budget
        self.leading = Archive(votes.members)  # of any size
        # Of one member, two, ... and of `at_least` or more: the last grow from the others, however little they gain.
        self.archives = [Archive(votes.members) for _ in range(at_least)] if at_least > 1 else [self.leading]
        self.archive = self.archives[-1]
        self._counted: dict[bytes, int] = {}
        self._changed: set[bytes] = set()
        self._exchanged: set[bytes] = set()
        self._bits = RowBits(votes)
        networks = np.eye(votes.members, dtype=bool)
        self.singles = self._count(networks, lambda fresh: votes.correct(networks[fresh]))

    @property
    def evaluations(self) -> int:
        """Distinct ensembles whose images were counted."""
        return len(self._counted)

    def everything(self) -> None:
        """Count every set of members."""
        every = every_set(self.votes.members)
        self._count(every, lambda fresh: self.votes.correct(every[fresh]))

    def run(self, mixtures: int, seed: int) -> None:
        """Levels of latency, pairs and triples, the neighbours of the front, and what its mixtures lead to."""
        if self.rule == "maximal":
            self._levels()
        self._triples(self._pairs())
        self._climb()
        self._mix(mixtures, np.random.default_rng(seed))

    def run_within(self, budget: int, reference: tuple[float, float], seed: int) -> None:
        """Count in each round the most promising changes and mixtures of the ensembles of the front.

        Promises come from what was counted before (see `promise`), first of all some ensembles at random.
        """
        rng, size = np.random.default_rng(seed), math.isqrt(budget)
        right = round(self.votes.images * (1 - reference[1] / 100))
        chosen = random_sets(rng, self.votes.members, max(2, self.at_least), size)
        while len(chosen) and self.evaluations < budget:
            self._count(chosen, lambda fresh, sets=chosen: self.votes.correct(sets[fresh]))
            pool = around(np.concatenate([self.leading.sets, self.archive.sets]), rng)
            pool = pool[pool.sum(axis=1) >= self.at_least]
            pool = pool[[row.tobytes() not in self._counted for row in np.packbits(pool, axis=1)]]
            latencies, promise = self._latency(pool), Promise(self.singles, *self._telling())
            means = promise.means(pool)
            rough = expected_gains(self.archive, latencies, means, promise.deviation / 2, (reference[0], right))
            best = np.argsort(-rough, kind="stable")[: 10 * size]
            pool, latencies, means = pool[best], latencies[best], means[best]
            deviations = promise.deviations(pool)
            gains = expected_gains(self.archive, latencies, means, deviations, (reference[0], right))
            chosen = pool[np.argsort(-gains, kind="stable")[:size]]

    def _telling(self) -> tuple[Sets, Integers]:
        """Counted sets to learn from, with their counts: single networks, the front, and the latest ones."""
        keys = np.frombuffer(b"".join(self._counted), dtype=np.uint8).reshape(self.evaluations, -1)
        sets = np.unpackbits(keys, axis=1, count=self.votes.members).astype(bool)
        counts = np.array(list(self._counted.values()), dtype=np.int64)
        telling = counts >= self.archive.reached(self._latency(sets))
        telling[: self.votes.members] = telling[-_LATEST:] = True
        return sets[telling], counts[telling]

    def _count(self, sets: Sets, by: Callable[[Indices], Integers]) -> Integers:
        """Images right per set, -1 where the budget is spent; `by` counts the rows (indices) that are new."""
        keys = [row.tobytes() for row in np.packbits(sets, axis=1)]
        fresh = np.array([row for row, key in enumerate(keys) if key not in self._counted], dtype=np.int64)
        if self.budget is not None:
            fresh = fresh[: self.budget - self.evaluations]
        if len(fresh):
            counts = by(fresh)
            self._counted.update((keys[row], count) for row, count in zip(fresh, counts.tolist(), strict=True))
            new, latency = sets[fresh], self._latency(sets[fresh])
            members = np.minimum(new.sum(axis=1), self.at_least)
            for size, archive in enumerate(self.archives, start=1):
                group = members == size
                archive.offer(new[group], latency[group], counts[group])
            if self.archive is not self.leading:
                self.leading.offer(new, latency, counts)
        return np.array([self._counted.get(key, -1) for key in keys], dtype=np.int64)

    def _latency(self, sets: Sets) -> NDArray[np.float64]:
        return latencies_of(sets, self.latencies, self.rule)

    def _levels(self) -> None:
        """Side by side, each slowest network is a level of latency: improve the best ensemble of each, fast to slow.

        What a level gains the slower ones begin with. The first time only some levels are worked on.
        """
        order = np.argsort(self.latencies, kind="stable")
        settled: set[bytes] = set()
        before, stride = -1, _FIRST_STRIDE
        while before < len(settled) or stride > 1:
            before = len(settled)
            for level, network in enumerate(order):
                latency = float(self.latencies[network])
                self._join(self.leading.best_within(latency), network)
                best = self.leading.best_within(latency)
                while level % stride == 0 and best.tobytes() not in settled:
                    settled.add(best.tobytes())
                    self._settle(best, order[: level + 1])
                    best = self.leading.best_within(latency)
            stride = 1

    def _join(self, best: Sets, network: int) -> None:
        """Let a network join, take the place of each member in turn, or stand alone."""
        members = np.flatnonzero(best)
        if network in members:
            return
        choices = np.repeat(best[None], len(members) + 2, axis=0)
        choices[np.arange(len(members)), members] = False
        choices[-1] = False
        choices[:, network] = True
        self._count(choices, lambda fresh: self.votes.correct(choices[fresh]))

    def _settle(self, inclusion: Sets, networks: Indices) -> None:
        """Add each of some networks, take each member out, and make the exchanges that both speak for."""
        sums, others = self.votes.sums(inclusion), networks[~inclusion[networks]]
        more = _changed(inclusion, others)
        gains = self._count(more, lambda fresh: self.votes.correct_with(sums, others[fresh]))
        members = np.flatnonzero(inclusion)
        if len(members) < 2 or not len(others):
            return
        losses = self._without_each(inclusion, members)
        promise = (losses[:, None] + gains).ravel()
        best = np.argsort(-promise, kind="stable")[:_EXCHANGES]
        exchanged = np.repeat(inclusion[None], len(best), axis=0)
        exchanged[np.arange(len(best)), members[best // len(others)]] = False
        exchanged[np.arange(len(best)), others[best % len(others)]] = True
        self._count(exchanged, lambda fresh: self.votes.correct(exchanged[fresh]))

    def _pairs(self) -> PairBits:
        """Count all pairs."""
        low, high = np.triu_indices(self.votes.members, 1)
        sets = np.zeros((len(low), self.votes.members), dtype=bool)
        sets[np.arange(len(low)), low] = sets[np.arange(len(low)), high] = True
        pairs = PairBits(self._bits, self.votes.members)
        counts = pairs.counts()
        self._count(sets, lambda fresh: counts[fresh])
        return pairs

    def _triples(self, pairs: PairBits) -> None:
        """Count all triples that the pairs in them do not rule out."""
        for low, middle in zip(*np.triu_indices(self.votes.members - 1, 1), strict=True):
            pair = np.zeros(self.votes.members, dtype=bool)
            pair[[low, middle]] = True
            later = np.arange(middle + 1, self.votes.members)
            self._with_each(pair, later, pairs.triple_bounds(int(low), int(middle)))

    def _climb(self) -> None:
        """Change one network of every ensemble of the front, in sweeps, until nothing improves; then exchange one.

        One after the other, ensembles beat single networks at the slow end: sweeps begin there.
        """
        while True:
            if todo := self._open(self._changed):
                done, move = self._changed, self._change
            elif todo := self._open(self._exchanged):
                done, move = self._exchanged, self._exchange
            else:
                return
            for row in todo if self.rule == "maximal" else reversed(todo):
                if row.tobytes() in {known.tobytes() for known in self._fronts()}:  # not beaten in this sweep
                    done.add(row.tobytes())
                    move(row)

    def _mix(self, mixtures: int, rng: np.random.Generator) -> None:
        """Mix pairs of ensembles of the front with a few random changes, and climb from where that leads."""
        for _ in range(mixtures):
            front = self._fronts()
            first, second = rng.integers(len(front), size=2)
            if rng.random() < 0.5:  # two that are neighbours on the front: their mixture is about as fast
                second = np.clip(first + rng.integers(-_NEAR, _NEAR + 1), 0, len(front) - 1)
            mixed = np.where(rng.random(self.votes.members) < 0.5, front[first], front[second])
            mixed[rng.integers(self.votes.members, size=rng.integers(4))] ^= True
            if mixed.any():
                self._change(mixed)
                self._climb()

    def _fronts(self) -> Sets:
        if self.archive is self.leading:
            return self.archive.equal
        return np.concatenate([archive.equal for archive in (self.leading, *self.archives)])

    def _open(self, done: set[bytes]) -> list[Sets]:
        return [row for row in self._fronts() if row.tobytes() not in done]

    def _change(self, inclusion: Sets) -> None:
        """Add each network that is not in; take out each one that is."""
        self._add_each(inclusion)
        members = np.flatnonzero(inclusion)
        if len(members) > 1:
            self._without_each(inclusion, members)

    def _exchange(self, inclusion: Sets) -> None:
        """Put each network in the place of each member, or of those that are missed least."""
        members = np.flatnonzero(inclusion)
        if len(members) > 1:
            counts = self._without_each(inclusion, members)
            for member in members[np.argsort(-counts, kind="stable")[:_REMOVALS_TO_EXCHANGE]]:
                rest = inclusion.copy()
                rest[member] = False
                self._add_each(rest)

    def _add_each(self, inclusion: Sets) -> None:
        networks = np.flatnonzero(~inclusion)
        if len(networks):
            self._with_each(inclusion, networks, self._bits.bounds(inclusion, networks))

    def _with_each(self, inclusion: Sets, networks: Indices, bounds: Integers) -> None:
        """Count the ensemble with each network in turn, where its bound is above what is known to be as fast."""
        sets = _changed(inclusion, networks)
        archive = self.archives[min(int(sets[0].sum()), self.at_least) - 1]
        chance = bounds > archive.reached(self._latency(sets))
        if chance.any():
            sums, left = self.votes.sums(inclusion), networks[chance]
            self._count(sets[chance], lambda fresh: self.votes.correct_with(sums, left[fresh]))

    def _without_each(self, inclusion: Sets, members: Indices) -> Integers:
        """Count the ensemble without each member in turn."""
        sums = self.votes.sums(inclusion)
        return self._count(
            _changed(inclusion, members), lambda fresh: self.votes.correct_with(sums, members[fresh], sign=-1)
        )


def _changed(inclusion: Sets, networks: Indices) -> Sets:
    """The ensemble with each network in turn put in or taken out, (n, N)."""
    sets = np.repeat(inclusion[None], len(networks), axis=0)
    sets[np.arange(len(networks)), networks] ^= True
    return sets
