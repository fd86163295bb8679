"""Which networks to evaluate first: corners, the all-alike family, and a sample that is even over a cost."""

import numpy as np

from ..space import SearchSpace
from .constraints import checked_values
from .operators import CodeFunction, Codes, Values, enumerate_codes, spread_codes, uniform_family_codes, unique_codes

_FAMILY_SHARE = 0.25  # of the sample: enough to compare with networks made by hand, not enough to starve the rest
_CANDIDATES = 40  # random rows drawn per row wanted, so that the thin ends of the cost range are not empty


def initial_codes(space: SearchSpace, count: int, cost: CodeFunction, seed: int = 0) -> Codes:
    """Choose `count` distinct networks to evaluate before anything is known: (count, D), fewer in a smaller space.

    The smallest and the largest; up to a quarter from the family whose blocks are all alike; the rest random, one from
    each of equally wide intervals of log cost. A uniform sample would leave both ends of the cost range empty.
    """
    if space.size <= count:
        return enumerate_codes(space)
    rng = np.random.default_rng(seed)
    chosen = unique_codes(space.encode([space.smallest, space.largest]))[:count]
    family = unique_codes(uniform_family_codes(space), _keys(chosen))
    wanted = min(int(_FAMILY_SHARE * count), len(family), count - len(chosen))
    if wanted:
        order = np.argsort(checked_values("the cost", cost, family), kind="stable")
        steps = np.linspace(0, len(family) - 1, wanted + 2)[1:-1]
        chosen = np.concatenate([chosen, family[order[np.unique(steps.round().astype(int))]]])
    while len(chosen) < count:
        wanted = count - len(chosen)
        drawn = [spread_codes(space, _CANDIDATES * wanted, rng), space.sample_codes(_CANDIDATES * wanted, rng)]
        rows = unique_codes(np.concatenate(drawn), _keys(chosen))
        if not len(rows):  # nearly every network of a small space is chosen already
            rows = rng.permutation(unique_codes(enumerate_codes(space), _keys(chosen)))
        chosen = np.concatenate(
            [chosen, even_over(rows, np.log(np.maximum(checked_values("the cost", cost, rows), 1e-12)), wanted)]
        )
    return chosen


def even_over(rows: Codes, values: Values, count: int) -> Codes:
    """Take at most `count` rows, the first of each of `count` equally wide intervals of the values (n,)."""
    low, high = float(values.min()), float(values.max())
    interval = np.minimum(((values - low) / max(high - low, 1e-12) * count).astype(np.int64), count - 1)
    _, first = np.unique(interval, return_index=True)
    return rows[first]


def _keys(codes: Codes) -> set[bytes]:
    return {row.tobytes() for row in codes}
