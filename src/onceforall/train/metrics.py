"""metrics.jsonl and TensorBoard files of a run."""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import RunError, StorageError
from ..files import atomic_path

_SCALARS = ("loss", "learning_rate", "resolution", "images_per_second", "top1", "top5")


class MetricsLog:
    """Appends one JSON object a line to `run`/metrics.jsonl, and its numbers to `run`/tensorboard.

    Args:
        run: the run folder; None for processes that do not write.
        keep_bytes: how much of an existing metrics.jsonl is kept: what was there when the checkpoint that training
            continues from was written. Anything later is about steps that are now done again.
        step: completed steps at that time.
        tensorboard: also write TensorBoard files.
    """

    def __init__(self, run: Path | None, *, keep_bytes: int = 0, step: int = 0, tensorboard: bool = True) -> None:
        self._file = self._board = None
        if run is None:
            return
        self.path = run / "metrics.jsonl"
        kept = self.path.read_bytes()[:keep_bytes] if self.path.exists() else b""
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(kept[: kept.rfind(b"\n") + 1])  # after a power cut even an old line may be half there
        with self._explained():
            self._file = self.path.open("ab")
            if tensorboard:
                self._board = _Board(run / "tensorboard", step)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the files; an error that is already on its way is not replaced by one about closing."""
        with contextlib.suppress(StorageError) if kind else contextlib.nullcontext():
            self.close()

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one line. Raises StorageError when the disk is full, RunError for a value that is not a number."""
        if self._file is None:
            return
        if lost := [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]:
            raise RunError(
                f"{kind} after step {step}: {lost[0]} is {values[lost[0]]}, training diverged; start a new run with a "
                "lower learning rate"
            )
        line = json.dumps({"kind": kind, "step": step, **values}, allow_nan=False)
        with self._explained():
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            if self._board is not None:
                prefix = f"{kind}/{values['label']}" if "label" in values else kind
                self._board.add(step, {f"{prefix}/{name}": values[name] for name in _SCALARS if name in values})

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """All lines of one kind so far; none in processes that do not write."""
        if self._file is None:
            return []
        found = (json.loads(line) for line in self.path.read_bytes().splitlines())
        return [line for line in found if line["kind"] == kind]

    def sync(self) -> int:
        """Force all lines onto the disk and return their total size in bytes. Raises StorageError."""
        if self._file is None:
            return 0
        with self._explained():
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the files. Raises StorageError when the last lines do not fit on the disk."""
        with self._explained(), contextlib.ExitStack() as files:
            for file in (self._file, self._board):
                if file is not None:
                    files.callback(file.close)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What the operating system refuses, in one line with the remedy."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write the logs in {self.path.parent}: {error.strerror or error}; free some space and run the "
                "command again, training continues from the newest checkpoint"
            ) from error


class _Board:
    """A TensorBoard event file, written at once and here: the usual writer loses errors in a thread of its own.

    Args:
        folder: of the event files.
        step: events of earlier files after this step no longer count; 0: there are none.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{time.time_ns() / 1e9:020.9f}.{os.getpid()}").open("wb")
        self._records = RecordWriter(self._file)
        self._event(file_version="brain.Event:2")
        if step:
            self._event(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Write numbers by tag."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        if scalars:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
            self._event(step=step, summary=Summary(value=values))

    def close(self) -> None:
        self._file.close()

    def _event(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self._records.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._file.flush()
