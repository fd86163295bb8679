"""What ensembles gain over single networks within the same latency: in a run, and as published for ImageNet."""

from dataclasses import dataclass

from ..search.ensemble.delivery import entry_within
from .reading import Record
from .words import milliseconds

RULE_WORDS = {"summed": "summed latency", "maximal": "maximal latency"}

PUBLISHED_SLOWEST_MS = 46.216
# OFA3 notebooks, NSGA-II with seed 1 (networks and method: arXiv 1908.09791, 2303.13683), read from their plots to
# +-0.06 points: latency in ms, then the best validation top-1 in percent within it of a single network and of an
# ensemble. Summed ensembles had at least two members there.
PUBLISHED = {
    "summed": (
        (20, 76.0, 70.4),
        (25, 77.1, 73.8),
        (30, 77.6, 75.2),
        (35, 78.2, 76.3),
        (40, 78.6, 76.7),
        (45, 78.9, 77.4),
        (60, 78.9, 78.4),
        (80, 78.9, 78.87),
        (100, 78.9, 78.87),
        (141, 78.9, 78.87),
    ),
    "maximal": (
        (10, 69.8, 70.1),
        (12, 72.3, 72.7),
        (14, 73.6, 74.0),
        (15, 74.0, 75.1),
        (16, 74.5, 75.6),
        (17, 74.8, 75.8),
        (18, 75.3, 76.0),
        (20, 76.0, 76.3),
        (25, 77.1, 77.2),
        (30, 77.6, 77.7),
        (38, 78.6, 78.7),
        (44, 78.9, 78.75),
    ),
}


@dataclass(frozen=True)
class Gain:
    """The best single network and the best ensemble within a latency, by their accuracy on one part of the images."""

    latency_ms: float
    single: Record
    ensemble: Record
    part: str

    @property
    def points(self) -> float:
        """What the ensemble has more, in points of top-1."""
        return 100 * (self.ensemble[f"{self.part}_top1"] - self.single[f"{self.part}_top1"])


def rules_of(record: Record) -> dict[str, Record]:
    """The rules of a result, always in the same order. Raises ValueError when it has none."""
    found = {rule: record["rules"][rule] for rule in RULE_WORDS if rule in record["rules"]}
    if not found:
        raise ValueError(f"ensembles {record['name']} have neither of the rules {' and '.join(RULE_WORDS)}")
    return found


def told_on(record: Record) -> str:
    """The part of the images that accuracies are told on: test where there are some, else hold-out."""
    return "test" if record.get("test_images") else "holdout"


def best_within(members: list[Record], latency_ms: float, part: str) -> Record | None:
    """The member to take within a latency, of those that were counted on `part`.

    It was chosen on hold-out images: the best of many on test images would flatter itself.
    """
    return entry_within([one for one in members if one[f"{part}_top1"] is not None], latency_ms)


def gain_within(rule: Record, latency_ms: float, part: str) -> Gain | None:
    """Single network against ensemble within a latency; None where one of them is missing."""
    single = best_within(rule["singles"]["members"], latency_ms, part)
    ensemble = best_within(rule["ensembles"]["members"], latency_ms, part)
    return None if single is None or ensemble is None else Gain(latency_ms, single, ensemble, part)


def latencies_of(rule: Record) -> list[float]:
    """Every latency at which the front of single networks or of ensembles changes, rising."""
    return sorted({one["latency_ms"] for kind in ("singles", "ensembles") for one in rule[kind]["members"]})


def gains_of(rule: Record, part: str) -> list[Gain]:
    """The gain at every latency at which it can change."""
    found = (gain_within(rule, latency, part) for latency in latencies_of(rule))
    return [gain for gain in found if gain is not None]


def verdict(name: str, rule: Record, part: str) -> str:
    """One sentence: the largest and the smallest gain of a rule, or that there is none. Empty when nothing compares."""
    gains = gains_of(rule, part)
    if not gains:
        return ""
    most, least = max(gains, key=lambda gain: gain.points), min(gains, key=lambda gain: gain.points)
    words = RULE_WORDS[name].capitalize()
    if most.points > 0:
        members = len(most.ensemble["networks"])
        instead = f"{100 * most.ensemble[f'{part}_top1']:.2f} % instead of {100 * most.single[f'{part}_top1']:.2f} %"
        largest = (
            f"{words}: the largest gain over the best single network within the same latency is {most.points:+.2f} "
            f"points, at {milliseconds(most.latency_ms)} ({members} {'member' if members == 1 else 'members'}, "
            f"{instead})"
        )
    else:
        largest = f"{words}: at no latency is an ensemble better than the best single network"
    if least.points < 0:
        return f"{largest}; the largest loss is {least.points:+.2f} points, at {milliseconds(least.latency_ms)}."
    return f"{largest}; nowhere is it worse." if most.points > 0 else f"{largest}, and nowhere worse: the gain is zero."
