"""Predicted against measured: every network that a search delivers is evaluated for real."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..cost import kendall_tau
from ..space import Arch
from .collection import Evaluate, Progress, measured
from .constraints import checked_values
from .labels import LabelStore
from .operators import CodeFunction
from .result import SearchMember, SearchResult, chosen_and_front, is_within


@dataclass(frozen=True)
class Verification:
    """How far predictions of the delivered networks were right; those the predictor had learnt from do not count.

    Attributes:
        networks: how many were measured.
        mean_error: mean of predicted minus measured top-1: above 0 the predictor flatters.
        mean_absolute_error: mean distance of predicted and measured top-1.
        kendall_tau: agreement of their ranks; None for fewer than two networks, or equal ones.
        within: share of the measurements inside two error bars (predictor and measurement together).
    """

    networks: int
    mean_error: float
    mean_absolute_error: float
    kendall_tau: float | None
    within: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        tau = "-" if self.kendall_tau is None else f"{self.kendall_tau:.2f}"
        return (
            f"{self.networks} networks measured: predictions {100 * self.mean_error:+.2f} points off on average, "
            f"mean distance {100 * self.mean_absolute_error:.2f}, Kendall tau {tau}, "
            f"{100 * self.within:.0f} % within two error bars"
        )


def verify(
    result: SearchResult,
    evaluate: Evaluate,
    labels: LabelStore,
    progress: Progress | None = None,
    costs: Mapping[str, CodeFunction] | None = None,
) -> SearchResult:
    """Measure the front and the chosen network of a predicted search.

    The front that comes back is non-dominated by measured accuracy, and the chosen network the most accurate measured
    one within the limits. Networks that have a label are not measured again; new labels are stored one by one. With
    the `costs` of the search, every network that has a label and is within the limits competes with what was
    delivered: one that the predictor has learnt from may be better.

    Raises:
        RunError: `evaluate` gave fewer results than networks.
    """
    delivered = {member.arch: member for member in (*result.front, result.chosen) if member is not None}
    learnt = {label.arch for label in labels}
    members = []
    for label in measured(labels, list(delivered), evaluate):
        member = delivered[label.arch]
        prediction = (None, None) if label.arch in learnt else (member.top1, member.top1_error)
        members.append(SearchMember(label.arch, label.top1, label.top1_error, member.costs, True, *prediction))
        if progress is not None:
            progress(len(members), len(delivered))
    if costs is not None:
        members += _competitors(result, labels, delivered, costs)
    chosen, front = chosen_and_front(members, result.limits, result.front_cost)
    return replace(
        result,
        score="verified",
        chosen=chosen,
        front=front,
        evaluated=tuple(members),
        verification=_compared(members),
    )


def _competitors(
    result: SearchResult, labels: LabelStore, delivered: Collection[Arch], costs: Mapping[str, CodeFunction]
) -> list[SearchMember]:
    """Labelled networks within the limits that were not delivered."""
    others = [label for label in labels if label.arch not in delivered]
    if not others:
        return []
    codes = result.space.encode([label.arch for label in others])
    values = {name: checked_values(name, cost, codes).tolist() for name, cost in costs.items()}
    members = [
        SearchMember(label.arch, label.top1, label.top1_error, {name: values[name][row] for name in values}, True)
        for row, label in enumerate(others)
    ]
    return [member for member in members if is_within(member, result.limits)]


def _compared(members: Sequence[SearchMember]) -> Verification | None:
    pairs = [
        (m.predicted_top1, m.predicted_error, m.top1, m.top1_error) for m in members if m.predicted_top1 is not None
    ]
    if not pairs:
        return None
    predicted, predicted_error, top1, top1_error = np.array(pairs, dtype=np.float64).T
    error = predicted - top1
    tau = kendall_tau(top1, predicted) if len(pairs) > 1 else np.nan
    return Verification(
        networks=len(pairs),
        mean_error=float(error.mean()),
        mean_absolute_error=float(np.abs(error).mean()),
        kendall_tau=tau if np.isfinite(tau) else None,
        within=float((np.abs(error) <= 2 * np.hypot(predicted_error, top1_error)).mean()),
    )
