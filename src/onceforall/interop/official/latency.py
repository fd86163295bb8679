"""Published latency tables: milliseconds per layer on one phone, added up over the layers of a network."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...cost import structure
from ...cost.table import CostTable, Term, as_codes
from ...errors import ConfigError, FileFormatError, MeasurementError
from ...space import Arch, MobileLayout, SearchSpace, create_space

_FIRST_LAYER = re.compile(r"Conv-input:(\d+)x\1x\d+-output:")


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Predicts milliseconds per image as the plain sum over layers: first convolution, blocks, head, in this order.

    Attributes:
        device: what the table was measured on, as its file or folder is called.
        space: whose architectures and codes `predict` takes.
        milliseconds: per resolution in pixels, the mean of every layer by its key.
    """

    device: str
    space: SearchSpace
    milliseconds: Mapping[int, Mapping[str, float]]

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions of the space that the table covers, in pixels; others are refused."""
        return tuple(resolution for resolution in self.space.resolutions if resolution in self.milliseconds)

    def for_space(self, space: SearchSpace) -> "LatencyTable":
        """The same table for the codes of another space; layers it lacks are reported by `predict`.

        Raises ConfigError for a space of other than inverted bottlenecks.
        """
        _mobile(space)
        return replace(self, space=space)

    def predict(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Milliseconds: (n,) float64 from n architectures or an (n, D) array of codes of `space`.

        Raises:
            MeasurementError: an architecture needs a resolution or layer that the table lacks; names both.
            InvalidArch: an architecture that is not in the space.
        """
        codes = as_codes(self.space, archs)
        sums = self._table.total(codes)
        if (lacking := np.isnan(sums)).any():
            raise self._lacks(self.space.decode(codes[lacking.argmax()][None])[0])
        return sums

    def _lacks(self, arch: Arch) -> MeasurementError:
        if arch.resolution not in self.milliseconds:
            return MeasurementError(
                f"the latency table of {self.device} has no resolution {arch.resolution} px, which architecture "
                f"{arch.name} needs; it has {', '.join(map(str, sorted(self.milliseconds)))}"
            )
        known = self.milliseconds[arch.resolution]
        missing = next(key for key in layer_keys(self.space, arch) if key not in known)
        return MeasurementError(
            f"the latency table of {self.device} lacks layer {missing}, which architecture {arch.name} needs"
        )

    @cached_property
    def _table(self) -> CostTable:
        """Terms in the order of the layers, so that the sum has the bits of a plain one; NaN where a layer lacks."""
        space, layout = self.space, _mobile(self.space)

        def found(resolution: int, key: str) -> float:
            return self.milliseconds.get(resolution, {}).get(key, math.nan)

        def fixed(keys: Mapping[int, list[str]]) -> list[Term]:
            rows = [[found(resolution, key) for key in keys[resolution]] for resolution in space.resolutions]
            return [Term((0,), column) for column in np.array(rows).T]

        terms = fixed({resolution: first_keys(layout, resolution) for resolution in space.resolutions})
        for column, stage, position in space.slots.tolist():
            choices = space.stages[stage]
            values = np.zeros((len(space.resolutions), len(choices.kernel_sizes) + 1, len(choices.expand_ratios) + 1))
            for row, resolution in enumerate(space.resolutions):
                for k, kernel_size in enumerate(choices.kernel_sizes, start=1):
                    for e, expand_ratio in enumerate(choices.expand_ratios, start=1):
                        key = block_key(layout, resolution, stage, position, kernel_size, expand_ratio)
                        values[row, k, e] = found(resolution, key)
            terms.append(Term((0, column, column + 1), values))
        terms += fixed({resolution: last_keys(layout, resolution) for resolution in space.resolutions})
        return CostTable(space, terms)


def layer_keys(space: SearchSpace, arch: Arch) -> Iterator[str]:
    """The keys that are added up for an architecture, in order. Raises ConfigError for other than mobile spaces."""
    layout = _mobile(space)
    yield from first_keys(layout, arch.resolution)
    for stage, blocks in enumerate(arch.stages):
        for position, block in enumerate(blocks):
            yield block_key(layout, arch.resolution, stage, position, block.kernel_size, block.expand_ratio)
    yield from last_keys(layout, arch.resolution)


def first_keys(layout: MobileLayout, resolution: int) -> list[str]:
    """First convolution and fixed first block."""
    side = structure.stage_sides(layout, resolution)[0]
    conv = f"Conv-input:{_shape(resolution, layout.in_chans)}-output:{_shape(side, layout.stem_width)}"
    shortcut = layout.first_shortcut and layout.first_width == layout.stem_width
    middle = layout.stem_width if _by_width(layout) else 1
    block = (
        f"expanded_conv-input:{_shape(side, layout.stem_width)}-output:{_shape(side, layout.first_width)}"
        f"-expand:{middle}-kernel:3-stride:1-idskip:{shortcut:d}"
    )
    return [conv, block + _flags(layout, False, layout.first_activation)]


def block_key(
    layout: MobileLayout, resolution: int, stage: int, position: int, kernel_size: int, expand_ratio: float
) -> str:
    """One elastic block; stage and position count from 0."""
    chosen, in_width = layout.stages[stage], layout.in_width(stage, position)
    stride = 1 if position else chosen.stride
    before = structure.block_side(layout, stage, position, resolution)
    after = (before - 1) // stride + 1
    middle = layout.middle_width(stage, position, expand_ratio) if _by_width(layout) else f"{expand_ratio:g}"
    return (
        f"expanded_conv-input:{_shape(before, in_width)}-output:{_shape(after, chosen.width)}"
        f"-expand:{middle}-kernel:{kernel_size}-stride:{stride}-idskip:{stride == 1 and in_width == chosen.width:d}"
        + _flags(layout, chosen.squeeze_excite, chosen.activation)
    )


def last_keys(layout: MobileLayout, resolution: int) -> list[str]:
    """Everything after the last block."""
    side, width = structure.stage_sides(layout, resolution)[-1], layout.stages[-1].width
    expanded, mixed, classes = layout.expand_width, layout.mix_width, layout.num_classes
    keys = [f"Conv_1-input:{_shape(side, width)}-output:{_shape(side, expanded)}"]
    if not _by_width(layout):  # pooling was not measured
        return [*keys, f"Logits-input:{_shape(side, expanded)}-output:{classes}"]
    return [
        *keys,
        f"AvgPool2D-input:{_shape(side, expanded)}-output:{_shape(1, expanded)}",
        f"Conv_2-input:{_shape(1, expanded)}-output:{_shape(1, mixed)}",
        f"Logits-input:{_shape(1, mixed)}-output:{classes}",
    ]


def _by_width(layout: MobileLayout) -> bool:
    """MobileNetV3 tables name middle channels and two flags of a block, the older ProxylessNAS ones its ratio alone."""
    return layout.mix_width > 0


def _flags(layout: MobileLayout, squeeze_excite: bool, activation: str) -> str:
    return f"-se:{squeeze_excite:d}-hs:{activation == 'hard_swish':d}" if _by_width(layout) else ""


def _shape(side: int, channels: int) -> str:
    return f"{side}x{side}x{channels}"


def _mobile(space: SearchSpace) -> MobileLayout:
    if not isinstance(space.layout, MobileLayout):
        raise ConfigError(f"published latency tables know inverted bottlenecks only, not space {space.name}")
    return space.layout


def load_latency_table(path: str | Path, space: SearchSpace | None = None) -> LatencyTable:
    """Read published latency tables: one YAML file, or a folder with one per resolution.

    Args:
        path: of a file, or of a folder whose *.yaml files are read.
        space: whose codes will be given; None: the one the tables were made for (mbv3_w1.2 for those of MobileNetV3,
            proxyless_w1.0 for those of ProxylessNAS) at the resolutions of the tables.

    Raises:
        FileFormatError: a missing file, or one that is not such a table.
        ConfigError: a space without inverted bottlenecks.
    """
    path = Path(path)
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise FileFormatError(f"{path} holds no .yaml file")
    milliseconds: dict[int, dict[str, float]] = {}
    for file in files:
        table = _read_table(file)
        sizes = {int(match[1]) for key in table if (match := _FIRST_LAYER.match(key))}
        if not sizes:
            raise FileFormatError(f"{file} is not a latency table: it has no first layer (Conv-input:RxRx3-...)")
        if double := sorted(sizes & set(milliseconds)):
            raise FileFormatError(f"{path} holds two tables for {double[0]} px")
        milliseconds |= dict.fromkeys(sizes, table)
    if space is None:
        flagged = any("-hs:" in key for table in milliseconds.values() for key in table)
        space = create_space("mbv3_w1.2" if flagged else "proxyless_w1.0", resolutions=sorted(milliseconds))
    _mobile(space)
    return LatencyTable(path.stem, space, milliseconds)


def _read_table(file: Path) -> dict[str, float]:
    import yaml

    try:
        content = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError as error:
        raise FileFormatError(f"{file} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise FileFormatError(f"{file} is not a whole YAML file") from error
    if not isinstance(content, dict) or not content:
        raise FileFormatError(f"{file} is not a latency table: it holds no `layer: {{mean: ...}}` entries")
    table: dict[str, float] = {}
    first = next(iter(content.values()))
    fields = set(first) if isinstance(first, dict) else set()
    for key, entry in content.items():
        mean = entry.get("mean") if isinstance(entry, dict) else None
        if isinstance(mean, bool) or not isinstance(mean, int | float) or not 0 <= mean < math.inf:
            raise FileFormatError(f"{file} is not a latency table: {key} has no mean in milliseconds")
        if set(entry) != fields:  # a file cut off inside a number would still be YAML
            raise FileFormatError(f"{file} is damaged: {key} has {sorted(entry)}, other layers have {sorted(fields)}")
        table[str(key)] = float(mean)
    return table
