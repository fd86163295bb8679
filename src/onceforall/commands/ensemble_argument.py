"""`ensemble=`: the one place that turns what a user types into networks that vote."""

import difflib
from dataclasses import dataclass
from typing import Any

from ..data.views import VIEWS
from ..errors import ConfigError, FileFormatError, RunError
from ..files import read_json
from ..run import Run, check_file_name
from ..search.ensemble.delivery import entry_within
from ..search.ensemble.ensembles import RULES
from ..space import Arch

MEANING = (
    "an ensemble of the newest `ofa ensemble` by name (summed-07), of another as RESULT/summed-07, "
    "or the best within some milliseconds (summed:4.5, maximal:4.5)"
)


@dataclass(frozen=True)
class VotingEnsemble:
    """Networks that vote: the sum of weight * softmax(logits / temperature) decides.

    Attributes:
        name: of the entry, such as summed-07.
        result: name of the ensembles file it stands in.
        rule: "summed" (members run one after the other) or "maximal" (side by side).
        archs: of the members, by rising latency. views: what each is shown, names of `VIEWS`.
        names: of the members; an architecture can be there several times, with several views.
        weights: of the members; they sum to one. temperatures: of the members.
        latency_ms: promised: the sum, or that of the slowest member.
        device: the measured device it was chosen for; None when the file names none.
        calibration_images, batch_size: of the batch-norm statistics that the members were chosen with.
        preset: the published search it was chosen by, if any.
        record: the entry as written.
    """

    name: str
    result: str
    rule: str
    archs: tuple[Arch, ...]
    views: tuple[str, ...]
    names: tuple[str, ...]
    weights: tuple[float, ...]
    temperatures: tuple[float, ...]
    latency_ms: float
    device: str | None
    calibration_images: int
    batch_size: int
    preset: str | None
    record: dict[str, Any]


def parse_ensemble(run: Run, text: str) -> VotingEnsemble:
    """The ensemble that `text` names.

    Args:
        text: the name of an entry in the newest ensembles file of the run; RESULT/NAME for another file; or RULE:MS,
            the best ensemble within so many milliseconds.

    Raises:
        ConfigError: no such file or entry, or none within the milliseconds.
        RunError: the ensembles were chosen with other weights.
        FileFormatError: the file is no result of `ofa ensemble`.
    """
    result, slash, name = text.rpartition("/")
    if not slash:
        result = _newest(run)
    elif result not in run.ensembles():
        check_file_name(result)
        known = run.ensembles() or [_newest(run)]
        raise ConfigError(f"ensemble={text}: no result {result!r} in {run.folder}; {_nearest(result, known)}")
    path = run.ensembles_path(result)
    found = read_json(path)
    try:
        if found["weights_digest"] != run.weights_digest():
            raise RunError(
                f"{path}: chosen with other weights than those of the run now; choose again with: "
                f"ofa ensemble run={run.folder} name={result}"
            )
        rule, entry = _entry(found, name, text)
        return _resolved(run, found, result, rule, entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} is no result of `ofa ensemble` ({type(error).__name__}: {error})") from error


def _newest(run: Run) -> str:
    names = run.ensembles()
    if not names:
        raise ConfigError(f"{run.folder} has no ensembles yet; choose some with: ofa ensemble run={run.folder}")
    return names[0]


def _entry(found: dict[str, Any], name: str, text: str) -> tuple[str, dict[str, Any]]:
    """The rule and the entry that a name or RULE:MS stands for."""
    entries = {rule: front["ensembles"]["members"] for rule, front in found["rules"].items()}
    rule, colon, limit = name.partition(":")
    if colon:
        if rule not in entries:
            known = rule in RULES
            remedy = (
                f"{found['name']} holds {' and '.join(entries)} ones only" if known else f"use {' or '.join(RULES)}"
            )
            raise ConfigError(f"ensemble={text}: no {rule!r} ensembles; {remedy}")
        return rule, _within(entries[rule], rule, limit, text)
    by_name = {entry["name"]: (rule, entry) for rule, members in entries.items() for entry in members}
    if name not in by_name:
        raise ConfigError(f"ensemble={text}: no such ensemble in {found['name']}; {_nearest(name, list(by_name))}")
    return by_name[name]


def _within(entries: list[dict[str, Any]], rule: str, limit: str, text: str) -> dict[str, Any]:
    """The entry to take within a limit in milliseconds."""
    try:
        most = float(limit)
    except ValueError:
        raise ConfigError(f"ensemble={text}: {limit!r} is no number of milliseconds; for example {rule}:4.5") from None
    found = entry_within(entries, most)
    if found is None:
        fastest = min((entry["latency_ms"] for entry in entries), default=None)
        remedy = "there are none" if fastest is None else f"the fastest takes {fastest:.3g} ms"
        raise ConfigError(f"ensemble={text}: no {rule} ensemble within {most:g} ms; {remedy}")
    return found


def _resolved(run: Run, found: dict[str, Any], result: str, rule: str, entry: dict[str, Any]) -> VotingEnsemble:
    networks = {network["name"]: network for network in found["networks"]}
    members = [networks[name] for name in entry["networks"]]
    if any(member.get("view") not in list(VIEWS) for member in members):
        raise FileFormatError(
            f"{run.ensembles_path(result)} does not say what its networks are shown, or is of an earlier version; "
            f"choose again with: ofa ensemble run={run.folder} name={result}"
        )
    weights = entry["weights"] or [1.0] * len(members)
    return VotingEnsemble(
        name=entry["name"],
        result=result,
        rule=rule,
        archs=tuple(Arch.from_dict(member["arch"]) for member in members),
        views=tuple(member["view"] for member in members),
        names=tuple(member["name"] for member in members),
        weights=tuple(weight / sum(weights) for weight in weights),
        temperatures=tuple(float(member["temperature"]) for member in members),
        latency_ms=entry["latency_ms"],
        device=found["device"],
        calibration_images=found["calibration_images"],
        batch_size=found["batch_size"],
        preset=found.get("preset"),
        record=entry,
    )


def _nearest(wanted: str, names: list[str]) -> str:
    close = difflib.get_close_matches(wanted, names, 3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there is {', '.join(names[:6])}{', …' if len(names) > 6 else ''}" if names else "there is none"
