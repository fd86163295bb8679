"""The default search: evolution in niches along the front, with children screened before they are scored."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..space import SearchSpace
from .breeding import Breeder, Rows
from .constraints import Constraint, violations
from .niches import best_of_each, nearest, shortfall, spread_out
from .objective import Objective
from .operators import Codes, Values, spread_codes, uniform_family_codes
from .running_front import RunningFront
from .screening import LinearScreen

_BATCHES = 200  # batches that a budget is scored in, unless they would become larger than
_LARGEST_BATCH = 2000
_NICHES = 40
_SIBLINGS = 8  # children bred for every one that is scored
_NEAR = 3  # niches a mate may come from: the parent's own and the next ones
_STRAY = 0.2  # chance of the mate being from the next niche instead, and of the one after that, ...
_TOLERANCE = 0.1, 0.005  # shortfall that a member may have at the beginning and at the end, of the front's extent
_RESOLVED = 200  # members of a front of more than two objectives that others are compared with
_ATTEMPTS = 10  # rounds of ever bolder breeding without a new feasible network before a space counts as exhausted


class NicheSearch:
    """A search of `budget` networks for the front of one or more objectives under constraints.

    The front found so far is divided into niches around members that are spread evenly over it. Parents are the members
    with the least shortfall of every niche, so that sparse ends of the front get as many children as its crowded
    middle; mates come from the same or a near niche. Every child has seven siblings: cheap objectives and constraints
    are computed for all, the others guessed by a linear model, and only the one that promises most is scored. With one
    objective there is one niche.

    No network is scored twice, no infeasible one at all. The same arguments give the same result.

    Attributes:
        found: the front so far.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        budget: int,
        batch: int,
        seed: int,
    ) -> None:
        self.space = space
        self.objectives = objectives
        self.constraints = constraints
        self.budget = budget
        self.batch = max(1, min(max(batch, budget // _BATCHES), _LARGEST_BATCH, budget))
        self.rng = np.random.default_rng(seed)
        self.breeder = Breeder(space)
        self.found = RunningFront(space, objectives)
        members = (budget / 1600) ** 0.5  # of a niche: larger populations converge later and better
        self.members = int(np.clip(round(members), 2, 60) if len(objectives) > 1 else np.clip(budget // 200, 10, 200))
        self._keys = np.random.default_rng(0).integers(0, 2**64, len(space.columns), dtype=np.uint64)
        self._seen: set[int] = set()
        self._guessed = [index for index, objective in enumerate(objectives) if not objective.cheap]
        self.screen = LinearScreen(space, len(self._guessed))

    def run(self, given: Codes | None, feasible: Codes) -> Iterator[tuple[Codes, Values]]:
        """Score a first population and then children until the budget is spent or nothing new is found.

        The first population: the rows `given`, networks whose blocks are all alike (hard to beat with few evaluations),
        samples, and, where those rarely fit, walks from rows known to be `feasible`. Yields the rows of every batch and
        their minimised values, (n, D) and (n, objectives).
        """
        rows = self._first(min(2 * self.batch, self.budget), given, feasible)
        population: tuple[Any, Values] = rows[:0].astype(np.uint8), self.found.values
        while len(rows):
            values = self.found.score(rows)
            yield rows, values
            if self.found.evaluations >= self.budget:
                break
            if self._guessed:
                self.screen.learn(rows, values[:, self._guessed])
            compact = rows.astype(np.uint8)  # no column has more than 256 values; small rows are bred faster
            population = np.concatenate([population[0], compact]), np.concatenate([population[1], values])
            rows, population = self._breed(*population)

    def _first(self, count: int, given: Codes | None, feasible: Codes) -> Codes:
        found = self._fresh(feasible[:0] if given is None else np.asarray(given, dtype=np.int64), count)
        family = self.rng.permutation(uniform_family_codes(self.space))
        found = np.concatenate([found, self._fresh(family, count - len(found))])
        for _ in range(_ATTEMPTS):
            half = (count - len(found) + 1) // 2
            drawn = [spread_codes(self.space, half, self.rng), self.space.sample_codes(half, self.rng)]
            found = np.concatenate([found, self._fresh(np.concatenate(drawn), count - len(found))])
        found = np.concatenate([found, self._fresh(feasible, count - len(found))])
        for attempt in range(_ATTEMPTS):
            parents = found[self.rng.integers(0, len(found), (2, 4 * (count - len(found))))]
            children = self.breeder.children(*parents, self.rng, 1 + attempt // 3)
            found = np.concatenate([found, self._fresh(children, count - len(found))])
        return found

    def _fresh(self, codes: Codes, count: int) -> Codes:
        """The first `count` feasible rows that were never handed out before; they count as handed out from now on."""
        hashed = self._hashed(codes)
        first = np.zeros(len(codes), dtype=bool)
        first[np.unique(hashed, return_index=True)[1]] = True
        first[first] = self._new_and_feasible(codes[first], hashed[first])
        chosen = np.flatnonzero(first)[:count]
        self._seen.update(hashed[chosen].tolist())
        return codes[chosen]

    def _hashed(self, codes: Rows) -> np.ndarray:
        """64 bits per row. Two networks that shared them, once in many lifetimes, would cost one of them its chance."""
        return (codes.astype(np.uint64) * self._keys).sum(axis=1, dtype=np.uint64)

    def _new_and_feasible(self, codes: Codes, hashed: np.ndarray) -> np.ndarray:
        seen = self._seen
        new = np.array([key not in seen for key in hashed.tolist()], dtype=bool)
        if self.constraints and new.any():
            new[new] = violations(self.constraints, codes[new]) <= 0
        return new

    def _breed(self, codes: Rows, values: Values) -> tuple[Codes, tuple[Rows, Values]]:
        """The next rows to score, and the population that they come from."""
        low = self.found.values.min(axis=0)
        extent = self.found.values.max(axis=0) - low
        extent = np.where(extent > 0, extent, np.ptp(values, axis=0))
        extent = np.where(extent > 0, extent, 1.0)
        front = (self.found.values - low) / extent
        spread = spread_out(front, _NICHES if front.shape[1] == 2 else _RESOLVED)
        centres, resolved = front[spread[:_NICHES]], front if front.shape[1] == 2 else front[spread]
        points = (values - low) / extent
        niche, short = nearest(points, centres), shortfall(points, resolved)
        kept = best_of_each(niche, short, self.members)
        if len(self.objectives) > 1:
            loose, tight = _TOLERANCE
            kept = kept[short[kept] <= loose * (tight / loose) ** (self.found.evaluations / self.budget)]
        codes, values, niche = codes[kept], values[kept], niche[kept]
        for attempt in range(_ATTEMPTS):
            children = self._children(codes, niche, centres, 1 + attempt)
            rows = self._promising(children, low, extent, resolved)
            if len(rows):
                return rows[: self.budget - self.found.evaluations], (codes, values)
        return np.empty((0, codes.shape[1]), dtype=np.int64), (codes, values)

    def _children(self, codes: Rows, niche: np.ndarray, centres: Values, genes: int) -> Rows:
        """Siblings of parents drawn niche by niche, (batch * siblings, D); siblings are neighbours."""
        size = np.bincount(niche, minlength=len(centres))
        occupied = np.flatnonzero(size)
        begin = np.cumsum(size) - size
        home = np.repeat(self.rng.choice(occupied, self.batch), _SIBLINGS)
        draw = np.repeat(self.rng.random(self.batch), _SIBLINGS)
        first = begin[home] + (draw * size[home]).astype(np.int64)
        distance = ((centres[:, None] - centres[occupied]) ** 2).sum(axis=2)
        near = occupied[np.argsort(distance, axis=1, kind="stable")[:, :_NEAR]]
        steps = np.minimum(self.rng.geometric(1 - _STRAY, len(home)) - 1, near.shape[1] - 1)
        away = near[home, steps]
        second = begin[away] + (self.rng.random(len(away)) * size[away]).astype(np.int64)
        return self.breeder.children(codes[first], codes[second], self.rng, genes)

    def _promising(self, children: Rows, low: Values, extent: Values, front: Values) -> Codes:
        """Of every eight siblings the new feasible one with the least expected shortfall; distinct rows."""
        hashed = self._hashed(children)
        able = np.flatnonzero(self._new_and_feasible(children.astype(np.int64), hashed))
        if not len(able):
            return np.empty((0, children.shape[1]), dtype=np.int64)
        rows = children[able].astype(np.int64)
        expected = np.empty((len(rows), len(self.objectives)))
        if self._guessed:
            expected[:, self._guessed] = self.screen.guess(rows)
        for index, objective in enumerate(self.objectives):
            if objective.cheap:
                expected[:, index] = objective.minimised(rows)
        short = np.full(len(children), np.inf)
        short[able] = shortfall((expected - low) / extent, front)
        short = short.reshape(-1, _SIBLINGS)
        best = short.argmin(axis=1) + np.arange(len(short)) * _SIBLINGS
        best = best[np.isfinite(short.min(axis=1))]
        best = best[np.sort(np.unique(hashed[best], return_index=True)[1])]
        self._seen.update(hashed[best].tolist())
        return children[best].astype(np.int64)
