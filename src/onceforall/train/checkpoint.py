"""Checkpoints: complete folders, the newest of which continues a run after any interruption."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..errors import FileFormatError, RunError, StorageError
from ..files import atomic_path

FORMAT = 1
KEPT = 2  # the newest, and one more in case a disk damages it
_DESCRIPTION = "checkpoint.json"


@dataclass
class Checkpoint:
    """Everything a run needs to go on after `step` completed steps.

    Attributes:
        step: completed steps.
        parts: groups of tensors by name, for instance "supernet" and "optimizer"; one file each.
        metadata: what identifies the run and how far its logs reach; JSON values.
    """

    step: int
    parts: dict[str, dict[str, Tensor]]
    metadata: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder`/step_XXXXXXXX as a whole, then remove all but the newest two.

    Raises:
        StorageError: the disk is full or not writable; earlier checkpoints are intact.
    """
    target = folder / f"step_{checkpoint.step:08d}"
    if target.exists():  # a damaged one that was passed over when the run continued
        _remove(target)
    with atomic_path(target) as temporary:
        temporary.mkdir()
        files = {}
        for name, tensors in checkpoint.parts.items():
            # Serialised in memory and written by Python: a full disk is then an OSError with a reason.
            content = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
            (temporary / f"{name}.safetensors").write_bytes(content)
            files[name] = hashlib.sha256(content).hexdigest()
        description = {"format": FORMAT, "step": checkpoint.step, "sha256": files, "metadata": checkpoint.metadata}
        (temporary / _DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")
    for old in _candidates(folder)[KEPT:]:
        _remove(old)
    return target


def load_newest_checkpoint(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, or None when there is none at all.

    A damaged one is named through `warn`, and the next older one is taken.

    Raises:
        RunError: there are checkpoints, but all are damaged.
    """
    candidates = _candidates(folder)
    for candidate in candidates:
        try:
            return _load(candidate)
        except FileFormatError as error:
            warn(f"{error}; trying an older checkpoint")
    if candidates:
        raise RunError(f"all checkpoints in {folder} are damaged; remove that folder to train from the start")
    return None


def _load(folder: Path) -> Checkpoint:
    try:
        description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise FileFormatError(f"checkpoint {folder} has format {description['format']}, not {FORMAT}")
        parts = {}
        for name, digest in description["sha256"].items():
            content = (folder / f"{name}.safetensors").read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise FileFormatError(f"checkpoint {folder} is damaged: {name}.safetensors is not what was written")
            parts[name] = load(content)
        return Checkpoint(description["step"], parts, description["metadata"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"checkpoint {folder} is damaged: {error}") from error


def _candidates(folder: Path) -> list[Path]:
    """All checkpoint folders, newest first."""
    return sorted((path for path in folder.glob("step_*") if path.is_dir()), reverse=True)


def _remove(folder: Path) -> None:
    # Renamed first, so that a kill in between never leaves a half-removed folder under a valid name.
    doomed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run's checkpoint folder for this process alone, and clear away what an interrupted write left.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        RunError: another process is training in this run folder. StorageError: the folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}; choose another run folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another process is training in {folder.parent}; wait for it, or choose another run"
            ) from error
        for leftover in folder.glob(".step_*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def check_same_run(run: Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise RunError, naming what differs, unless a checkpoint's settings are those of this command."""
    absent = "nothing"
    keys = [*saved, *(key for key in now if key not in saved)]
    differing = [key for key in keys if saved.get(key, absent) != now.get(key, absent)]
    if differing:
        listed = ", ".join(
            f"{k}={_short(saved.get(k, absent))} (now {_short(now.get(k, absent))})" for k in differing[:4]
        )
        more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise RunError(
            f"{run} holds a run with {listed}{more}; continue it with its own settings, or choose another run folder"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def to_device(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The same tensors on `device`."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}
