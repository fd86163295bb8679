"""An architecture: one immutable value per choice, and nothing about blocks that do not run."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import InvalidArch


class Block(NamedTuple):
    """The choices of one active block: kernel size in pixels, and middle width as a multiple of its reference width."""

    kernel_size: int
    expand_ratio: float


def whole(value: float) -> float:
    """`value` as an int when it is integral, so that 4 and 4.0 write, hash and print alike."""
    return int(value) if float(value).is_integer() else float(value)


@dataclass(frozen=True, slots=True)
class Arch:
    """One sub-network of a search space: hashable, comparable, JSON.

    Only active blocks exist, so two architectures are equal exactly when their networks are.

    Attributes:
        resolution: side of the square input image in pixels.
        stages: per stage the active blocks from first to last; their number is the depth of the stage.
        width_mults: one multiplier for each width that the family leaves elastic (`Layout.width_names`), else empty.
    """

    resolution: int
    stages: tuple[tuple[Block, ...], ...]
    width_mults: tuple[float, ...] = ()

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of active blocks of every stage."""
        return tuple(len(stage) for stage in self.stages)

    @property
    def name(self) -> str:
        """A short name that is the same on every machine: resolution, depths and six digits of a digest."""
        digest = hashlib.sha256(self.to_json().encode()).hexdigest()[:6]
        return f"r{self.resolution}-d{''.join(map(str, self.depths))}-{digest}"

    def to_dict(self) -> dict[str, Any]:
        """The architecture as plain lists and numbers, ready for JSON."""
        described: dict[str, Any] = {
            "resolution": self.resolution,
            "stages": [
                {
                    "kernel_sizes": [block.kernel_size for block in stage],
                    "expand_ratios": [block.expand_ratio for block in stage],
                }
                for stage in self.stages
            ],
        }
        if self.width_mults:
            described["width_mults"] = list(self.width_mults)
        return described

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> "Arch":
        """The inverse of `to_dict`. Raises InvalidArch when a field is missing or of the wrong kind."""
        if not isinstance(described, dict):
            raise InvalidArch(f"an architecture is a JSON object, not {type(described).__name__}")
        known = {"resolution", "stages", "width_mults"}
        if unknown := sorted(set(described) - known):
            raise InvalidArch(f"unknown field {unknown[0]!r} in the architecture; the fields are {sorted(known)}")
        try:
            resolution, stages = described["resolution"], described["stages"]
            if isinstance(resolution, bool) or int(resolution) != resolution:
                raise InvalidArch(f"resolution {resolution} is not a whole number of pixels")
            return cls(
                int(resolution),
                tuple(_stage_from_dict(index, stage) for index, stage in enumerate(stages, start=1)),
                tuple(whole(width) for width in described.get("width_mults", ())),
            )
        except KeyError as error:
            raise InvalidArch(f"the architecture has no field {error}; it needs 'resolution' and 'stages'") from error
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, InvalidArch):
                raise
            raise InvalidArch(f"the architecture holds a value of the wrong kind: {error}") from error

    def to_json(self) -> str:
        """One line of JSON, equal for equal architectures."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Arch":
        """The inverse of `to_json`. Raises InvalidArch for text that is not the JSON of an architecture."""
        try:
            described = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidArch(f"not the JSON of an architecture: {error}") from error
        return cls.from_dict(described)

    def __str__(self) -> str:
        """For example `32 px | k3 e1, k3 e0.5 | k3 e0.75 | k3 e1`; width multipliers follow the resolution."""
        parts = [f"{self.resolution} px"]
        if self.width_mults:
            parts.append("w" + " ".join(f"{width:g}" for width in self.width_mults))
        parts += [", ".join(f"k{b.kernel_size} e{b.expand_ratio:g}" for b in blocks) or "-" for blocks in self.stages]
        return " | ".join(parts)


def _stage_from_dict(index: int, described: dict[str, Sequence[float]]) -> tuple[Block, ...]:
    kernel_sizes, expand_ratios = described["kernel_sizes"], described["expand_ratios"]
    if len(kernel_sizes) != len(expand_ratios):
        raise InvalidArch(
            f"stage {index} has {len(kernel_sizes)} kernel sizes but {len(expand_ratios)} expand ratios; "
            "give one of each for every active block"
        )
    if foreign := [size for size in kernel_sizes if int(size) != size]:
        raise InvalidArch(f"stage {index} has kernel size {foreign[0]}, which is not a whole number")
    return tuple(Block(int(k), whole(e)) for k, e in zip(kernel_sizes, expand_ratios, strict=True))
