"""What a search hands back: members, the front, the chosen network, and their JSON form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..space import Arch, SearchSpace
from ..space.arch import whole
from .front import non_dominated
from .predictor import PredictorQuality

if TYPE_CHECKING:
    from .verification import Verification


@dataclass(frozen=True)
class SearchMember:
    """One network with its accuracy (0..1), the accuracy's standard error, and its costs by name.

    `measured` tells whether `top1` was evaluated or predicted; `predicted_top1` was made without this network's own
    label, None where there was no predictor; `predicted_error` is its error bar where it is known.
    """

    arch: Arch
    top1: float
    top1_error: float
    costs: dict[str, float]
    measured: bool
    predicted_top1: float | None = None
    predicted_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Describe the member as a record of `search/<name>.json`."""
        return {
            "arch": self.arch.to_dict(),
            "name": self.arch.name,
            "top1": self.top1,
            "top1_error": self.top1_error,
            "predicted_top1": self.predicted_top1,
            "predicted_error": self.predicted_error,
            **{name: whole(cost) for name, cost in self.costs.items()},
            "measured": self.measured,
        }


@dataclass(frozen=True)
class SearchResult:
    """What a search found: the chosen network, the front over (top1, `front_cost`), and all networks looked at.

    `score` is "measured", "predicted", or "verified" when what was predicted has been measured. `front` is sorted by
    cost, `chosen` its most accurate network; both are of the networks within the limits, `evaluated` are all. When no
    network within the limits was evaluated, `chosen` is None and `front` is that of all.
    """

    space: SearchSpace = field(repr=False)
    score: str
    front_cost: str
    limits: dict[str, float]
    chosen: SearchMember | None
    front: tuple[SearchMember, ...]
    evaluated: tuple[SearchMember, ...] = field(repr=False)
    quality: PredictorQuality | None
    seconds: float
    seed: int
    verification: "Verification | None" = None

    def to_dict(self, name: str, device: str | None = None) -> dict[str, Any]:
        """Describe the result as the content of `search/<name>.json`."""
        return {
            "name": name,
            "space": self.space.to_dict(),
            "objectives": ["top1", self.front_cost],
            "device": device,
            "constraints": self.limits,
            "score": self.score,
            "chosen": self.chosen.to_dict() if self.chosen else None,
            "front": [member.to_dict() for member in self.front],
            "evaluated": [member.to_dict() for member in self.evaluated],
            "quality": self.quality.to_dict() if self.quality else None,
            "verification": self.verification.to_dict() if self.verification else None,
            "seconds": self.seconds,
            "seed": self.seed,
        }


def chosen_and_front(
    members: Sequence[SearchMember], limits: Mapping[str, float], front_cost: str
) -> tuple[SearchMember | None, tuple[SearchMember, ...]]:
    """The `chosen` network and the `front` of a `SearchResult`, from all of its members."""
    within = [member for member in members if is_within(member, limits)]
    chosen = max(within, key=lambda member: (member.top1, -member.costs[front_cost]), default=None)
    candidates = within or members
    points = np.array([(member.costs[front_cost], -member.top1) for member in candidates])
    front = [member for member, keep in zip(candidates, non_dominated(points), strict=True) if keep]
    return chosen, tuple(sorted(front, key=lambda member: member.costs[front_cost]))


def is_within(member: SearchMember, limits: Mapping[str, float]) -> bool:
    """Whether no cost of a network is above its limit."""
    return all(member.costs[name] <= limit for name, limit in limits.items())
