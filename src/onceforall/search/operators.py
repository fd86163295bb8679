"""Variation on arrays of codes: mutation, crossover, neighbours, spread samples, enumeration; always canonical codes.

A code row (see `space.SearchSpace`) is the resolution, then for each stage its depth and for each block slot kernel + 1
and expand + 1, with 0 in the slots a stage does not use, then the elastic widths. Every function here takes and
returns such rows, so equal networks stay equal rows and searches can drop duplicates by comparing bytes.
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..space import SearchSpace

Codes = NDArray[np.int64]
Values = NDArray[np.float64]
CodeFunction = Callable[[Codes], Values]


def _scalar_columns(space: SearchSpace) -> NDArray[np.int64]:
    """Columns that always count: depths and elastic widths."""
    return np.concatenate([space.depth_columns, space.width_columns])


def _block_columns(space: SearchSpace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kernel and expand columns of all block slots; they count where the slot is used."""
    kernel_columns = space.slots[:, 0]
    return kernel_columns, kernel_columns + 1


def mutate_codes(space: SearchSpace, codes: Codes, rng: np.random.Generator, probability: float = 0.1) -> Codes:
    """Redraw genes uniformly: resolution, every depth, width and block (kernel size and expand ratio together).

    Each of them with `probability`; blocks that appear because a stage grew are drawn uniformly.
    Source: the mutation of Once-for-all's evolutionary search (arXiv 1908.09791, section 3.3).
    """
    scalars, blocks = _scalar_columns(space), _block_columns(space)
    children = codes.copy()
    count = len(children)
    redraw = rng.random(count) < probability
    children[redraw, 0] = rng.integers(0, len(space.resolutions), size=int(redraw.sum()))
    redraw = rng.random((count, len(scalars))) < probability
    drawn = rng.integers(0, space.cardinalities[scalars], size=redraw.shape)
    children[:, scalars] = np.where(redraw, drawn, children[:, scalars])
    redraw = rng.random((count, len(space.slots))) < probability
    redraw |= children[:, blocks[0]] == 0
    for columns in blocks:
        drawn = rng.integers(1, space.cardinalities[columns], size=redraw.shape)
        children[:, columns] = np.where(redraw, drawn, children[:, columns])
    return space.canonical(children)


def crossover_codes(space: SearchSpace, first: Codes, second: Codes, rng: np.random.Generator) -> Codes:
    """Choose every gene from one of two parents, (n, D) each; a slot only one parent uses comes from that parent.

    No gene is ever drawn anew: a stage's depth is one of the parents', so each slot in use was used by a parent.
    """
    children = np.where(rng.random(first.shape) < 0.5, first, second)
    for columns in _block_columns(space):
        a, b, child = first[:, columns], second[:, columns], children[:, columns]
        children[:, columns] = np.where(child == 0, np.maximum(a, b), child)
    return space.canonical(children)


def neighbour_codes(space: SearchSpace, code: Codes) -> Codes:
    """Every network one gene away from one row (D,): (n, D) rows. A stage that grows repeats its last block."""
    counts = space.cardinalities
    genes = [(column, 0) for column in (0, *_scalar_columns(space))]
    genes += [(column, 1) for columns in _block_columns(space) for column in columns if code[column] > 0]
    changes = [(c, value) for c, first in genes for value in range(first, counts[c]) if value != code[c]]
    full = code.copy()
    for columns in _block_columns(space):
        for slot, column in enumerate(columns):
            same_stage = slot > 0 and space.slots[slot, 1] == space.slots[slot - 1, 1]
            full[column] = full[column] or (full[columns[slot - 1]] if same_stage else 1)
    rows = np.repeat(full[None], len(changes), axis=0)
    if changes:
        column_of, value_of = np.array(changes, dtype=np.int64).T
        rows[np.arange(len(changes)), column_of] = value_of
    # A tied gene falls back to its leader's value, so some changes change nothing.
    return unique_codes(space.canonical(rows), {np.ascontiguousarray(code).tobytes()})


def spread_codes(space: SearchSpace, count: int, rng: np.random.Generator) -> Codes:
    """Draw rows whose sizes cover the whole range: each row leans to small or to large values by a random amount.

    Uniform samples of a product space crowd around its mean cost; these reach both ends.
    """
    lean = rng.uniform(-4.0, 4.0, size=(count, 1))

    def draw(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Truncated exponential over the ranks 0..counts-1; lean 0 is uniform."""
        u = rng.random((count, len(counts)))
        tilt = np.where(np.abs(lean) < 1e-6, 1e-6, lean)
        position = np.log1p(u * np.expm1(tilt)) / tilt
        return np.minimum((position * counts).astype(np.int64), counts - 1)

    codes = np.zeros((count, len(space.columns)), dtype=np.int64)
    codes[:, :1] = draw(np.array([len(space.resolutions)]))
    scalars = _scalar_columns(space)
    codes[:, scalars] = draw(space.cardinalities[scalars])
    for columns in _block_columns(space):
        codes[:, columns] = draw(space.cardinalities[columns] - 1) + 1
    return space.canonical(codes)


def uniform_family_codes(space: SearchSpace) -> Codes:
    """List the networks that are alike everywhere: one rank of kernel, expand, depth and width, each resolution.

    A choice with fewer values uses its largest for the higher ranks. These are the networks a person would try by hand.
    """
    kernel_columns, expand_columns = _block_columns(space)
    groups = [space.depth_columns, kernel_columns, expand_columns, space.width_columns]
    firsts = [0, 1, 1, 0]
    counts = [space.cardinalities[columns] - first for columns, first in zip(groups, firsts, strict=True)]
    shape = [len(space.resolutions), *(values.max(initial=1) for values in counts)]
    ranks = np.array(list(np.ndindex(*shape)), dtype=np.int64)
    codes = np.zeros((len(ranks), len(space.columns)), dtype=np.int64)
    codes[:, 0] = ranks[:, 0]
    for rank, columns, first, values in zip(ranks.T[1:], groups, firsts, counts, strict=True):
        codes[:, columns] = np.minimum(rank[:, None], values - 1) + first
    return unique_codes(space.canonical(codes))


def enumerate_codes(space: SearchSpace, limit: int = 1_000_000) -> Codes:
    """List every network of a small space. Raises ConfigError when there are more than `limit`."""
    if space.size > limit:
        raise ConfigError(f"space {space.name} has {space.size:.3g} networks; at most {limit} can be listed one by one")
    rows = np.zeros((len(space.resolutions), len(space.columns)), dtype=np.int64)
    rows[:, 0] = np.arange(len(space.resolutions))
    for column in space.width_columns:
        rows = _product(rows, [column], np.arange(int(space.cardinalities[column]))[:, None])
    for stage, column in enumerate(space.depth_columns):
        rows = _product(rows, [column], np.arange(int(space.cardinalities[column]))[:, None])
        choices = space.stages[stage]
        for slot in np.flatnonzero(space.slots[:, 1] == stage):
            follows = choices.alike and space.slots[slot, 2] > 0
            kernels = 1 if follows else len(choices.kernel_sizes)
            ratios = 1 if follows or choices.expand_of_depth else len(choices.expand_ratios)
            used = space.active_slots(rows)[:, slot]
            column = space.slots[slot, 0]
            pairs = np.array(list(np.ndindex(kernels, ratios))) + 1
            rows = np.concatenate([rows[~used], _product(rows[used], [column, column + 1], pairs)])
    return space.canonical(rows)


def _product(rows: Codes, columns: list[int], values: NDArray[np.int64]) -> Codes:
    """Every row with every tuple of values in `columns`."""
    grown = np.repeat(rows, len(values), axis=0)
    grown[:, columns] = np.tile(values, (len(rows), 1))
    return grown


def unique_codes(codes: Codes, seen: Collection[bytes] = frozenset()) -> Codes:
    """Drop repeated rows, keeping the first of each in order, and rows whose bytes are in `seen`."""
    kept: dict[bytes, int] = {}
    for index, row in enumerate(np.ascontiguousarray(codes)):
        key = row.tobytes()
        if key not in seen:
            kept.setdefault(key, index)
    return codes[list(kept.values())]
