"""Files that are either whole or not there: everything the package writes goes through here."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import FileFormatError, StorageError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on any error it vanishes.

    The temporary may be written as a file or made into a folder (`mkdir`). An existing file at `path` is replaced in
    one step; an existing folder is not replaced (choose a new name for folders).

    Raises:
        StorageError: the disk is full or the place is not writable; an earlier `path` is left as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; check the folder and free space"
        ) from error
    try:
        temporary = scratch / path.name
        yield temporary
        for written in [*temporary.rglob("*"), temporary]:
            _sync(written)  # content first: after a power cut a renamed file must never be empty
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; what was there before is unchanged. "
            "Free some space or choose another folder, then run the command again"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def tensor_pair(path: str | Path) -> tuple[Path, Path]:
    """Tensors and their description: `path`.safetensors and `path`.json, with or without one of these suffixes."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in {".safetensors", ".json"} else path
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def _sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically. Raises ValueError for NaN or infinity."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises FileFormatError, naming the file, when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a JSON file ({error}); it may be truncated") from error
