"""Fronts: non-dominated sets, their hypervolume, and a front of architectures as a value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, FileFormatError
from ..space import Arch


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points (n, m) that no other point beats: all objectives minimised; equal points are all kept.

    Two objectives are sorted once; more are left to moocore (Kung, Luccio and Preparata 1975).
    """
    values = _as_points(points)
    if values.shape[1] == 1 or not len(values):
        return (values == values.min(axis=0, initial=np.inf)).all(axis=1)
    if values.shape[1] == 2:
        return _non_dominated_2d(values)
    import moocore

    return np.asarray(moocore.is_nondominated(values, keep_weakly=True), dtype=bool)


def _non_dominated_2d(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    order = np.lexsort((values[:, 1], values[:, 0]))
    first, second = values[order, 0], values[order, 1]
    before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    new_best = second < before
    leader = np.maximum.accumulate(np.where(new_best, np.arange(len(values)), -1))
    repeats = (first == first[leader]) & (second == second[leader])
    mask = np.zeros(len(values), dtype=bool)
    mask[order[new_best | repeats]] = True
    return mask


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Measure the region between the points (n, m) and the reference point (m,), all objectives minimised.

    Points that do not beat the reference in every objective add nothing. Exact for any m: two objectives by one
    sweep, more through moocore (Fonseca, Paquete and Lopez-Ibanez 2006).
    """
    corner = np.asarray(reference, dtype=np.float64)
    values = _as_points(points)
    if values.shape[1] != len(corner):
        raise ConfigError(
            f"the reference point has {len(corner)} numbers, the points have {values.shape[1]} objectives"
        )
    values = values[(values < corner).all(axis=1)]
    if not len(values):
        return 0.0
    values = values[non_dominated(values)]
    if values.shape[1] > 2:
        import moocore

        return float(moocore.hypervolume(values, ref=corner))
    values = np.unique(values, axis=0)
    if values.shape[1] == 1:
        return float(corner[0] - values[0, 0])
    heights = np.concatenate([[corner[1]], values[:-1, 1]]) - values[:, 1]
    return float(((corner[0] - values[:, 0]) * heights).sum())


def _as_points(points: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or np.isnan(values).any():
        raise ConfigError(f"points must be a table (n, objectives) of numbers, got shape {values.shape} or NaN in it")
    return values


@dataclass(frozen=True)
class FrontMember:
    """One architecture of a front and its value for every objective, in the objectives' own units and direction."""

    arch: Arch
    values: tuple[float, ...]


@dataclass(frozen=True)
class Front:
    """Distinct non-dominated architectures, sorted by the first objective, best first.

    `names` are the objectives; `maximised` tells per objective whether more is better.
    """

    names: tuple[str, ...]
    maximised: tuple[bool, ...]
    members: tuple[FrontMember, ...]

    @classmethod
    def of(
        cls, names: Sequence[str], maximised: Sequence[bool], archs: Iterable[Arch], values: NDArray[np.float64]
    ) -> "Front":
        """Reduce architectures with values (n, m) to their front."""
        best: dict[Arch, NDArray[np.float64]] = dict(zip(archs, values, strict=True))
        table = np.array(list(best.values()), dtype=np.float64).reshape(len(best), len(names))
        signs = np.where(maximised, -1.0, 1.0)
        keep = np.flatnonzero(non_dominated(table * signs)) if len(best) else np.zeros(0, dtype=int)
        keep = keep[np.lexsort((table[keep] * signs).T[::-1])]
        listed = list(best)
        members = tuple(FrontMember(listed[i], tuple(table[i].tolist())) for i in keep)
        return cls(tuple(names), tuple(bool(flag) for flag in maximised), members)

    @property
    def archs(self) -> list[Arch]:
        """The architectures in order."""
        return [member.arch for member in self.members]

    @property
    def values(self) -> NDArray[np.float64]:
        """Values of all members, (n, objectives)."""
        return np.array([member.values for member in self.members]).reshape(len(self.members), len(self.names))

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Hypervolume towards `reference`, given in the objectives' own units and direction."""
        signs = np.where(self.maximised, -1.0, 1.0)
        return hypervolume(self.values * signs, np.asarray(reference, dtype=np.float64) * signs)

    def __len__(self) -> int:
        return len(self.members)

    def to_dict(self) -> dict[str, Any]:
        """Describe the front in plain JSON values."""
        return {
            "objectives": [
                {"name": name, "maximised": maximised}
                for name, maximised in zip(self.names, self.maximised, strict=True)
            ],
            "members": [
                {"arch": member.arch.to_dict(), "values": dict(zip(self.names, member.values, strict=True))}
                for member in self.members
            ],
        }

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> "Front":
        """Rebuild a front from `to_dict`. Raises FileFormatError when a part is missing."""
        try:
            names = tuple(str(objective["name"]) for objective in description["objectives"])
            maximised = tuple(bool(objective["maximised"]) for objective in description["objectives"])
            members = tuple(
                FrontMember(Arch.from_dict(member["arch"]), tuple(float(member["values"][name]) for name in names))
                for member in description["members"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"not the description of a front: {error!r} is missing or wrong") from error
        return cls(names, maximised, members)
