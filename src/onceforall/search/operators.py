"""Variation on arrays of codes: mutation, crossover, neighbours, spread samples, enumeration; always canonical codes.

A code row (see `space.SearchSpace`) is the resolution, then for each stage its depth and for each block slot kernel + 1
and expand + 1, with 0 in the slots a stage does not use. Every function here takes and returns such rows, so equal
networks stay equal rows and searches can drop duplicates by comparing bytes.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..space import SearchSpace

Codes = NDArray[np.int64]
Values = NDArray[np.float64]
CodeFunction = Callable[[Codes], Values]


@dataclass(frozen=True, eq=False)
class CodeFormat:
    """Where the genes of a space sit in a code row: index arrays over stages (G) and block slots (S).

    `depth_columns` (G,), `depth_counts` (G,); `kernel_columns`, `expand_columns`, `slot_stage`, `kernel_counts`,
    `expand_counts` (S,); counts are numbers of values to choose from.
    """

    depth_columns: NDArray[np.int64]
    depth_counts: NDArray[np.int64]
    kernel_columns: NDArray[np.int64]
    expand_columns: NDArray[np.int64]
    slot_stage: NDArray[np.int64]
    kernel_counts: NDArray[np.int64]
    expand_counts: NDArray[np.int64]

    @classmethod
    def of(cls, space: SearchSpace) -> "CodeFormat":
        """Read the format from the column names and stages of `space`."""

        def columns(ending: str) -> NDArray[np.int64]:
            return np.array([i for i, name in enumerate(space.columns) if name.endswith(ending)], dtype=np.int64)

        depth, kernel, expand = columns(".depth"), columns(".kernel_size"), columns(".expand_ratio")
        return cls(
            depth_columns=depth,
            depth_counts=space.cardinalities[depth],
            kernel_columns=kernel,
            expand_columns=expand,
            slot_stage=np.searchsorted(depth, kernel) - 1,
            kernel_counts=space.cardinalities[kernel] - 1,
            expand_counts=space.cardinalities[expand] - 1,
        )


def mutate_codes(space: SearchSpace, codes: Codes, rng: np.random.Generator, probability: float = 0.1) -> Codes:
    """Redraw genes uniformly: resolution, every depth and every block (kernel size and expand ratio together).

    Each of them with `probability`; blocks that appear because a stage grew are drawn uniformly.
    Source: the mutation of Once-for-all's evolutionary search (arXiv 1908.09791, section 3.3).
    """
    form = CodeFormat.of(space)
    children = codes.copy()
    count = len(children)
    redraw = rng.random(count) < probability
    children[redraw, 0] = rng.integers(0, len(space.resolutions), size=int(redraw.sum()))
    redraw = rng.random((count, len(form.depth_columns))) < probability
    drawn = rng.integers(0, form.depth_counts, size=redraw.shape)
    children[:, form.depth_columns] = np.where(redraw, drawn, children[:, form.depth_columns])
    redraw = rng.random((count, len(form.slot_stage))) < probability
    redraw |= children[:, form.kernel_columns] == 0
    for columns, counts in ((form.kernel_columns, form.kernel_counts), (form.expand_columns, form.expand_counts)):
        drawn = rng.integers(1, counts + 1, size=redraw.shape)
        children[:, columns] = np.where(redraw, drawn, children[:, columns])
    return space.canonical(children)


def crossover_codes(space: SearchSpace, first: Codes, second: Codes, rng: np.random.Generator) -> Codes:
    """Choose every gene from one of two parents, (n, D) each; a slot only one parent uses comes from that parent.

    No gene is ever drawn anew: a stage's depth is one of the parents', so each slot in use was used by a parent.
    """
    form = CodeFormat.of(space)
    children = np.where(rng.random(first.shape) < 0.5, first, second)
    for columns in (form.kernel_columns, form.expand_columns):
        a, b, child = first[:, columns], second[:, columns], children[:, columns]
        children[:, columns] = np.where(child == 0, np.maximum(a, b), child)
    return space.canonical(children)


def neighbour_codes(space: SearchSpace, code: Codes) -> Codes:
    """Every network one gene away from one row (D,): (n, D) rows. A stage that grows repeats its last block."""
    form = CodeFormat.of(space)
    genes = [(0, 0, len(space.resolutions))]
    genes += [(column, 0, count) for column, count in zip(form.depth_columns, form.depth_counts, strict=True)]
    for columns, counts in ((form.kernel_columns, form.kernel_counts), (form.expand_columns, form.expand_counts)):
        used = code[columns] > 0
        genes += [(column, 1, count + 1) for column, count in zip(columns[used], counts[used], strict=True)]
    changes = [(c, value) for c, first, stop in genes for value in range(first, stop) if value != code[c]]
    if not changes:
        return np.empty((0, len(code)), dtype=np.int64)
    full = code.copy()
    for columns in (form.kernel_columns, form.expand_columns):
        for slot, column in enumerate(columns):
            same_stage = slot > 0 and form.slot_stage[slot] == form.slot_stage[slot - 1]
            full[column] = full[column] or (full[columns[slot - 1]] if same_stage else 1)
    rows = np.repeat(full[None], len(changes), axis=0)
    column_of, value_of = np.array(changes, dtype=np.int64).T
    rows[np.arange(len(changes)), column_of] = value_of
    return space.canonical(rows)


def spread_codes(space: SearchSpace, count: int, rng: np.random.Generator) -> Codes:
    """Draw rows whose sizes cover the whole range: each row leans to small or to large values by a random amount.

    Uniform samples of a product space crowd around its mean cost; these reach both ends.
    """
    form = CodeFormat.of(space)
    lean = rng.uniform(-4.0, 4.0, size=(count, 1))

    def draw(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Truncated exponential over the ranks 0..counts-1; lean 0 is uniform."""
        u = rng.random((count, len(counts)))
        tilt = np.where(np.abs(lean) < 1e-6, 1e-6, lean)
        position = np.log1p(u * np.expm1(tilt)) / tilt
        return np.minimum((position * counts).astype(np.int64), counts - 1)

    codes = np.zeros((count, len(space.columns)), dtype=np.int64)
    codes[:, :1] = draw(np.array([len(space.resolutions)]))
    codes[:, form.depth_columns] = draw(form.depth_counts)
    codes[:, form.kernel_columns] = draw(form.kernel_counts) + 1
    codes[:, form.expand_columns] = draw(form.expand_counts) + 1
    return space.canonical(codes)


def uniform_family_codes(space: SearchSpace) -> Codes:
    """List the networks whose blocks are all alike: one rank of kernel, expand and depth everywhere, each resolution.

    A stage with fewer choices uses its largest for the higher ranks. These are the networks a person would try by hand.
    """
    form = CodeFormat.of(space)
    ranks = [
        (resolution, depth, kernel, expand)
        for resolution in range(len(space.resolutions))
        for depth in range(form.depth_counts.max())
        for kernel in range(form.kernel_counts.max())
        for expand in range(form.expand_counts.max())
    ]
    codes = np.zeros((len(ranks), len(space.columns)), dtype=np.int64)
    rank = np.array(ranks, dtype=np.int64)
    codes[:, 0] = rank[:, 0]
    codes[:, form.depth_columns] = np.minimum(rank[:, 1:2], form.depth_counts - 1)
    codes[:, form.kernel_columns] = np.minimum(rank[:, 2:3], form.kernel_counts - 1) + 1
    codes[:, form.expand_columns] = np.minimum(rank[:, 3:4], form.expand_counts - 1) + 1
    return unique_codes(space.canonical(codes))


def enumerate_codes(space: SearchSpace, limit: int = 1_000_000) -> Codes:
    """List every network of a small space. Raises ConfigError when there are more than `limit`."""
    if space.size > limit:
        raise ConfigError(f"space {space.name} has {space.size:.3g} networks; at most {limit} can be listed one by one")
    form = CodeFormat.of(space)
    rows = np.zeros((len(space.resolutions), len(space.columns)), dtype=np.int64)
    rows[:, 0] = np.arange(len(space.resolutions))
    for stage, (column, count) in enumerate(zip(form.depth_columns, form.depth_counts, strict=True)):
        rows = _product(rows, [column], np.arange(count)[:, None])
        for slot in np.flatnonzero(form.slot_stage == stage):
            used = space.active_slots(rows)[:, slot]
            pairs = np.argwhere(np.ones((form.kernel_counts[slot], form.expand_counts[slot]), dtype=bool)) + 1
            grown = _product(rows[used], [form.kernel_columns[slot], form.expand_columns[slot]], pairs)
            rows = np.concatenate([rows[~used], grown])
    return rows


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
