"""What a search has to beat at the same number of scored networks: luck, and networks made by hand."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import ConfigError
from ..space import SearchSpace
from .constraints import Constraint, require_feasible, violations
from .front import Front
from .objective import Objective, check_objectives
from .operators import Codes, enumerate_codes, uniform_family_codes, unique_codes
from .running_front import RunningFront

_CHUNK = 2000  # rows scored at once
_BARREN = 50  # chunks without a new feasible network before the space counts as exhausted


def random_search(
    space: SearchSpace,
    objectives: Sequence[Objective],
    evaluations: int,
    seed: int = 0,
    constraints: Sequence[Constraint] = (),
) -> Front:
    """The front of `evaluations` distinct feasible networks drawn uniformly; of all of them in a smaller space.

    Raises:
        InfeasibleConstraint: no network meets the constraints.
        ConfigError: fewer than two objectives, or no evaluation.
    """
    check_objectives(objectives)
    if evaluations < 1:
        raise ConfigError(f"evaluations={evaluations}: at least one network must be scored")
    require_feasible(space, constraints, seed)
    if space.size <= evaluations:
        return RunningFront(space, objectives).score_all(listed(space, constraints)).front()
    return RunningFront(space, objectives).score_all(_drawn(space, evaluations, seed, constraints)).front()


def uniform_search(
    space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
) -> Front:
    """The front of the networks whose blocks are all alike (see `uniform_family_codes`), as one would try by hand."""
    check_objectives(objectives)
    rows = uniform_family_codes(space)
    rows = rows[violations(constraints, rows) <= 0]
    return RunningFront(space, objectives).score_all([rows] if len(rows) else []).front()


def listed(space: SearchSpace, constraints: Sequence[Constraint]) -> Iterator[Codes]:
    """Every feasible network of a small space, in chunks."""
    rows = enumerate_codes(space, space.size)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        feasible = chunk[violations(constraints, chunk) <= 0]
        if len(feasible):
            yield feasible


def _drawn(space: SearchSpace, count: int, seed: int, constraints: Sequence[Constraint]) -> Iterator[Codes]:
    rng = np.random.default_rng(seed)
    seen: set[bytes] = set()
    barren = 0
    while count and barren < _BARREN:
        rows = unique_codes(space.sample_codes(_CHUNK, rng), seen)
        rows = rows[violations(constraints, rows) <= 0][:count] if len(rows) else rows
        seen.update(row.tobytes() for row in rows)
        count -= len(rows)
        barren = 0 if len(rows) else barren + 1
        if len(rows):
            yield rows
