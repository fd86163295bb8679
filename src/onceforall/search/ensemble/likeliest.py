"""The likeliest ensembles for every latency: all pairs and triples, then one vote added, taken away or moved.

The likelihood of an ensemble is the mean log probability of the true class, which the vote gives the mean of what its
members give it. So it needs one number per network and image, and three numbers can be multiplied before each
logarithm: a triple of networks takes a third of a nanosecond per image, so that all of them can be looked at.
"""

import numpy as np
from numpy.typing import NDArray

from .blocks import Integers
from .ensembles import Rule, latencies_of
from .pool import EXHAUSTIVE_NETWORKS, every_set
from .temperature import NOTHING, Floats

MOST_VOTES = 12  # a member's share is a multiple of one vote in at most twelve
_FOLD = 3  # probabilities per logarithm: more than three of the smallest would leave float32
_AT_ONCE = 131_072  # numbers in work: they should stay in the cache
_ALIKE = 1e-6  # of the log likelihood: less is rounding of float32

Shares = NDArray[np.int64]


def likeliest_ensembles(
    given: Floats, latencies: Floats, rule: Rule, at_least: int, alone: NDArray[np.bool_]
) -> tuple[Shares, int]:
    """Votes per network (n, N) of the front by rising latency and likelihood, and the number of ensembles looked at.

    Looked at are all pairs and triples, and all sets of the networks that may stand `alone` (N,) where these are few.
    No ensemble of the front gets likelier, within any latency, by one vote more, one less or one given to another
    network. Ensembles of fewer than `at_least` members grow on fronts of their own, one for each number of members, and
    so do networks that may not stand alone: they are not delivered and stand in the way of nothing that is.

    Args:
        given: what each network gives the true class of each image, (N, M).
    """
    search = _Search(given, latencies, rule, at_least, alone)
    search.few()
    search.pairs()
    search.triples()
    search.climb()
    return search.fronts[-1].shares, search.looked_at


def front_rows(latency: Floats, likelihoods: Floats) -> Integers:
    """Which ensembles are likelier than everything as fast, by rising latency."""
    order = np.lexsort((-likelihoods, latency))
    before = np.maximum.accumulate(np.concatenate([[-np.inf], likelihoods[order]]))[:-1]
    return order[likelihoods[order] > before + _ALIKE]


class _Front:
    """Shares by rising latency and likelihood."""

    def __init__(self, networks: int) -> None:
        self.shares: Shares = np.zeros((0, networks), dtype=np.int64)
        self.latencies, self.likelihoods = np.zeros(0), np.zeros(0)

    def beaten_by(self, latency: Floats, likelihoods: Floats) -> NDArray[np.bool_]:
        """Which ensembles (n,) are likelier than everything here that is as fast."""
        place = np.searchsorted(self.latencies, latency, side="right")
        return likelihoods > np.concatenate([[-np.inf], self.likelihoods])[place] + _ALIKE

    def offer(self, shares: Shares, latency: Floats, likelihoods: Floats) -> None:
        """Take in what is likelier than everything as fast, and drop what it beats."""
        better = self.beaten_by(latency, likelihoods)
        if better.any():
            every = np.concatenate([self.latencies, latency[better]])
            values = np.concatenate([self.likelihoods, likelihoods[better]])
            kept = front_rows(every, values)
            self.shares = np.concatenate([self.shares, shares[better]])[kept]
            self.latencies, self.likelihoods = every[kept], values[kept]


class _Search:
    """The fronts so far, and the moves that look for more."""

    def __init__(self, given: Floats, latencies: Floats, rule: Rule, at_least: int, alone: NDArray[np.bool_]) -> None:
        self.networks, self.images = given.shape
        # Images that fill up the last logarithms count as certain: every vote gives them one.
        padded = np.ones((self.networks, _FOLD * -(-self.images // _FOLD)), dtype=np.float32)
        padded[:, : self.images] = np.maximum(given, NOTHING)
        self.given = padded.reshape(self.networks, _FOLD, -1)
        self.latencies = latencies
        self.rule: Rule = rule
        self.alone = alone
        # Of networks that may not stand alone, then of one member, two, ... and of `at_least` or more.
        self.fronts = [_Front(self.networks) for _ in range(at_least + 1)]
        self.looked_at = 0

    def few(self) -> None:
        """Look at every network alone, and at all sets of those that may stand alone where they are few."""
        networks = np.flatnonzero(self.alone)
        shares = np.eye(self.networks, dtype=np.int64)
        if len(networks) <= EXHAUSTIVE_NETWORKS:
            sets = every_set(len(networks))
            several = np.zeros((len(sets), self.networks), dtype=np.int64)
            several[:, networks] = sets
            shares = np.concatenate([shares, several])
        self._offer(shares, np.array([self._likelihood(row) for row in shares]))

    def pairs(self) -> None:
        """Look at all pairs."""
        for low in range(self.networks - 1):
            later = np.arange(low + 1, self.networks)
            pairs = np.stack([np.full_like(later, low), later], axis=1)
            self._offer_sets(pairs, self._with_each(self.given[low], 2, low + 1))

    def triples(self) -> None:
        """Look at all triples."""
        for low in range(self.networks - 2):
            later = np.stack(np.triu_indices(self.networks - low - 1, 1), axis=1) + low + 1
            triples = np.concatenate([np.full((len(later), 1), low), later], axis=1)
            middles = range(low + 1, self.networks - 1)
            values = [self._with_each(self.given[low] + self.given[middle], 3, middle + 1) for middle in middles]
            self._offer_sets(triples, np.concatenate(values))

    def climb(self) -> None:
        """Add, take away and move one vote of every ensemble of the front until nothing is likelier."""
        known: set[bytes] = set()
        while todo := [row for front in self.fronts for row in front.shares if _key(row) not in known]:
            for row in todo:
                known.add(_key(row))
                one = np.eye(self.networks, dtype=np.int64)
                fewer = row - one[row > 0] if row.sum() > 1 else one[:0]
                self._offer(fewer, np.array([self._likelihood(less) for less in fewer]))
                for grown in (row, *fewer):
                    if (votes := int(grown.sum())) < MOST_VOTES:
                        self._offer(grown + one, self._with_each(self._sums(grown), votes + 1))

    def _offer(self, shares: Shares, likelihoods: Floats) -> None:
        self.looked_at += len(shares)
        latency = latencies_of(shares > 0, self.latencies, self.rule)
        members = np.count_nonzero(shares, axis=1)
        place = np.minimum(members, len(self.fronts) - 1)
        place[(members == 1) & ~self.alone[shares.argmax(axis=1)]] = 0
        for index in np.unique(place):
            group = place == index
            self.fronts[index].offer(shares[group], latency[group], likelihoods[group])

    def _offer_sets(self, members: Integers, likelihoods: Floats) -> None:
        """Offer sets of equally many members (n, size); votes are written for the few that are better only."""
        each = self.latencies[members]
        latency = each.sum(axis=1) if self.rule == "summed" else each.max(axis=1)
        better = self.fronts[min(members.shape[1], len(self.fronts) - 1)].beaten_by(latency, likelihoods)
        self.looked_at += len(members) - int(better.sum())
        shares = np.zeros((int(better.sum()), self.networks), dtype=np.int64)
        np.put_along_axis(shares, members[better], 1, axis=1)
        self._offer(shares, likelihoods[better])

    def _sums(self, row: NDArray[np.int64]) -> NDArray[np.float32]:
        members = np.flatnonzero(row)
        return np.tensordot(row[members].astype(np.float32), self.given[members], axes=1)

    def _likelihood(self, row: NDArray[np.int64]) -> float:
        return float(self._log_means(self._sums(row)[None], int(row.sum()))[0])

    def _with_each(self, sums: NDArray[np.float32], votes: int, first: int = 0) -> Floats:
        """Likelihoods of votes that with one more, for each network from the `first` on, are so many."""
        step = max(1, _AT_ONCE // sums.size)
        starts = range(first, self.networks, step)
        return np.concatenate([self._log_means(self.given[start : start + step] + sums, votes) for start in starts])

    def _log_means(self, sums: NDArray[np.float32], votes: int) -> Floats:
        """Likelihoods (n,) of the votes whose sums over members (n, _FOLD, images / _FOLD) are given."""
        product = np.prod(sums, axis=1)
        filled = sums[0].size
        return np.log(product).sum(axis=1, dtype=np.float64) / self.images - np.log(votes) * filled / self.images


def _key(row: NDArray[np.int64]) -> bytes:
    return row.tobytes()
