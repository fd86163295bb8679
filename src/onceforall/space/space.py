"""The search space: everything that can be chosen, as a value that samples, mutates, encodes and validates."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ConfigError, InvalidArch
from .arch import Arch, Block, whole
from .layouts import Layout, layout_from_dict


@dataclass(frozen=True)
class StageChoices:
    """The allowed values of one stage, each ascending: per block a kernel size and an expand ratio; one depth.

    Attributes:
        expand_of_depth: the one expand ratio that goes with each of `depths`, for all blocks of the stage (CompOFA,
            Sahni et al., ICLR 2021); empty where blocks choose for themselves.
        alike: all blocks of the stage have the kernel size and expand ratio of the first.
    """

    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    depths: tuple[int, ...]
    expand_of_depth: tuple[float, ...] = ()
    alike: bool = False

    @property
    def size(self) -> int:
        """Number of different stages."""
        choices = len(self.kernel_sizes) * (1 if self.expand_of_depth else len(self.expand_ratios))
        return sum(choices ** min(depth, 1) if self.alike else choices**depth for depth in self.depths)

    def blocks(self, index: int) -> tuple[Block, ...]:
        """The stage with the value at `index` (0 or -1) of every choice."""
        ratio = self.expand_of_depth[index] if self.expand_of_depth else self.expand_ratios[index]
        return (Block(self.kernel_sizes[index], ratio),) * self.depths[index]


@dataclass(frozen=True)
class SearchSpace:
    """All architectures of one supernet.

    Attributes:
        name: the family, as `create_supernet` takes it.
        layout: what is fixed (widths, strides, ...).
        stages: what can be chosen, per stage.
        resolutions: allowed input sizes in pixels, ascending.
        widths: allowed multipliers, ascending, of each width that the layout names elastic; empty where it has none.

    A code is a row of integers (see `columns`): index of the resolution; then for each stage the index of its depth
    followed by `index + 1` of kernel size and expand ratio for each block position, 0 where no block is active; last
    the index of every elastic width. Equal architectures have equal codes and the other way round.
    """

    name: str
    layout: Layout
    stages: tuple[StageChoices, ...]
    resolutions: tuple[int, ...]
    widths: tuple[tuple[float, ...], ...] = ()

    # ---- size and corners -------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Exact number of architectures over all resolutions."""
        return self.size_per_resolution * len(self.resolutions)

    @property
    def size_per_resolution(self) -> int:
        """Exact number of different networks."""
        return math.prod([stage.size for stage in self.stages] + [len(allowed) for allowed in self.widths])

    @property
    def largest(self) -> Arch:
        """The architecture with the last value of every choice."""
        return self._corner(-1)

    @property
    def smallest(self) -> Arch:
        """The architecture with the first value of every choice."""
        return self._corner(0)

    def _corner(self, index: int) -> Arch:
        stages = tuple(choices.blocks(index) for choices in self.stages)
        return Arch(self.resolutions[index], stages, tuple(allowed[index] for allowed in self.widths))

    def uniform(
        self,
        kernel_size: int | None = None,
        expand_ratio: float | None = None,
        depth: int | None = None,
        resolution: int | None = None,
        width_mult: float | None = None,
    ) -> Arch:
        """The architecture whose blocks are all alike; None means the largest value. Raises InvalidArch.

        A stage that has a single value keeps it, and one whose depth implies the expand ratio takes that.
        """
        stages = []
        for choices in self.stages:
            chosen = self._uniform_value("depths", depth, choices)
            ratio = self._uniform_value("expand_ratios", expand_ratio, choices)
            if choices.expand_of_depth and expand_ratio is None and chosen in choices.depths:
                ratio = choices.expand_of_depth[choices.depths.index(int(chosen))]
            kernel = self._uniform_value("kernel_sizes", kernel_size, choices)
            stages.append((Block(int(kernel), whole(ratio)),) * int(chosen))
        widths = tuple(whole(width_mult or allowed[-1]) for allowed in self.widths)
        arch = Arch(resolution or self.resolutions[-1], tuple(stages), widths)
        self.validate(arch)
        return arch

    def _uniform_value(self, what: str, value: float | None, choices: StageChoices) -> float:
        allowed = getattr(choices, what)
        if value is None or (len(allowed) == 1 and any(value in getattr(other, what) for other in self.stages)):
            return allowed[-1]
        return value

    # ---- codes ------------------------------------------------------------------------------------------------------

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

    # ---- drawing ----------------------------------------------------------------------------------------------------

    def sample_codes(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Codes of n architectures, every choice drawn uniformly and independently. Shape (n, D)."""
        lowest = np.zeros(len(self.columns), dtype=np.int64)
        lowest[self.slots[:, 0]] = lowest[self.slots[:, 0] + 1] = 1
        return self.canonical(rng.integers(lowest, self.cardinalities, size=(n, len(self.columns))))

    def sample_many(self, n: int, rng: np.random.Generator) -> list[Arch]:
        """n independent samples (repeats are possible in small spaces)."""
        return self.decode(self.sample_codes(n, rng))

    def sample(self, rng: np.random.Generator) -> Arch:
        """One architecture, every choice drawn uniformly and independently."""
        return self.sample_many(1, rng)[0]

    def mutate(self, arch: Arch, rng: np.random.Generator, p: float = 0.1) -> Arch:
        """Draw every choice anew with probability p; blocks that a greater depth adds are drawn."""
        code, fresh = self.encode([arch])[0], self.sample_codes(1, rng)[0]
        return self._mix(code, fresh, rng.random(len(code)) < p, rng)

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator) -> Arch:
        """Take every choice from a or b with equal chance; a block only one parent has comes from that one."""
        code_a, code_b = self.encode([a, b])
        return self._mix(code_a, code_b, rng.random(len(code_a)) < 0.5, rng)

    def _mix(self, code: np.ndarray, other: np.ndarray, take_other: np.ndarray, rng: np.random.Generator) -> Arch:
        mixed = np.where(take_other, other, code)
        missing = self.active_slots(mixed[None])[0]
        for offset in (0, 1):
            columns = self.slots[:, 0] + offset
            for source in (code, other):
                mixed[columns] = np.where(mixed[columns] == 0, source[columns], mixed[columns])
            drawn = rng.integers(1, self.cardinalities[columns])
            mixed[columns] = np.where(missing & (mixed[columns] == 0), drawn, mixed[columns])
        return self.decode(self.canonical(mixed[None]))[0]

    # ---- checks and variants ----------------------------------------------------------------------------------------

    def validate(self, arch: Arch, any_resolution: bool = False) -> None:
        """Raise InvalidArch, naming stage, block, value and the allowed values, unless `arch` is in the space.

        With `any_resolution` only the network is checked: weights do not depend on the size of the image.
        """
        if arch.resolution not in self.resolutions and not any_resolution:
            raise InvalidArch(
                f"resolution {arch.resolution} is not in space {self.name}; allowed: {_listed(self.resolutions)}"
            )
        self._validate_widths(arch)
        if len(arch.stages) != len(self.stages):
            raise InvalidArch(
                f"space {self.name} has {len(self.stages)} stages, the architecture has {len(arch.stages)}"
            )
        for number, (blocks, choices) in enumerate(zip(arch.stages, self.stages, strict=True), start=1):
            if len(blocks) not in choices.depths:
                raise InvalidArch(
                    f"stage {number} has depth {len(blocks)}; allowed in space {self.name}: {_listed(choices.depths)}"
                )
            for position, block in enumerate(blocks, start=1):
                for what, value, allowed in (
                    ("kernel size", block.kernel_size, choices.kernel_sizes),
                    ("expand ratio", block.expand_ratio, choices.expand_ratios),
                ):
                    if value not in allowed:
                        raise InvalidArch(
                            f"stage {number}, block {position} has {what} {value}; "
                            f"allowed in space {self.name}: {_listed(allowed)}"
                        )

                if choices.expand_of_depth:
                    implied = choices.expand_of_depth[choices.depths.index(len(blocks))]
                    if block.expand_ratio != implied:
                        raise InvalidArch(
                            f"stage {number}, block {position} has expand ratio {block.expand_ratio}; in the compound "
                            f"space {self.name} depth {len(blocks)} implies {implied:g}"
                        )
                if choices.alike and block != blocks[0]:
                    raise InvalidArch(
                        f"stage {number}, block {position} differs from block 1; in space {self.name} all blocks of a "
                        "stage are alike"
                    )

    def _validate_widths(self, arch: Arch) -> None:
        if not self.widths and arch.width_mults:
            raise InvalidArch(f"space {self.name} has fixed stage widths; leave width_mults out")
        if len(arch.width_mults) != len(self.widths):
            raise InvalidArch(
                f"space {self.name} needs {len(self.widths)} width multipliers "
                f"({', '.join(self.layout.width_names)}), the architecture has {len(arch.width_mults)}"
            )
        for name, value, allowed in zip(self.layout.width_names, arch.width_mults, self.widths, strict=True):
            if value not in allowed:
                raise InvalidArch(
                    f"width multiplier {value} of {name} is not allowed in space {self.name}: {_listed(allowed)}"
                )

    def __contains__(self, arch: Arch) -> bool:
        try:
            self.validate(arch)
        except InvalidArch:
            return False
        return True

    def restrict(
        self,
        kernel_sizes: Iterable[int] | None = None,
        expand_ratios: Iterable[float] | None = None,
        depths: Iterable[int] | None = None,
        resolutions: Iterable[int] | None = None,
        width_mults: Iterable[float] | None = None,
    ) -> "SearchSpace":
        """The sub-space with only these values (None: all). A stage that has a single value keeps it.

        Raises:
            ConfigError: a value that no stage has, nothing left to choose, or expand ratios where depths imply them.
        """
        if expand_ratios is not None and any(choices.expand_of_depth for choices in self.stages):
            raise ConfigError(f"in the compound space {self.name} depths imply the expand ratios; restrict depths")
        wanted = {"kernel_sizes": kernel_sizes, "expand_ratios": expand_ratios, "depths": depths}
        stages = self.stages
        for what, values in wanted.items():
            if values is None:
                continue
            keep = {whole(value) for value in values}
            known = {value for choices in self.stages for value in getattr(choices, what)}
            _check_subset(what, keep, known, self.name)
            stages = tuple(_restricted(c, what, keep) for c in stages)
        widths = self.widths
        if width_mults is not None:
            keep = {whole(value) for value in width_mults}
            _check_subset("width_mults", keep, {value for allowed in widths for value in allowed}, self.name)
            widths = tuple(_kept("width_mults", allowed, keep) for allowed in widths)
        kept_resolutions = self.resolutions
        if resolutions is not None:
            keep = set(resolutions)
            _check_subset("resolutions", keep, set(self.resolutions), self.name)
            kept_resolutions = tuple(r for r in self.resolutions if r in keep)
        return replace(self, stages=stages, resolutions=kept_resolutions, widths=widths)

    def to_dict(self) -> dict[str, Any]:
        """A description from which `from_dict` rebuilds an equal space."""
        stages = [{name: value for name, value in asdict(choices).items() if value} for choices in self.stages]
        described = {"name": self.name, "resolutions": list(self.resolutions), "stages": stages}
        if self.widths:
            described["widths"] = [list(allowed) for allowed in self.widths]
        # Tuples become lists, so that a space and its description read back from a file describe themselves alike.
        return json.loads(json.dumps({**described, "layout": self.layout.to_dict()}))

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> "SearchSpace":
        """The inverse of `to_dict`. Raises ConfigError when the description is incomplete."""
        try:
            stages = tuple(
                StageChoices(
                    tuple(stage["kernel_sizes"]),
                    tuple(map(whole, stage["expand_ratios"])),
                    tuple(stage["depths"]),
                    tuple(map(whole, stage.get("expand_of_depth", ()))),
                    stage.get("alike", False),
                )
                for stage in described["stages"]
            )
            layout = layout_from_dict(described["layout"])
            widths = tuple(tuple(map(whole, allowed)) for allowed in described.get("widths", ()))
            return cls(described["name"], layout, stages, tuple(described["resolutions"]), widths)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"not the description of a search space: {error!r}") from error


def _index_of(allowed: Sequence[float], values: np.ndarray) -> np.ndarray:
    """Index of every value in an ascending list. Raises ValueError when one is not in it."""
    table = np.asarray(allowed, dtype=np.float64)
    index = np.searchsorted(table, values).clip(max=len(table) - 1)
    if (table[index] != values).any():
        raise ValueError("a value that is not allowed")
    return index


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _check_subset(what: str, keep: set[Any], known: set[Any], space: str) -> None:
    if not keep:
        raise ConfigError(f"{what} is empty; name at least one of {_listed(sorted(known))}")
    if foreign := sorted(keep - known):
        raise ConfigError(f"{what}: {_listed(foreign)} not in space {space}; its values are {_listed(sorted(known))}")


def _restricted(choices: StageChoices, what: str, keep: set[Any]) -> StageChoices:
    kept = _kept(what, getattr(choices, what), keep)
    if what == "depths" and choices.expand_of_depth:
        ratios = dict(zip(choices.depths, choices.expand_of_depth, strict=True))
        choices = replace(choices, expand_of_depth=tuple(ratios[depth] for depth in kept))
    return replace(choices, **{what: kept})


def _kept(what: str, values: tuple[Any, ...], keep: set[Any]) -> tuple[Any, ...]:
    if len(values) == 1:
        return values
    kept = tuple(value for value in values if value in keep)
    if not kept:
        raise ConfigError(f"{what} {_listed(sorted(keep))} leave a stage nothing; it has {_listed(values)}")
    return kept
