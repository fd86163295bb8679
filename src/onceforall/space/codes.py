"""Architectures as rows of integers, whole arrays at a time."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..errors import InvalidArch
from .arch import Arch, Block, whole
from .choices import StageChoices
from .layouts import Layout


class Coded:
    """The part of a search space that turns architectures into codes and back.

    A code is a row of integers (see `columns`): index of the resolution; then for each stage the index of its depth
    followed by `index + 1` of kernel size and expand ratio for each block position, 0 where no block is active; last
    the index of every elastic width. Equal architectures have equal codes and the other way round.
    """

    name: str
    layout: Layout
    stages: tuple[StageChoices, ...]
    resolutions: tuple[int, ...]
    widths: tuple[tuple[float, ...], ...]

    def validate(self, arch: Arch) -> None:
        """Raise InvalidArch unless the architecture is in the space."""
        raise NotImplementedError

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a code, for example `stage2.depth`, `stage2.block1.kernel_size`, `width.stage2`."""
        names = ["resolution"]
        for number, choices in enumerate(self.stages, start=1):
            names.append(f"stage{number}.depth")
            for block in range(1, choices.depths[-1] + 1):
                names += [f"stage{number}.block{block}.kernel_size", f"stage{number}.block{block}.expand_ratio"]
        return (*names, *(f"width.{name}" for name in self.layout.width_names))

    def column_values(self, column: int) -> tuple[float | None, ...]:
        """The values behind the numbers 0, 1, ... of a column; None where a block is not active."""
        if column == 0:
            return self.resolutions
        if self.widths and column >= self.width_columns[0]:
            return self.widths[column - self.width_columns[0]]
        stage = int(np.searchsorted(self.depth_columns, column, side="right")) - 1
        choices, offset = self.stages[stage], column - int(self.depth_columns[stage])
        if offset == 0:
            return choices.depths
        return (None, *(choices.kernel_sizes if offset % 2 else choices.expand_ratios))

    @cached_property
    def cardinalities(self) -> np.ndarray:
        """Number of values of every column; block columns count the inactive value 0 as well. Shape (D,), int64."""
        return np.array([len(self.column_values(column)) for column in range(len(self.columns))], dtype=np.int64)

    @cached_property
    def depth_columns(self) -> np.ndarray:
        """The column of every stage's depth. Shape (G,), int64."""
        lengths = [1 + 2 * choices.depths[-1] for choices in self.stages]
        return 1 + np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.int64)

    @cached_property
    def slots(self) -> np.ndarray:
        """Per block position: kernel column (the expand column follows it), stage, position in it. Shape (S, 3)."""
        rows = []
        for stage, choices in enumerate(self.stages):
            first = self.depth_columns[stage] + 1
            rows += [(first + 2 * position, stage, position) for position in range(choices.depths[-1])]
        return np.array(rows, dtype=np.int64)

    @cached_property
    def width_columns(self) -> np.ndarray:
        """The column of every elastic width: the last ones. Shape (W,), int64."""
        first = 1 + sum(1 + 2 * choices.depths[-1] for choices in self.stages)
        return np.arange(first, first + len(self.widths))

    def active_slots(self, codes: np.ndarray) -> np.ndarray:
        """Which block positions run, from the depth columns alone. (n, D) codes -> (n, S) bool."""
        _, stage, position = self.slots.T
        widest = max(len(choices.depths) for choices in self.stages)
        depth_of = np.array([[*c.depths, *[0] * (widest - len(c.depths))] for c in self.stages])
        return position < depth_of[stage, codes[:, self.depth_columns[stage]]]

    def canonical(self, codes: np.ndarray) -> np.ndarray:
        """A copy of codes with 0 at every inactive block position, and with every tied choice following its leader."""
        codes = codes.copy()
        active = self.active_slots(codes)
        for slot, depth_column, ratio_of_depth in self._compound_slots:
            codes[:, self.slots[slot, 0] + 1] = ratio_of_depth[codes[:, depth_column]]
        for leader, follower in self._alike_columns:
            codes[:, follower] = codes[:, leader]
        kernel_columns = self.slots[:, 0]
        codes[:, kernel_columns] *= active
        codes[:, kernel_columns + 1] *= active
        return codes

    @cached_property
    def _compound_slots(self) -> list[tuple[int, int, np.ndarray]]:
        """Per block position whose ratio follows from the depth: position, depth column, code of the ratio by depth."""
        found = []
        for slot, (_, stage, _) in enumerate(self.slots):
            choices = self.stages[stage]
            if choices.expand_of_depth:
                codes = 1 + _index_of(choices.expand_ratios, np.array(choices.expand_of_depth))
                found.append((slot, int(self.depth_columns[stage]), codes))
        return found

    @cached_property
    def _alike_columns(self) -> list[tuple[int, int]]:
        """Pairs of columns whose second copies the first."""
        return [
            (column - 2 * position + offset, column + offset)
            for column, stage, position in self.slots.tolist()
            for offset in (0, 1)
            if position and self.stages[stage].alike
        ]

    def encode(self, archs: Sequence[Arch]) -> np.ndarray:
        """Codes of architectures, shape (n, D), int64. Raises InvalidArch for the first that is not in the space."""
        codes = np.zeros((len(archs), len(self.columns)), dtype=np.int64)
        if not archs:
            return codes
        try:
            return self._encode(archs, codes)
        except (ValueError, IndexError, KeyError):
            for arch in archs:
                self.validate(arch)
            raise

    def _encode(self, archs: Sequence[Arch], codes: np.ndarray) -> np.ndarray:
        resolution_index = {resolution: index for index, resolution in enumerate(self.resolutions)}
        codes[:, 0] = [resolution_index[arch.resolution] for arch in archs]
        depths = np.array([[len(stage) for stage in arch.stages] for arch in archs])
        if depths.shape[1] != len(self.stages):
            raise ValueError("another number of stages")
        widths = np.array([arch.width_mults for arch in archs])
        if widths.shape[1] != len(self.widths):
            raise ValueError("another number of widths")
        for index, (column, allowed) in enumerate(zip(self.width_columns, self.widths, strict=True)):
            codes[:, column] = _index_of(allowed, widths[:, index])
        for stage, choices in enumerate(self.stages):
            codes[:, self.depth_columns[stage]] = _index_of(choices.depths, depths[:, stage])
        values = np.array([value for arch in archs for stage in arch.stages for block in stage for value in block])
        active = self.active_slots(codes)
        per_slot = np.zeros((*active.shape, 2))
        per_slot[active] = values.reshape(-1, 2)
        for slot, (column, stage, _) in enumerate(self.slots):
            rows = active[:, slot]
            choices = self.stages[stage]
            for offset, allowed in enumerate((choices.kernel_sizes, choices.expand_ratios)):
                codes[rows, column + offset] = 1 + _index_of(allowed, per_slot[rows, slot, offset])
        if (self.canonical(codes) != codes).any():
            raise ValueError("a tied choice that does not follow its leader")
        return codes

    def decode(self, codes: np.ndarray) -> list[Arch]:
        """Architectures of codes, the inverse of `encode`. Raises InvalidArch for rows that are not codes."""
        codes = np.asarray(codes)
        self._check_codes(codes)
        tables = [[Block(k, e) for k in choices.kernel_sizes for e in choices.expand_ratios] for choices in self.stages]
        kernel_columns, stage_of_slot, _ = self.slots.T
        ratios = np.array([len(choices.expand_ratios) for choices in self.stages])[stage_of_slot]
        entries = ((codes[:, kernel_columns] - 1) * ratios + codes[:, kernel_columns + 1] - 1).tolist()
        resolutions = np.array(self.resolutions)[codes[:, 0]].tolist()
        first = 0
        columns: list[list[tuple[Block, ...]]] = []
        for stage, choices in enumerate(self.stages):
            table, start = tables[stage], first
            depths = np.array(choices.depths)[codes[:, self.depth_columns[stage]]].tolist()
            columns.append(
                [tuple([table[i] for i in row[start : start + d]]) for row, d in zip(entries, depths, strict=True)]
            )
            first += choices.depths[-1]
        stages_of = zip(*columns, strict=True)
        if not self.widths:
            return [Arch(r, stages) for r, stages in zip(resolutions, stages_of, strict=True)]
        widths = [np.array(v)[codes[:, c]].tolist() for c, v in zip(self.width_columns, self.widths, strict=True)]
        rows = zip(resolutions, stages_of, zip(*widths, strict=True), strict=True)
        return [Arch(r, stages, tuple(map(whole, chosen))) for r, stages, chosen in rows]

    def _check_codes(self, codes: np.ndarray) -> None:
        if codes.ndim != 2 or codes.shape[1] != len(self.columns) or not np.issubdtype(codes.dtype, np.integer):
            raise InvalidArch(
                f"codes of space {self.name} are integers of shape (n, {len(self.columns)}), "
                f"not {codes.dtype} of shape {codes.shape}"
            )
        outside = (codes < 0) | (codes >= self.cardinalities)
        if not outside.any():
            active = self.active_slots(codes)
            for offset in (0, 1):
                outside[:, self.slots[:, 0] + offset] = (codes[:, self.slots[:, 0] + offset] > 0) != active
            if not outside.any():
                outside = self.canonical(codes) != codes
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise InvalidArch(
                f"code {row}: column {self.columns[column]} holds {codes[row, column]}; allowed are 0 to "
                f"{self.cardinalities[column] - 1}, 0 exactly where the depth leaves the block out, and in a tied "
                "column what its leader says"
            )


def _index_of(allowed: Sequence[float], values: np.ndarray) -> np.ndarray:
    """Index of every value in an ascending list. Raises ValueError when one is not in it."""
    table = np.asarray(allowed, dtype=np.float64)
    index = np.searchsorted(table, values).clip(max=len(table) - 1)
    if (table[index] != values).any():
        raise ValueError("a value that is not allowed")
    return index
