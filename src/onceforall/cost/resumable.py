"""Many measurements side by side, kept on disk after every round so that a stopped run goes on where it was."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..files import read_json, write_text
from .measure import Latency, Timing, describe_machine, timed_rounds

_MOST_TOGETHER = 500  # files in one process: all of them are loaded at once


@dataclass(frozen=True)
class Task:
    """One thing to time: a name that tells it from all others, and how to write its ONNX file."""

    key: str
    write: Callable[[Path], None]


class RoundStore:
    """Milliseconds of every run, per task and round, in one JSON file.

    A file that was measured on another machine or in another way is replaced, not mixed in.

    Attributes:
        rounds: per task key the rounds so far, each a list of milliseconds.
    """

    def __init__(self, path: Path, timing: Timing) -> None:
        self._path = path
        how = {name: value for name, value in asdict(timing).items() if name not in ("rounds", "patience_s")}
        self._origin: dict[str, Any] = {"machine": describe_machine(), "timing": how}
        self.rounds: dict[str, list[list[float]]] = {}
        try:
            kept = read_json(path)
        except FileFormatError:
            return  # nothing there yet, or not a whole file: everything is measured
        if kept.get("origin") == self._origin:
            self.rounds = kept["rounds_ms"]

    def add_round(self, samples: dict[str, list[float]]) -> None:
        """Keep one round of several tasks. Raises StorageError."""
        for key, milliseconds in samples.items():
            self.rounds.setdefault(key, []).append([round(value, 5) for value in milliseconds])
        write_text(self._path, json.dumps({"origin": self._origin, "rounds_ms": self.rounds}))

    def latency(self, key: str) -> Latency:
        """Latency of a task that was measured."""
        return Latency.from_rounds(self.rounds[key])


def measure_tasks(
    tasks: Iterable[Task],
    timing: Timing,
    store: RoundStore,
    folder: Path,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Time all tasks that `store` does not hold in full; equal keys are measured once.

    Args:
        folder: where ONNX files may be written.
        seed: of the order inside the rounds.
        progress: called with rounds done and rounds in all.

    Raises:
        MeasurementError: the runtime failed; the rounds before are in the store.
    """
    unique = {task.key: task for task in tasks}
    todo = [task for task in unique.values() if len(store.rounds.get(task.key, ())) < timing.rounds]
    groups = [todo[start : start + _MOST_TOGETHER] for start in range(0, len(todo), _MOST_TOGETHER)]
    done, total = 0, timing.rounds * len(groups)
    for number, group in enumerate(groups):
        paths = [folder / f"group{number}_{index}.onnx" for index in range(len(group))]
        for task, path in zip(group, paths, strict=True):
            task.write(path)
        left = [timing.rounds - len(store.rounds.get(task.key, ())) for task in group]
        done += timing.rounds - max(left)
        for samples in timed_rounds(paths, timing, rounds=left, seed=seed):
            store.add_round({group[index].key: milliseconds for index, milliseconds in samples.items()})
            done += 1
            if progress:
                progress(done, total)
        for path in paths:
            path.unlink()
