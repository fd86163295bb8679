"""metrics.jsonl and TensorBoard files of a run."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import StorageError
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
        self._file = self.path.open("ab")
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step or None)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one line. Raises StorageError when the disk is full."""
        if self._file is None:
            return
        line = json.dumps({"kind": kind, "step": step, **values}, allow_nan=False)
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {error.strerror or error}; free some space and run the command again, "
                "training continues from the newest checkpoint"
            ) from error
        if self._board is not None:
            prefix = f"{kind}/{values['label']}" if "label" in values else kind
            for name in _SCALARS:
                if name in values:
                    self._board.add_scalar(f"{prefix}/{name}", values[name], step)

    def sync(self) -> int:
        """Force all lines onto the disk and return their total size in bytes."""
        if self._file is None:
            return 0
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
