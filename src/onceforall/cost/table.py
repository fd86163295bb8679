"""A cost that is known part by part: one table per space, whole arrays of codes by gathering from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InvalidArch
from ..space import Arch, SearchSpace

_ROWS = 8192  # gathered at a time: the indices of that many codes stay in the processor's cache


def as_codes(space: SearchSpace, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
    """Codes of architectures; an array is taken to hold codes of the space already. Raises InvalidArch."""
    if not isinstance(archs, np.ndarray):
        return space.encode(archs)
    if archs.ndim != 2 or archs.shape[1] != len(space.columns):
        raise InvalidArch(
            f"codes of space {space.name} have shape (n, {len(space.columns)}), not {archs.shape}; "
            "a restricted space has codes of its own"
        )
    return archs


@dataclass(frozen=True, eq=False)
class BlockTable:
    """Costs of the parts of every network of a space.

    Attributes:
        space: whose codes index the table.
        fixed: cost of stem and head per resolution, shape (R,).
        blocks: cost of every block choice, shape (R, S, K + 1, E + 1) over resolution, block position (all stages in
            a row, as in a code), and the kernel and expand columns of a code; 0 where either is 0 (no block).
    """

    space: SearchSpace
    fixed: np.ndarray
    blocks: np.ndarray

    @classmethod
    def build(
        cls,
        space: SearchSpace,
        fixed_cost: Callable[[int], float],
        block_cost: Callable[[int, int, int, int, float], float],
        dtype: type = np.int64,
    ) -> "BlockTable":
        """Fill a table from `fixed_cost(resolution)` and `block_cost(resolution, stage, position, kernel, expand)`.

        All positions after the first of a stage cost the same, so only positions 0 and 1 are asked for.
        """
        kernels = max(len(choices.kernel_sizes) for choices in space.stages)
        ratios = max(len(choices.expand_ratios) for choices in space.stages)
        slots = sum(choices.depths[-1] for choices in space.stages)
        fixed = np.array([fixed_cost(resolution) for resolution in space.resolutions], dtype=dtype)
        blocks = np.zeros((len(space.resolutions), slots, kernels + 1, ratios + 1), dtype=dtype)
        for row, resolution in enumerate(space.resolutions):
            slot = 0
            for stage, choices in enumerate(space.stages):
                depth = choices.depths[-1]
                for k, kernel_size in enumerate(choices.kernel_sizes, start=1):
                    for e, expand_ratio in enumerate(choices.expand_ratios, start=1):
                        blocks[row, slot, k, e] = block_cost(resolution, stage, 0, kernel_size, expand_ratio)
                        if depth > 1:
                            others = block_cost(resolution, stage, 1, kernel_size, expand_ratio)
                            blocks[row, slot + 1 : slot + depth, k, e] = others
                slot += depth
        return cls(space, fixed, blocks)

    @cached_property
    def _kernel_columns(self) -> np.ndarray:
        columns, column = [], 1
        for choices in self.space.stages:
            columns += range(column + 1, column + 1 + 2 * choices.depths[-1], 2)
            column += 1 + 2 * choices.depths[-1]
        return np.array(columns)

    def _gather(self, codes: np.ndarray) -> np.ndarray:
        """Cost of every block position, shape (S, n)."""
        _, slots, kernels, ratios = self.blocks.shape
        kernel_columns = self._kernel_columns
        rows = np.ascontiguousarray(codes.T)  # a column of all codes at a time: contiguous, and sums run over axis 0
        index = rows[kernel_columns] * ratios
        index += rows[kernel_columns + 1]
        index += np.arange(slots)[:, None] * (kernels * ratios)
        index += rows[0] * (slots * kernels * ratios)
        return self.blocks.reshape(-1).take(index)

    def total(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Sum over the parts of every network: (n,) in the table's type, from n architectures or (n, D) codes."""
        return self._reduce(archs, np.add)

    def largest(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Most expensive part of every network: (n,) in the table's type, from n architectures or (n, D) codes."""
        return self._reduce(archs, np.maximum)

    def _reduce(self, archs: Sequence[Arch] | np.ndarray, combine: np.ufunc) -> np.ndarray:
        codes = as_codes(self.space, archs)
        result = self.fixed[codes[:, 0]]
        for start in range(0, len(codes), _ROWS):
            part = slice(start, start + _ROWS)
            result[part] = combine(result[part], combine.reduce(self._gather(codes[part]), axis=0))
        return result
