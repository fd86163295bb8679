"""Everything a run folder holds, read once; what is missing is None or empty, what is broken becomes a note."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, OnceForAllError, RunError
from ..files import read_json
from ..search import non_dominated
from ..space import Arch, SearchSpace
from .words import PART_WORDS, count

Record = dict[str, Any]

GARBLED = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
"""What a JSON object that lacks or garbles a value raises when it is used."""
_METRICS = ("elapsed_s", "learning_rate", "images_per_second", "top1_error", "images")


@dataclass
class RunContents:
    """The files of one run.

    Records are the JSON objects as written, and `path`, that of their file in the folder. `notes` say which files could
    not be read, `unreadable` has their paths by the field they belong to.
    """

    folder: Path
    config: str | None = None
    supernet: Record | None = None
    space: SearchSpace | None = None
    train: list[Record] = field(default_factory=list)
    evaluations: list[Record] = field(default_factory=list)
    phases: list[tuple[str, int, int]] = field(default_factory=list)
    corrupt: list[Record] = field(default_factory=list)
    latency: list[Record] = field(default_factory=list)
    predictor: Record | None = None
    searches: list[Record] = field(default_factory=list)
    devices: list[Record] = field(default_factory=list)
    ensembles: list[Record] = field(default_factory=list)
    votes: list[Record] = field(default_factory=list)
    exports: list[Record] = field(default_factory=list)
    tests: list[Record] = field(default_factory=list)
    finetuned: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, kind: str, path: str, note: str) -> None:
        """Remember that a file of the field `kind` could not be read, and why."""
        self.unreadable.setdefault(kind, []).append(path)
        self.notes.append(note)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def seconds(self) -> float | None:
        """Time spent training so far."""
        times = [line["elapsed_s"] for line in (*self.train, *self.evaluations) if "elapsed_s" in line]
        return max(times, default=None)

    @property
    def chosen(self) -> dict[tuple[str, str | None], tuple[Record, list[str]]]:
        """Chosen networks by name and device of their latency, each with the searches that chose it.

        `images` of a network is the number of hold-out images of its accuracy: of several accuracies that on most.
        """
        found: dict[tuple[str, str | None], tuple[Record, list[str]]] = {}
        for search in self.searches:
            if member := search.get("chosen"):
                member = member | {"images": images_of(search)}
                known, names = found.get(key := (member["name"], search.get("device")), (member, []))
                found[key] = max(known, member, key=images_of), [*names, search["name"]]
        return found

    @property
    def search_devices(self) -> list[str]:
        """Devices whose latencies the searches tell, those of the first search first."""
        return list(dict.fromkeys(search["device"] for search in self.searches if search.get("device")))

    @property
    def watched(self) -> list[Record]:
        """The evaluations while training that compare: on the part of the last one, and on most images of it."""
        last = part_of(self.evaluations[-1]) if self.evaluations else ""
        return comparable([line for line in self.evaluations if part_of(line) == last])[0]

    def accuracy_of(self, arch: Arch, label: str) -> tuple[Record, str] | None:
        """The best record of an architecture's accuracy, and where it comes from: test part first, then training."""
        for part in ("test", "holdout"):
            of_part = [record for record in self.tests if record["name"] == arch.name and record.get("part") == part]
            if of_part:
                record = max(of_part, key=images_of)
                return record, f"{PART_WORDS[part]} part, {count(record['images'])} images"
        trained = [line for line in self.watched if line["label"] == label]
        return (trained[-1], f"{part_of(trained[-1])} part, while training") if trained else None


def read_run(folder: str | Path) -> RunContents:
    """Read a run folder.

    Raises:
        RunError: the folder does not exist or holds nothing of a run.
    """
    folder = Path(folder)
    contents = RunContents(folder)
    if not folder.is_dir():
        raise RunError(f"run={folder}: no such folder")
    if not any((folder / name).exists() for name in ("config.yaml", "supernet.json", "metrics.jsonl")):
        raise RunError(f"run={folder}: not a run, it has neither config.yaml nor metrics.jsonl nor supernet.json")
    if (folder / "config.yaml").is_file():
        contents.config = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    contents.supernet = next(iter(_records(contents, "supernet", "supernet.json", ("space",))), None)
    if contents.supernet is not None:
        try:
            contents.space = SearchSpace.from_dict(contents.supernet["space"])
        except (OnceForAllError, *GARBLED) as error:
            contents.leave_out("supernet", "supernet.json", f"supernet.json: {error}")
    _read_metrics(contents)
    contents.latency = _records(contents, "latency", "latency/*.json", ("device",))
    contents.predictor = next(iter(_records(contents, "predictor", "predictor/predictor.json", ("quality",))), None)
    needed = ("name", "front", "evaluated", "constraints")
    contents.searches = _records(contents, "searches", "search/*.json", needed)
    contents.devices = _records(contents, "devices", "devices/*.json", ("name", "devices"))
    needed = ("name", "networks", "holdout_images", "rules")
    contents.ensembles = _records(contents, "ensembles", "ensembles/*.json", needed)
    needed = ("name", "networks", "part", "images", "top1", "latency_ms")
    contents.votes = _records(contents, "votes", "evaluate/ensembles/*.json", needed)
    contents.exports = _records(contents, "exports", "deploy/*.json", ("file", "name"))
    contents.tests = _records(contents, "tests", "evaluate/*.json", ("name", "arch", "top1", "images"))
    contents.finetuned = _records(contents, "finetuned", "finetune/*.json", ("arch",))
    return contents


def _records(contents: RunContents, kind: str, pattern: str, needed: tuple[str, ...]) -> list[Record]:
    """JSON objects of the files matching a pattern, oldest first; others are left out and noted."""
    found = []
    paths = [path for path in contents.folder.glob(pattern) if not path.name.startswith(".")]
    for path in sorted(paths, key=lambda path: (path.stat().st_mtime if path.exists() else 0, path.name)):
        name = str(path.relative_to(contents.folder))
        try:
            record = read_json(path)
        except (FileFormatError, OSError) as error:
            contents.leave_out(kind, name, str(error))
            continue
        missing = [key for key in needed if not isinstance(record, dict) or key not in record]
        if missing:
            contents.leave_out(kind, name, f"{name} has no {missing[0]!r}; left out")
        else:
            found.append(record | {"path": name})
    return found


def _read_metrics(contents: RunContents) -> None:
    path = contents.folder / "metrics.jsonl"
    if not path.is_file():
        return
    open_phase: tuple[str, int] | None = None
    last_step = 0
    broken = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            kind, step = record["kind"], int(record["step"])
            record |= {key: _number(record[key]) for key in _METRICS if record.get(key) is not None}
            if kind == "train":
                contents.train.append(record | {"loss": _number(record["loss"])})
            elif kind == "eval":
                contents.evaluations.append(record | {"top1": _number(record["top1"]), "label": str(record["label"])})
            elif kind == "corrupt_image":
                contents.corrupt.append(record)
            elif kind == "phase" and record["event"] == "start":
                if open_phase:
                    contents.phases.append((*open_phase, step))
                open_phase = (str(record["phase"]), step)
        except (ValueError, KeyError, TypeError):
            broken += 1
            continue
        last_step = max(last_step, step)
    if open_phase:
        contents.phases.append((*open_phase, last_step))
    if broken:
        contents.leave_out("train", "metrics.jsonl", f"metrics.jsonl: {broken} lines could not be read")


def _number(value: Any) -> float:
    """Raises ValueError or TypeError for what is no number."""
    if not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


def part_of(record: Record) -> str:
    """The part of the images in words; lines of training that do not say so are about the hold-out."""
    return PART_WORDS.get(str(record.get("part", "holdout")), "–")


def images_of(record: Record) -> int:
    """Number of images that an accuracy was measured on; 0 where the record does not say."""
    return record.get("images") or 0


def comparable(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """The records on most images of a part, and the others, whose accuracies do not compare with them."""
    most = max(map(images_of, records), default=0)
    return [one for one in records if images_of(one) == most], [one for one in records if images_of(one) < most]


def on_most_images(records: list[Record], *keys: str) -> list[Record]:
    """One record for each value of the keys: the one on most images, of equals the newest."""
    found: dict[str, Record] = {}
    for record in records:
        value = str([record.get(key) for key in keys])
        if value not in found or images_of(record) >= images_of(found[value]):
            found[value] = record
    return list(found.values())


def members_of(searches: list[Record], device: str | None = None) -> list[Record]:
    """Every network of some searches once; a measured record goes before a predicted one.

    With a device, latencies of others are left out.
    """
    found: dict[str, Record] = {}
    for search in sorted(searches, key=lambda search: search.get("device") == device):  # of the device: last
        other = {"latency_ms": None} if device is not None and search.get("device") != device else {}
        for member in [*search["evaluated"], *search["front"]]:
            if member.get("measured") or member["name"] not in found:
                found[member["name"]] = member | other
    return list(found.values())


def measured_front(members: list[Record], cost: str) -> list[Record]:
    """The members that are not dominated in top-1 and a cost, cheapest first; those without that cost are left out."""
    known = [member for member in members if member.get(cost) is not None]
    if not known:
        return []
    keep = non_dominated([(member[cost], -member["top1"]) for member in known])
    front = [member for member, kept in zip(known, keep, strict=True) if kept]
    return sorted(front, key=lambda member: member[cost])
