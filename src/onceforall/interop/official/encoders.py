"""One-hot features of architectures, as the accuracy predictors of the official project read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...cost.table import as_codes
from ...errors import ConfigError
from ...space import Arch, BottleneckLayout, Layout, MobileLayout, SearchSpace

TUTORIAL_RESOLUTIONS = tuple(range(112, 225, 16))


@dataclass(frozen=True)
class Choice:
    """One run of features: a column of the code, and the value that each feature stands for."""

    column: str
    values: tuple[float, ...]


def tutorial_choices(layout: Layout) -> tuple[Choice, ...]:
    """Kernel sizes of all blocks, expand ratios of all blocks, resolution: 128 features for MobileNetV3."""
    return (*_block_choices(layout), Choice("resolution", TUTORIAL_RESOLUTIONS))


def nas_choices(layout: Layout, resolutions: Sequence[int]) -> tuple[Choice, ...]:
    """The features of the architecture encoders that came after the tutorial: the resolution is first.

    ResNet-50: then whether the stem block runs, six width multipliers, expand ratios. MobileNetV3 and ProxylessNAS:
    then the kernel sizes of all blocks, then the expand ratios of all blocks.
    """
    size = Choice("resolution", tuple(resolutions))
    if not isinstance(layout, BottleneckLayout):
        return (size, *_block_choices(layout))
    widths = [Choice(f"width.{name}", layout.width_mults) for name in layout.width_names]
    ratios = [Choice(f"{block}.expand_ratio", layout.expand_ratios) for block in _blocks(layout)[1:]]
    return (size, Choice("stage1.depth", (0, 1)), *widths, *ratios)


def _block_choices(layout: Layout) -> list[Choice]:
    if not isinstance(layout, MobileLayout):
        raise ConfigError(f"the official project has no accuracy predictor for networks of kind {layout.kind}")
    kernels = [Choice(f"{block}.kernel_size", layout.kernel_sizes) for block in _blocks(layout)]
    return kernels + [Choice(f"{block}.expand_ratio", layout.expand_ratios) for block in _blocks(layout)]


def _blocks(layout: Layout) -> list[str]:
    """Names of all block positions the supernet holds, whatever a restricted space leaves of them."""
    return [
        f"stage{stage}.block{block}"
        for stage, described in enumerate(layout.stages, start=1)
        for block in range(1, described.max_depth + 1)
    ]


@dataclass(frozen=True, eq=False)
class ArchEncoder:
    """Features of the architectures of a space; blocks that do not run have none.

    Attributes:
        space: whose architectures and codes `encode` takes.
        choices: what the features stand for, in their order.

    Raises:
        ConfigError: the space has a kernel size, expand ratio, depth or width without a feature. Resolutions without
            one are left to the caller: see `resolutions`.
    """

    space: SearchSpace
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        for choice in self.choices:
            if choice.column not in self.space.columns or choice.column == "resolution":
                continue
            known = {None, *choice.values}
            if foreign := [v for v in self._values(choice.column) if v not in known]:
                raise ConfigError(
                    f"{choice.column} = {foreign[0]:g} of space {self.space.name} is unknown to this predictor; "
                    f"it knows {', '.join(f'{value:g}' for value in choice.values)}"
                )

    def _values(self, column: str) -> tuple[float | None, ...]:
        return self.space.column_values(self.space.columns.index(column))

    @property
    def dimensions(self) -> int:
        """Number of features."""
        return sum(len(choice.values) for choice in self.choices)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions of the space that have a feature, in pixels."""
        known = next(set(choice.values) for choice in self.choices if choice.column == "resolution")
        return tuple(resolution for resolution in self.space.resolutions if resolution in known)

    @cached_property
    def _lookup(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns of the code that have features, and per column and number the feature; `dimensions` is none."""
        columns, rows, first = [], [], 0
        widest = int(self.space.cardinalities.max())
        for choice in self.choices:
            if choice.column in self.space.columns:
                columns.append(self.space.columns.index(choice.column))
                features = [
                    first + choice.values.index(value) if value in choice.values else self.dimensions
                    for value in self._values(choice.column)
                ]
                rows.append(features + [self.dimensions] * (widest - len(features)))
            first += len(choice.values)
        return np.array(columns), np.array(rows)

    def encode(self, archs: Sequence[Arch] | np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Features of n architectures or (n, D) codes of the space: (n, `dimensions`) of zeros and ones."""
        codes = as_codes(self.space, archs)
        columns, features = self._lookup
        hot = features[np.arange(len(columns)), codes[:, columns]]
        hot += (np.arange(len(codes)) * (self.dimensions + 1))[:, None]
        encoded = np.zeros((len(codes), self.dimensions + 1), dtype=dtype)
        encoded.reshape(-1)[hot] = 1
        return encoded[:, :-1]

    def decode(self, encoded: np.ndarray) -> list[Arch]:
        """The inverse of `encode`. Raises InvalidArch for features that no architecture of the space has."""
        codes = np.zeros((len(encoded), len(self.space.columns)), dtype=np.int64)
        codes[:, self.space.slots[:, 0]] = codes[:, self.space.slots[:, 0] + 1] = 1  # where there is nothing to choose
        first = 0
        for choice in self.choices:
            hot = np.asarray(encoded)[:, first : first + len(choice.values)]
            first += len(choice.values)
            if choice.column in self.space.columns:
                values = self._values(choice.column)
                known = np.array([values.index(v) if v in values else -1 for v in choice.values])
                codes[:, self.space.columns.index(choice.column)] = np.where(hot.any(1), known[hot.argmax(1)], 0)
        self._set_depths(codes)
        return self.space.decode(self.space.canonical(codes))

    def _set_depths(self, codes: np.ndarray) -> None:
        """A stage is as deep as it has blocks with features, unless its depth is a feature itself."""
        named = {choice.column for choice in self.choices}
        columns, stages, _ = self.space.slots.T
        active = (codes[:, columns] > 0) & (codes[:, columns + 1] > 0)
        for stage, choices in enumerate(self.space.stages):
            column = int(self.space.depth_columns[stage])
            if self.space.columns[column] not in named:
                depths = active[:, stages == stage].sum(1).tolist()
                codes[:, column] = [choices.depths.index(d) if d in choices.depths else -1 for d in depths]
