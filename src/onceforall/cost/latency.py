"""The latency model of one device: a table of measured parts, summed and corrected by a straight line."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, FileFormatError, MeasurementError
from ..files import read_json, write_json, write_text
from ..space import Arch, SearchSpace
from .places import Place, places
from .table import CostTable, as_codes

FORMAT = 1


@dataclass(frozen=True)
class TableEntry:
    """Milliseconds of one part of a network.

    Attributes:
        resolution: of the image, in pixels.
        block: "stem", "neck", "head", "first" (of its stage), "other", or "block2" where every position differs.
        stage: counts from 1; None for stem, neck and head.
        ms: what the part adds to the latency of a network, before the model's correction.
        alone_ms, p10_ms, p90_ms: estimate and percentiles of the part running alone.
        width_mults: of the elastic widths that the part touches; for the head of `cifar_kdw` depth and expand ratio.
    """

    key: str
    resolution: int
    block: str
    stage: int | None
    kernel_size: int | None
    expand_ratio: float | None
    ms: float
    alone_ms: float
    p10_ms: float
    p90_ms: float
    width_mults: tuple[float, ...] = ()


class Comparison(NamedTuple):
    """One whole network, measured and predicted."""

    arch: Arch
    measured_ms: float
    predicted_ms: float

    def to_dict(self) -> dict[str, Any]:
        """With the name of the architecture, ready for JSON."""
        return {**self._asdict(), "arch": self.arch.to_dict(), "name": self.arch.name}


@dataclass(frozen=True)
class Validation:
    """Agreement on whole networks that took no part in the fit.

    Attributes:
        mape: mean |predicted - measured| / measured, a fraction.
        kendall_tau: rank correlation; None for fewer than two networks.
        macs_mape: the same error of a straight line through MACs alone, fitted on the same networks; None when the
            model was fitted on none.
        repeatability: mean relative difference of measuring the same networks twice (odd and even rounds): no model
            can be seen to be better than this.
        networks: every network, measured and predicted.
    """

    mape: float
    kendall_tau: float | None
    macs_mape: float | None
    repeatability: float
    networks: tuple[Comparison, ...]


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Predicts the latency of any architecture of a space on one device.

    latency = scale * (stem + blocks + head) + offset_ms. The table is measured part by part; scale and offset are
    fitted on a few whole networks, because parts measured alone miss what it costs to run them one after another.

    Attributes:
        device: the name the model is kept under.
        space: whose architectures and codes `predict` takes.
        entries: the table.
        scale, offset_ms: the correction.
        batch: images at a time; predictions are milliseconds per batch.
        threads: of the runtime.
        runtime: name and version.
        machine: see `measure.describe_machine`.
        timing: how the table was measured, see `measure.Timing`.
        estimator: what one number of the table is.
        calibration: the networks the correction was fitted on.
        validation: agreement on other networks; None when none were measured.
    """

    device: str
    space: SearchSpace
    entries: tuple[TableEntry, ...]
    scale: float = 1.0
    offset_ms: float = 0.0
    batch: int = 1
    threads: int = 1
    runtime: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    estimator: str = ""
    calibration: tuple[Comparison, ...] = ()
    validation: Validation | None = None

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions of the space that the table covers, in pixels; others are refused."""
        measured = {entry.resolution for entry in self.entries}
        return tuple(resolution for resolution in self.space.resolutions if resolution in measured)

    def for_space(self, space: SearchSpace) -> "LatencyModel":
        """The same model for the codes of a restricted space. Raises ConfigError for a space of other networks."""
        if space.layout != self.space.layout:
            raise ConfigError(
                f"the latency model of {self.device} was measured for space {self.space.name} with other widths, "
                f"classes or strides than this {space.name}; measure it anew"
            )
        return replace(self, space=space)

    def covered(self, space: SearchSpace) -> SearchSpace:
        """The part of a space whose resolutions the table covers.

        Raises:
            ConfigError: a space of other networks. MeasurementError: the table covers none of its resolutions.
        """
        resolutions = self.for_space(space).resolutions
        if not resolutions:
            measured = sorted({entry.resolution for entry in self.entries})
            raise MeasurementError(
                f"the latency table of {self.device} covers {', '.join(map(str, measured))} px, no resolution of this "
                f"space ({', '.join(map(str, space.resolutions))}); measure it anew"
            )
        return space.restrict(resolutions=resolutions)

    def predict(self, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
        """Milliseconds per batch: (n,) float64 from n architectures or an (n, D) array of codes of `space`.

        Raises:
            MeasurementError: an architecture needs a resolution or block that the table does not hold; names it.
            InvalidArch: an architecture that is not in the space.
        """
        codes = as_codes(self.space, archs)
        sums = self._table.total(codes)
        if (lacking := np.isnan(sums)).any():
            raise self._lacks(self.space.decode(codes[lacking.argmax()][None])[0])
        return self.scale * sums + self.offset_ms

    def _lacks(self, arch: Arch) -> MeasurementError:
        if arch.resolution not in self.resolutions:
            return MeasurementError(
                f"the latency table of {self.device} has no resolution {arch.resolution} px "
                f"(it has {', '.join(map(str, self.resolutions))}); measure it too, or restrict the space to those"
            )
        code = self.space.encode([arch])[0]
        keys = []
        for place in places(self.space):
            values = [self.space.column_values(column)[code[column]] for column in place.columns]
            if None not in values:
                keys.append(key_of(place, values))
        missing = next(key for key in keys if key not in self._milliseconds)
        return MeasurementError(
            f"the latency table of {self.device} lacks {missing}, which architecture {arch.name} needs; measure anew"
        )

    @cached_property
    def _milliseconds(self) -> dict[str, float]:
        return {entry.key: entry.ms for entry in self.entries}

    @cached_property
    def _table(self) -> CostTable:
        found = self._milliseconds
        return CostTable.build(self.space, lambda place, values: found.get(key_of(place, values), np.nan), np.float64)

    # ---- files ------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        validation = None
        if self.validation:
            networks = [network.to_dict() for network in self.validation.networks]
            validation = {**asdict(replace(self.validation, networks=())), "networks": networks}
        return {
            "format": FORMAT,
            "device": self.device,
            "machine": self.machine,
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "estimator": self.estimator,
            "timing": self.timing,
            "space": self.space.to_dict(),
            "affine": {"scale": self.scale, "offset": self.offset_ms},
            "validation": validation,
            "calibration": {"networks": [network.to_dict() for network in self.calibration]},
            "table": [asdict(entry) for entry in self.entries],
        }

    def save(self, path: str | Path) -> None:
        """Write `path`.json (everything) and `path`.csv (the table, for people). Raises StorageError."""
        path = Path(path).with_suffix("") if Path(path).suffix in {".json", ".csv"} else Path(path)
        table = io.StringIO()
        columns = [column.name for column in fields(TableEntry)]
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {**asdict(entry), "width_mults": " ".join(map(str, entry.width_mults))} for entry in self.entries
        )
        write_text(path.with_name(path.name + ".csv"), table.getvalue())
        write_json(path.with_name(path.name + ".json"), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "LatencyModel":
        """Read what `save` wrote (with or without the suffix .json). Raises FileFormatError."""
        path = Path(path) if Path(path).suffix == ".json" else Path(path).with_name(Path(path).name + ".json")
        described = read_json(path)
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise FileFormatError(f"{path} is not a latency model of format {FORMAT}")
        try:
            validation = None
            if described["validation"]:
                networks = _comparisons(described["validation"]["networks"])
                validation = Validation(**{**described["validation"], "networks": networks})
            plain = ("device", "machine", "runtime", "threads", "batch", "estimator", "timing")
            return cls(
                space=SearchSpace.from_dict(described["space"]),
                entries=tuple(
                    TableEntry(**{**entry, "width_mults": tuple(entry.get("width_mults", ()))})
                    for entry in described["table"]
                ),
                scale=described["affine"]["scale"],
                offset_ms=described["affine"]["offset"],
                calibration=_comparisons(described["calibration"]["networks"]),
                validation=validation,
                **{name: described[name] for name in plain},
            )
        except (KeyError, TypeError, ConfigError) as error:
            raise FileFormatError(f"{path} is not a whole latency model ({error!r}); measure anew") from error


def part_key(
    resolution: int,
    block: str,
    stage: int | None = None,
    kernel_size: int | None = None,
    expand_ratio: float | None = None,
    width_mults: Sequence[float] = (),
) -> str:
    """The name of a table entry, for example `r224.stem` or `r224.stage2.first.k5e4`; stage counts from 1.

    Multipliers of the elastic widths it touches follow: `r224.stage2.first.k3e0.25.w0.8-1`.
    """
    widths = ".w" + "-".join(f"{mult:g}" for mult in width_mults) if width_mults else ""
    if stage is None:
        return f"r{resolution}.{block}{widths}"
    return f"r{resolution}.stage{stage}.{block}.k{kernel_size}e{expand_ratio:g}{widths}"


def choice_of(place: Place, values: Sequence[Any]) -> tuple[Any, ...]:
    """Values of a place's columns as the arguments of `part_key`."""
    if place.stage is None:
        return values[0], place.label, None, None, None, tuple(values[1:])
    return values[0], place.label, place.stage + 1, values[1], values[2], tuple(values[3:])


def key_of(place: Place, values: Sequence[Any]) -> str:
    """The name of the entry for what stands at a place."""
    return part_key(*choice_of(place, values))


def _comparisons(networks: list[dict[str, Any]]) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(Arch.from_dict(network["arch"]), network["measured_ms"], network["predicted_ms"])
        for network in networks
    )
