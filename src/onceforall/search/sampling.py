"""Which networks to evaluate first: ends of every resolution, the all-alike family, a sample even over a cost."""

import numpy as np

from ..space import SearchSpace
from .constraints import checked_values
from .operators import CodeFunction, Codes, Values, enumerate_codes, spread_codes, uniform_family_codes, unique_codes

# Of the sample: where small networks at a large input are best, no random network would say so.
_ENDS_SHARE = 0.5
_FAMILY_SHARE = 0.25  # enough to compare with networks made by hand, not enough to starve the rest
_CANDIDATES = 40  # random rows drawn per row wanted, so that the thin ends of the cost range are not empty


def initial_codes(space: SearchSpace, count: int, cost: CodeFunction, seed: int = 0) -> Codes:
    """Choose `count` distinct networks to evaluate before anything is known: (count, D), fewer in a smaller space.

    The smallest and the largest; then, of the family whose blocks are all alike, the cheapest and the dearest of every
    resolution (up to half of all), and more of it up to a quarter; the rest random, one from each of equally wide
    intervals of log cost. A uniform sample would leave both ends of the cost range empty.
    """
    if space.size <= count:
        return enumerate_codes(space)
    rng = np.random.default_rng(seed)
    chosen = unique_codes(space.encode([space.smallest, space.largest]))[:count]
    family = uniform_family_codes(space)
    family = family[np.argsort(checked_values("the cost", cost, family), kind="stable")]
    ends = np.concatenate([family[family[:, 0] == resolution][[0, -1]] for resolution in np.unique(family[:, 0])])
    ends = _evenly(unique_codes(ends, _keys(chosen)), int(_ENDS_SHARE * count) - len(chosen))
    chosen = np.concatenate([chosen, ends])
    wanted = int(_FAMILY_SHARE * count) - len(ends)
    chosen = np.concatenate([chosen, _evenly(unique_codes(family, _keys(chosen)), wanted + 2)[1:-1]])
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


def _evenly(rows: Codes, count: int) -> Codes:
    """At most `count` of some rows, from the first to the last."""
    steps = np.linspace(0, len(rows) - 1, min(max(count, 0), len(rows)))
    return rows[np.unique(steps.round().astype(int))]


def even_over(rows: Codes, values: Values, count: int) -> Codes:
    """Take at most `count` rows, the first of each of `count` equally wide intervals of the values (n,)."""
    low, high = float(values.min()), float(values.max())
    interval = np.minimum(((values - low) / max(high - low, 1e-12) * count).astype(np.int64), count - 1)
    _, first = np.unique(interval, return_index=True)
    return rows[first]


def _keys(codes: Codes) -> set[bytes]:
    return {row.tobytes() for row in codes}
