"""Upper bounds on costs: whether they can be met, and what to say when they cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from ..errors import ConfigError, InfeasibleConstraint
from ..space import SearchSpace
from .operators import CodeFunction, Codes, Values, neighbour_codes, spread_codes, unique_codes


@dataclass(frozen=True)
class Constraint:
    """Keep `cost(codes)` at or below `limit`; `name` carries the unit (`latency_ms`, `macs`).

    Raises ConfigError when the limit is not a finite number.
    """

    name: str
    limit: float
    cost: CodeFunction

    def __post_init__(self) -> None:
        if not np.isfinite(self.limit):
            raise ConfigError(f"constraint {self.name}={self.limit} is not a number; give a finite upper limit")


def cost_values(constraint: Constraint, codes: Codes) -> Values:
    """Evaluate one cost on rows (n,). Raises ConfigError when the cost gives no number for some network."""
    return checked_values(constraint.name, constraint.cost, codes)


def checked_values(name: str, function: CodeFunction, codes: Codes) -> Values:
    """Call a vectorised callable and insist on (n,) finite float64 values; the error names it."""
    values = np.asarray(function(codes), dtype=np.float64)
    if values.shape != (len(codes),):
        raise ConfigError(
            f"{name} returned shape {values.shape} for {len(codes)} architectures; expected one value each"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ConfigError(
            f"{name} is {values[bad[0]]} for {len(bad)} of {len(codes)} architectures; "
            "its model does not cover this space or was fitted on missing values"
        )
    return values


def violations(constraints: Sequence[Constraint], codes: Codes) -> Values:
    """Sum over constraints of the relative excess over the limit, (n,); 0 means feasible."""
    total = np.zeros(len(codes))
    for constraint in constraints:
        excess = cost_values(constraint, codes) - constraint.limit
        total += np.maximum(excess, 0.0) / max(abs(constraint.limit), 1e-12)
    return total


def smallest_value(space: SearchSpace, function: CodeFunction, starts: Codes, steps: int = 400) -> tuple[float, Codes]:
    """Descend greedily over one-gene neighbours from the best of `starts`; the value reached and its row (1, D).

    Exact for costs that add up over blocks, and for any cost that a single gene can always lower.
    """
    values = function(starts)
    best = int(np.argmin(values))
    value, row = float(values[best]), starts[best]
    for _ in range(steps):
        around = neighbour_codes(space, row)
        if not len(around):
            break
        values = function(around)
        index = int(np.argmin(values))
        if values[index] >= value:
            break
        value, row = float(values[index]), around[index]
    return value, row[None]


def probe_codes(space: SearchSpace, seed: int = 0, count: int = 512) -> Codes:
    """Give the smallest and the largest network and a sample that covers the sizes between them."""
    ends = space.encode([space.smallest, space.largest])
    return unique_codes(np.concatenate([ends, spread_codes(space, count, np.random.default_rng(seed))]))


def feasible_range(space: SearchSpace, constraint: Constraint, seed: int = 0) -> tuple[float, float]:
    """Find the smallest and the largest value a cost takes in the space (greedy from a spread sample)."""
    starts = probe_codes(space, seed)
    low, _ = smallest_value(space, lambda codes: cost_values(constraint, codes), starts)
    negative, _ = smallest_value(space, lambda codes: -cost_values(constraint, codes), starts)
    return low, -negative


def require_feasible(space: SearchSpace, constraints: Sequence[Constraint], seed: int = 0) -> Codes:
    """Return at least one row that meets every constraint, before anything expensive is started.

    Raises:
        InfeasibleConstraint: no network was found; says each cost's feasible range, or which combination of limits
            contradicts itself and how far one gets under the others.
    """
    starts = probe_codes(space, seed)
    feasible = starts[violations(constraints, starts) <= 0]
    if len(feasible):
        return feasible
    impossible = []
    for constraint in constraints:
        low, high = feasible_range(space, constraint, seed)
        if low > constraint.limit:
            impossible.append(
                f"{constraint.name}={constraint.limit:g} cannot be met: the feasible range in space {space.name} "
                f"is {low:.6g} to {high:.6g}"
            )
    if impossible:
        raise InfeasibleConstraint("; ".join(impossible))
    excess, row = smallest_value(space, lambda codes: violations(constraints, codes), starts)
    if excess <= 0:
        return row
    raise InfeasibleConstraint(_contradiction(space, constraints, starts, row))


def _contradiction(space: SearchSpace, constraints: Sequence[Constraint], starts: Codes, nearest: Codes) -> str:
    """Name the smallest combination of limits that cannot hold together, and the nearest miss."""
    culprits: Sequence[Constraint] = constraints
    for group in (group for size in range(2, len(constraints)) for group in combinations(constraints, size)):
        excess, row = smallest_value(space, partial(violations, group), starts)
        if excess > 0:
            culprits, nearest = group, row
            break
    limits = " and ".join(f"{constraint.name}={constraint.limit:g}" for constraint in culprits)
    reached = ", ".join(f"{constraint.name} {cost_values(constraint, nearest)[0]:.6g}" for constraint in culprits)
    return (
        f"{limits} contradict each other in space {space.name}: each can be met alone, not together; "
        f"the nearest network has {reached}. Relax one of them"
    )
