"""`ofa finetune`: one chosen sub-network, trained a little longer as an ordinary network."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..run import Run
from ..settings import setting
from ..train.config import FinetuneConfig
from . import members
from .arch_argument import MEANING, parse_arch
from .screen import console, table

if TYPE_CHECKING:
    from ..space import Arch, SearchSpace
    from ..train import FinetuneResult


@dataclass
class FinetuneCommandConfig(FinetuneConfig):
    """Which sub-network of which run, and how it is trained."""

    run: str | None = setting(None, "folder of a trained run")
    arch: str = setting("chosen", MEANING)
    device: str = setting("auto", "cpu, cuda, cuda:1, ...; auto: a GPU when there is one")


def finetune(config: FinetuneCommandConfig) -> "FinetuneResult":
    """Fine-tune one sub-network of a run; prints hold-out accuracy before and after, test accuracy, writes finetune/.

    Raises:
        RunError, ConfigError, InvalidArch, DataError, StorageError.
    """
    from ..train import resolve_device
    from ..train.finetune import finetune as finetune_network

    run = Run.open(config.run)
    space = run.space()
    arch = parse_arch(config.arch, space, run)
    source = run.load_data()
    supernet = run.load_supernet()
    out = console()
    doing = f"fine-tuning {arch.name}"
    with out.status(doing) as status:
        result = finetune_network(
            supernet,
            arch,
            source,
            config,
            device=resolve_device(config.device),
            progress=lambda done, total, loss: status.update(f"{doing}: {done} of {total}, loss {loss:.3f}"),
        )
    path = save_result(run, space, arch, result, config)
    (member,) = members.describe(space, [arch], run.newest_latency())
    rows = [
        members.row(members.with_accuracy(member, found), label)
        for label, found in (
            ("before, hold-out", result.before),
            ("after, hold-out", result.after),
            ("after, test", result.test),
        )
        if found is not None
    ]
    out.print(table(f"{run.folder}: {arch.name}, {config.epochs:g} epochs", members.COLUMNS, rows))
    out.print(f"written: {path}.safetensors and .json")
    out.print(f"next: ofa export run={run.folder} arch={arch.name} finetuned=true")
    return result


def save_result(run: Run, space: "SearchSpace", arch: "Arch", result: "FinetuneResult", config: FinetuneConfig) -> Path:
    """Keep a fine-tuned network in the run; returns its path without suffix. Raises StorageError."""
    from ..train.finetune import save_finetuned

    described = run.description()
    path = run.finetune_path(arch.name)
    kept = {key: described[key] for key in ("classes", "mean", "std", "in_chans")}
    measured = {
        label: None if found is None else {key: value for key, value in asdict(found).items() if key != "arch"}
        for label, found in (("before", result.before), ("after", result.after), ("test", result.test))
    }
    trained = {"epochs": config.epochs, "batch_size": config.batch_size, "seed": config.seed, "distill": config.distill}
    save_finetuned(result.network, path, space, arch, {**kept, "name": arch.name, **measured, "finetune": trained})
    return path
