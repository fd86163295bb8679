"""The search space: everything that can be chosen, as a value that samples, mutates, encodes and validates."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ConfigError, InvalidArch
from .arch import Arch, Block, whole
from .layouts import Layout, layout_from_dict


@dataclass(frozen=True)
class StageChoices:
    """The allowed values of one stage, each ascending: per block a kernel size and an expand ratio; one depth."""

    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    depths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of different stages."""
        return sum((len(self.kernel_sizes) * len(self.expand_ratios)) ** depth for depth in self.depths)


@dataclass(frozen=True)
class SearchSpace:
    """All architectures of one supernet.

    Attributes:
        name: the family, as `create_supernet` takes it.
        layout: what is fixed (widths, strides, ...).
        stages: what can be chosen, per stage.
        resolutions: allowed input sizes in pixels, ascending.

    A code is a row of integers (see `columns`): index of the resolution; then for each stage the index of its depth
    followed by `index + 1` of kernel size and expand ratio for each block position, 0 where no block is active. Equal
    networks have equal codes and the other way round.
    """

    name: str
    layout: Layout
    stages: tuple[StageChoices, ...]
    resolutions: tuple[int, ...]

    # ---- size and corners -------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Exact number of architectures over all resolutions."""
        return self.size_per_resolution * len(self.resolutions)

    @property
    def size_per_resolution(self) -> int:
        """Exact number of different networks."""
        return math.prod(stage.size for stage in self.stages)

    @property
    def largest(self) -> Arch:
        """The architecture with the last value of every choice."""
        return self._corner(-1)

    @property
    def smallest(self) -> Arch:
        """The architecture with the first value of every choice."""
        return self._corner(0)

    def _corner(self, index: int) -> Arch:
        stages = tuple(
            (Block(choices.kernel_sizes[index], choices.expand_ratios[index]),) * choices.depths[index]
            for choices in self.stages
        )
        return Arch(self.resolutions[index], stages)

    def uniform(
        self,
        kernel_size: int | None = None,
        expand_ratio: float | None = None,
        depth: int | None = None,
        resolution: int | None = None,
    ) -> Arch:
        """The architecture whose blocks are all alike; None means the largest value. Raises InvalidArch."""
        stages = tuple(
            (Block(kernel_size or choices.kernel_sizes[-1], whole(expand_ratio or choices.expand_ratios[-1])),)
            * (depth or choices.depths[-1])
            for choices in self.stages
        )
        arch = Arch(resolution or self.resolutions[-1], stages)
        self.validate(arch)
        return arch

    # ---- codes ------------------------------------------------------------------------------------------------------

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a code, for example `stage2.depth`, `stage2.block1.kernel_size`."""
        names = ["resolution"]
        for number, choices in enumerate(self.stages, start=1):
            names.append(f"stage{number}.depth")
            for block in range(1, choices.depths[-1] + 1):
                names += [f"stage{number}.block{block}.kernel_size", f"stage{number}.block{block}.expand_ratio"]
        return tuple(names)

    @cached_property
    def cardinalities(self) -> np.ndarray:
        """Number of values of every column; block columns count the inactive value 0 as well. Shape (D,), int64."""
        counts = [len(self.resolutions)]
        for choices in self.stages:
            pair = [len(choices.kernel_sizes) + 1, len(choices.expand_ratios) + 1]
            counts += [len(choices.depths), *(pair * choices.depths[-1])]
        return np.array(counts, dtype=np.int64)

    @cached_property
    def _depth_columns(self) -> np.ndarray:
        return np.array([i for i, name in enumerate(self.columns) if name.endswith(".depth")])

    @cached_property
    def _slots(self) -> np.ndarray:
        """Per block position: kernel column, stage, position in the stage, all counted from 0. Shape (S, 3)."""
        rows = []
        for stage, choices in enumerate(self.stages):
            first = self._depth_columns[stage] + 1
            rows += [(first + 2 * position, stage, position) for position in range(choices.depths[-1])]
        return np.array(rows, dtype=np.int64)

    def active_slots(self, codes: np.ndarray) -> np.ndarray:
        """Which block positions run, from the depth columns alone. (n, D) codes -> (n, S) bool."""
        _, stage, position = self._slots.T
        widest = max(len(choices.depths) for choices in self.stages)
        depth_of = np.array([[*c.depths, *[0] * (widest - len(c.depths))] for c in self.stages])
        return position < depth_of[stage, codes[:, self._depth_columns[stage]]]

    def canonical(self, codes: np.ndarray) -> np.ndarray:
        """A copy of codes with every inactive block position set to 0."""
        codes = codes.copy()
        inactive = ~self.active_slots(codes)
        kernel_columns = self._slots[:, 0]
        for offset in (0, 1):
            codes[:, kernel_columns + offset] = np.where(inactive, 0, codes[:, kernel_columns + offset])
        return codes

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
        if depths.shape[1] != len(self.stages) or any(arch.width_mults for arch in archs):
            raise ValueError("another number of stages")
        for stage, choices in enumerate(self.stages):
            codes[:, self._depth_columns[stage]] = _index_of(choices.depths, depths[:, stage])
        values = np.array([value for arch in archs for stage in arch.stages for block in stage for value in block])
        active = self.active_slots(codes)
        per_slot = np.zeros((*active.shape, 2))
        per_slot[active] = values.reshape(-1, 2)
        for slot, (column, stage, _) in enumerate(self._slots):
            rows = active[:, slot]
            choices = self.stages[stage]
            for offset, allowed in enumerate((choices.kernel_sizes, choices.expand_ratios)):
                codes[rows, column + offset] = 1 + _index_of(allowed, per_slot[rows, slot, offset])
        return codes

    def decode(self, codes: np.ndarray) -> list[Arch]:
        """Architectures of codes, the inverse of `encode`. Raises InvalidArch for rows that are not codes."""
        codes = np.asarray(codes)
        self._check_codes(codes)
        tables = [[Block(k, e) for k in choices.kernel_sizes for e in choices.expand_ratios] for choices in self.stages]
        kernel_columns, stage_of_slot, _ = self._slots.T
        ratios = np.array([len(choices.expand_ratios) for choices in self.stages])[stage_of_slot]
        entries = ((codes[:, kernel_columns] - 1) * ratios + codes[:, kernel_columns + 1] - 1).tolist()
        resolutions = np.array(self.resolutions)[codes[:, 0]].tolist()
        first = 0
        columns: list[list[tuple[Block, ...]]] = []
        for stage, choices in enumerate(self.stages):
            table, start = tables[stage], first
            depths = np.array(choices.depths)[codes[:, self._depth_columns[stage]]].tolist()
            columns.append(
                [tuple([table[i] for i in row[start : start + d]]) for row, d in zip(entries, depths, strict=True)]
            )
            first += choices.depths[-1]
        return [Arch(r, stages) for r, stages in zip(resolutions, zip(*columns, strict=True), strict=True)]

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
                outside[:, self._slots[:, 0] + offset] = (codes[:, self._slots[:, 0] + offset] > 0) != active
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise InvalidArch(
                f"code {row}: column {self.columns[column]} holds {codes[row, column]}; allowed are 0 to "
                f"{self.cardinalities[column] - 1}, and 0 exactly where the depth leaves the block out"
            )

    # ---- drawing ----------------------------------------------------------------------------------------------------

    def sample_codes(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Codes of n architectures, every choice drawn uniformly and independently. Shape (n, D)."""
        lowest = np.zeros(len(self.columns), dtype=np.int64)
        lowest[self._slots[:, 0]] = lowest[self._slots[:, 0] + 1] = 1
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
            columns = self._slots[:, 0] + offset
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
        if arch.width_mults:
            raise InvalidArch(f"space {self.name} has fixed stage widths; leave width_mults out")
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
    ) -> "SearchSpace":
        """The sub-space with only these values (None: all). A stage that has a single value keeps it.

        Raises:
            ConfigError: a value that no stage has, or nothing left to choose.
        """
        wanted = {"kernel_sizes": kernel_sizes, "expand_ratios": expand_ratios, "depths": depths}
        stages = self.stages
        for what, values in wanted.items():
            if values is None:
                continue
            keep = {whole(value) for value in values}
            known = {value for choices in self.stages for value in getattr(choices, what)}
            _check_subset(what, keep, known, self.name)
            stages = tuple(replace(c, **{what: _kept(what, getattr(c, what), keep)}) for c in stages)
        kept_resolutions = self.resolutions
        if resolutions is not None:
            keep = set(resolutions)
            _check_subset("resolutions", keep, set(self.resolutions), self.name)
            kept_resolutions = tuple(r for r in self.resolutions if r in keep)
        return replace(self, stages=stages, resolutions=kept_resolutions)

    def to_dict(self) -> dict[str, Any]:
        """A description from which `from_dict` rebuilds an equal space."""
        stages = [
            {"kernel_sizes": list(c.kernel_sizes), "expand_ratios": list(c.expand_ratios), "depths": list(c.depths)}
            for c in self.stages
        ]
        layout = self.layout.to_dict()
        return {"name": self.name, "resolutions": list(self.resolutions), "stages": stages, "layout": layout}

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> "SearchSpace":
        """The inverse of `to_dict`. Raises ConfigError when the description is incomplete."""
        try:
            stages = tuple(
                StageChoices(
                    tuple(stage["kernel_sizes"]),
                    tuple(whole(ratio) for ratio in stage["expand_ratios"]),
                    tuple(stage["depths"]),
                )
                for stage in described["stages"]
            )
            layout = layout_from_dict(described["layout"])
            return cls(described["name"], layout, stages, tuple(described["resolutions"]))
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


def _kept(what: str, values: tuple[Any, ...], keep: set[Any]) -> tuple[Any, ...]:
    if len(values) == 1:
        return values
    kept = tuple(value for value in values if value in keep)
    if not kept:
        raise ConfigError(f"{what} {_listed(sorted(keep))} leave a stage nothing; it has {_listed(values)}")
    return kept
