"""`ofa train`: start a run, or continue the one in the folder."""

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..run import DEFAULT_PARENT, Run
from ..settings import flatten
from ..train.config import TrainConfig, may_change
from .screen import console, is_main_process

if TYPE_CHECKING:
    from ..supernets import Supernet


def train(config: TrainConfig, given: Collection[str] | None = None) -> "Supernet":
    """Train a supernet in `config.run` (by default runs/<name>), or continue the run that is there.

    Args:
        config: the settings. On an existing run they must be those it was started with, `may_change` aside.
        given: the keys a user typed; the others then come from the run's config.yaml. None: all of `config` counts.

    Raises:
        RunError: the folder holds a run with other settings, or something that is no run.
        ConfigError, DataError, StorageError: see `onceforall.train.train`.
    """
    from ..train import train as train_supernet
    from .beginning import start_of

    run = Run(Path(config.run or DEFAULT_PARENT / config.name))
    if config.data.root is not None:  # later commands may be typed in another folder
        config = replace(config, data=replace(config.data, root=str(Path(config.data.root).absolute())))
    stored = run.read_config() if run.exists() else None
    if stored is not None:
        config = continued(run, config, given)
    start = start_of(config, check=stored is None)
    others: set[Path] = set()
    if stored is None and is_main_process():  # one process looks and writes: the others may already see its config
        _require_empty(run.folder)
        others = set(run.folder.iterdir()) if run.folder.exists() else set()
        run.write_config(config)
    out = console()
    if run.is_trained():
        if stored is not None and stored != config and is_main_process():
            if stored.data != config.data:
                run.load_data(config.data)  # they may have moved, but must be the images of the run
            run.write_config(config)
        out.print(f"{run.folder} has been trained already; see {run.supernet_path}.safetensors")
        return run.load_supernet()
    try:
        supernet = train_supernet(config, run.folder, start=start, console=out, ready=lambda: run.write_config(config))
    except BaseException as error:
        if stored is None and is_main_process() and _nothing_trained(run, error):
            _forget(run, others)  # the corrected command must not meet these settings again
        raise
    if start.arch is None:
        out.print(f"next: ofa evaluate run={run.folder}   ofa measure run={run.folder}   ofa search run={run.folder}")
    else:
        made = f"{run.finetune_path(start.arch.name)}.json"
        out.print(f"next: ofa export run={run.folder} arch={made} finetuned=true", soft_wrap=True)
    return supernet


def _nothing_trained(run: Run, error: BaseException) -> bool:
    """Whether nothing is there to go on with: stopped before the first step, or by an error before any checkpoint.

    Checkpoints follow lines about training; what was evaluated before the first step is soon evaluated again.
    """
    if not run.metrics_path.exists():
        return True
    lines = run.metrics_path.read_bytes().splitlines()
    trained = any(line.startswith(b'{"kind": "train"') for line in lines)
    return isinstance(error, Exception) and not trained


def _forget(run: Run, others: Collection[Path]) -> None:
    """Remove what a run that never began has left; `others`, which were there before, stay."""
    for path in (run.config_path, run.metrics_path):
        path.unlink(missing_ok=True)
    for folder in {run.folder / "checkpoint", run.folder / "tensorboard"} - set(others):
        shutil.rmtree(folder, ignore_errors=True)
    if not any(run.folder.iterdir()):
        run.folder.rmdir()


def _require_empty(folder: Path) -> None:
    """Raise RunError unless a new run can start in the folder; it may hold folders with other runs."""
    if folder.is_dir() and any(not any(entry.glob("**/config.yaml")) for entry in folder.iterdir()):
        raise RunError(f"{folder} holds files but no run (no config.yaml); choose another folder with run=FOLDER")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; choose another folder with run=FOLDER")


def continued(run: Run, config: TrainConfig, given: Collection[str] | None) -> TrainConfig:
    """The stored config of a run with the free keys of `config`. Raises RunError when other keys differ."""
    stored = run.read_config()
    before, now = flatten(stored), flatten(config)
    if given is not None and not set(given) - set(now):  # no preset was named: only what was typed counts
        now = {key: now[key] if key in given else before[key] for key in now}
    differing = [key for key in now if now[key] != before[key] and not may_change(key)]
    if differing:
        listed = ", ".join(f"{key}={_shown(before[key])} (not {_shown(now[key])})" for key in differing[:3])
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise RunError(
            f"{run.folder} was started with {listed}{more}; continue it with: ofa train run={run.folder}, "
            "or start another one with run=OTHER_FOLDER"
        )
    return _with_values(stored, {key: value for key, value in now.items() if may_change(key)})


def _with_values(config: Any, values: dict[str, Any]) -> Any:
    """A copy of a nested dataclass with dotted keys replaced."""
    changes: dict[str, Any] = {key: value for key, value in values.items() if "." not in key}
    for head in {key.partition(".")[0] for key in values if "." in key}:
        inner = {key.removeprefix(head + "."): value for key, value in values.items() if key.startswith(head + ".")}
        changes[head] = _with_values(getattr(config, head), inner)
    return replace(config, **changes)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
