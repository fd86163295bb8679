"""The search space: everything that can be chosen, as a value that samples, mutates, encodes and validates."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..errors import ConfigError, InvalidArch
from .arch import Arch, Block, whole
from .choices import StageChoices
from .codes import Coded
from .layouts import Layout, layout_from_dict


@dataclass(frozen=True)
class SearchSpace(Coded):
    """All architectures of one supernet.

    Attributes:
        name: the family, as `create_supernet` takes it.
        layout: what is fixed (widths, strides, ...).
        stages: what can be chosen, per stage.
        resolutions: allowed input sizes in pixels, ascending.
        widths: allowed multipliers, ascending, of each width that the layout names elastic; empty where it has none.
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

        With `any_resolution` images of any size are taken: weights do not depend on it.
        """
        if arch.resolution not in self.resolutions:
            if not any_resolution:
                raise InvalidArch(
                    f"resolution {arch.resolution} is not in space {self.name}; allowed: {_listed(self.resolutions)}"
                )
            if not isinstance(arch.resolution, int | np.integer) or arch.resolution < 1:
                raise InvalidArch(f"resolution {arch.resolution!r} is no positive whole number of pixels")
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
