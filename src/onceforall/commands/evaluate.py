"""`ofa evaluate`: accuracy of sub-networks, of a run or of any checkpoint, each calibrated first."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..configuration import check_least
from ..data.config import DataConfig
from ..errors import ConfigError
from ..files import write_json
from ..run import Run
from ..settings import setting
from . import members
from .arch_argument import MEANING, all_archs, parse_archs, split_archs
from .checkpoint_argument import MEANING as CHECKPOINT_MEANING
from .ensemble_argument import MEANING as ENSEMBLE_MEANING
from .finetune_each import check_finetune, finetune_each
from .screen import console, percent, table

if TYPE_CHECKING:
    from ..cost import LatencyModel
    from ..data import DataSource
    from ..space import Arch
    from ..supernets import Supernet
    from ..train import World
    from ..train.evaluate import Part


@dataclass
class EvaluateConfig:
    """What to evaluate, and on which images."""

    run: str | None = setting(None, "folder of a trained run")
    arch: str = setting("largest", f"{MEANING}; front; several with commas")
    all: bool = setting(False, "every network of a small space, in place of arch")
    ensemble: str | None = setting(None, f"in place of arch: {ENSEMBLE_MEANING}")
    part: str = setting("test", "test, or holdout: the images that networks are chosen by")
    images: int | None = setting(None, "at most so many images, class-balanced; null: all")
    calibration_images: int = setting(
        2000,
        "training images, without labels, that batch-norm statistics are taken from; 0: the statistics of the weights",
    )
    batch_size: int = setting(200, "images per batch")
    device: str = setting("auto", "cpu, cuda, cuda:1, ...; auto: a GPU when there is one")
    latency: str | None = setting(None, "device whose latency is shown; null: the newest measured")
    checkpoint: str | None = setting(None, CHECKPOINT_MEANING)
    space: str = setting("mbv3_w1.0", "checkpoint: its search space, unless it is one of our files")
    resolution: int | None = setting(None, "checkpoint: image side in pixels in place of that of arch")
    seed: int = setting(0, "which images calibrate and which `images` keeps; random weights")
    finetune_epochs: float | None = setting(
        None, "run: also train every network alone for so many epochs, and show its accuracy after; null: do not"
    )
    finetune_learning_rate: float | None = setting(
        None, "of finetune_epochs: from the first step on, whatever the batch; null: a tenth of the run's, rising first"
    )
    out: str | None = setting(None, "JSON file for the results; null: the run's evaluate/, none for a checkpoint")
    data: DataConfig = field(default_factory=DataConfig)


@dataclass(frozen=True)
class Subject:
    """What is evaluated on what, and how it is called."""

    supernet: "Supernet"
    archs: "Sequence[Arch]"
    source: "DataSource"
    workers: int
    title: str
    note: str
    latency: "LatencyModel | None" = None


def evaluate(config: EvaluateConfig) -> list[dict[str, Any]]:
    """Evaluate sub-networks of a run, or of a checkpoint; prints a table.

    Under torchrun or mpirun the processes share out the images, and the numbers are those of one process. With a run,
    evaluate/<network>-<part>.json is written for each network; where `images` leaves some out, their number is in its
    name, so that what was measured on all of them stays.

    Returns:
        One dict per network: name, arch, top1 and top5 (0 to 1), top1_error, loss, images, and its costs. For an
        ensemble see `evaluate_ensemble`.

    Raises:
        RunError, ConfigError, InvalidArch, DataError, FileFormatError.
    """
    _check(config)
    if config.ensemble is not None:
        from .evaluate_ensemble import evaluate_ensemble

        return evaluate_ensemble(config)

    from ..train import init_distributed, resolve_device

    with contextlib.closing(init_distributed(config.device)) as world:
        check_finetune(config, world.size)
        device = resolve_device(config.device, world)
        subject = _of_run(config) if config.checkpoint is None else _of_checkpoint(config)
        results = _measure(config, subject, world, device)
        if config.finetune_epochs is not None:
            _write(config, subject.source, results)  # fine-tuning takes long; what is known already is kept
            results = _with_finetuned(config, subject, results, device)
        if world.is_main:
            _write(config, subject.source, results)
            _print(config, subject, results)
    return results


def _check(config: EvaluateConfig) -> None:
    if config.part not in ("test", "holdout"):
        raise ConfigError(f"part={config.part}: use test or holdout")
    check_least(config, batch_size=1, images=1, resolution=8, calibration_images=0, seed=0)
    if config.checkpoint is None:
        own = config.data != DataConfig() or config.resolution is not None or config.space != EvaluateConfig.space
        if config.run is not None and own:
            raise ConfigError(
                "a run has its own images, space and resolutions; leave data, space and resolution out, or use "
                "checkpoint="
            )
    elif config.run is not None or config.latency is not None or config.part != "test":
        raise ConfigError("checkpoint= is evaluated without a run: leave out run, latency and part")


def _of_run(config: EvaluateConfig) -> Subject:
    run = Run.open(config.run)
    space = run.space()
    archs = all_archs(space) if config.all else parse_archs(split_archs(config.arch), space, run)
    source = run.load_data()
    latency = run.load_latency(config.latency) if config.latency else run.newest_latency()
    return Subject(run.load_supernet(), archs, source, run.read_config().data.workers, str(run.folder), "", latency)


def _of_checkpoint(config: EvaluateConfig) -> Subject:
    from ..data import load_data
    from .checkpoint_argument import load_subject

    source = load_data(config.data, training=False)
    supernet, archs, note = load_subject(config, source)
    if source.digests["train"] == source.digests["test"]:
        note += "; without a test part these are the training images"
    return Subject(supernet, archs, source, config.data.workers, supernet.space.name, note)


def _measure(config: EvaluateConfig, subject: Subject, world: "World", device: Any) -> list[dict[str, Any]]:
    from ..interop.mmrazor import mmrazor_flops
    from ..train import evaluate_archs

    space, archs = subject.supernet.space, subject.archs
    with console().status(f"evaluating {len(archs)} networks"):
        evaluations = evaluate_archs(
            subject.supernet,
            archs,
            subject.source,
            part=cast("Part", config.part),
            calibration_images=config.calibration_images,
            batch_size=config.batch_size,
            device=device,
            limit=config.images,
            seed=config.seed,
            workers=subject.workers,
            world=world,
        )
    described = members.describe(space, archs, subject.latency)
    return [
        members.with_accuracy(member, found)
        | {key: value for key, value in asdict(found).items() if key in ("top5", "loss", "images")}
        | {"part": config.part, "calibration_images": config.calibration_images, "mmrazor_flops": int(flops)}
        for member, found, flops in zip(described, evaluations, mmrazor_flops(space, archs), strict=True)
    ]


def _with_finetuned(
    config: EvaluateConfig, subject: Subject, results: list[dict[str, Any]], device: Any
) -> list[dict[str, Any]]:
    with console().status("fine-tuning") as status:
        found = finetune_each(config, subject, device, status.update)
    return [
        result
        | {"finetune_epochs": config.finetune_epochs}
        | {"finetuned_top1": after.top1, "finetuned_top1_error": after.top1_error}
        for result, after in zip(results, found, strict=True)
    ]


def part_label(config: EvaluateConfig, source: "DataSource") -> str:
    """The part in the name of a result: test or, where `images` leaves some out, test-50."""
    from ..train.evaluate import part_of

    whole = len(part_of(source, cast("Part", config.part)))
    return config.part if config.images is None or config.images >= whole else f"{config.part}-{config.images}"


def _write(config: EvaluateConfig, source: "DataSource", results: list[dict[str, Any]]) -> None:
    if config.out is not None:
        write_json(config.out, results)
    elif config.run is not None:
        run, part = Run(Path(config.run)), part_label(config, source)
        for result in results:
            write_json(run.evaluate_path(f"{result['name']}-{part}"), result)


def _print(config: EvaluateConfig, subject: Subject, results: list[dict[str, Any]]) -> None:
    space, source = subject.supernet.space, subject.source
    ends = {space.smallest.name: "smallest", space.largest.name: "largest"}
    columns, rows = [*members.COLUMNS[:2], "top-5", "loss"], []
    if config.finetune_epochs is not None:
        columns.insert(2, "fine-tuned")
    for result in results:
        note = members.short_form(space, result) or ends.get(result["name"], "")
        name, accuracy, *costs = members.row(result, note)
        if config.all:  # networks of a small space can be close
            costs[1] = f"{result['macs'] / 1e6:.2f} M"
        if config.checkpoint is not None:
            counts = (result["params"], result["macs"], result["mmrazor_flops"])
            costs = [*(f"{count / 1e6:.2f} M" for count in counts), *costs[-2:]]
        measured = [accuracy, percent(result["top5"]), f"{result['loss']:.3f}"]
        if config.finetune_epochs is not None:
            measured.insert(1, percent(result["finetuned_top1"], result["finetuned_top1_error"]))
        rows.append((name, *measured, *costs))
    costs = members.COLUMNS[2:]
    if config.checkpoint is not None:
        costs = ("parameters", "MACs", "flops of MMRazor", *costs[-2:])
    out = console()
    images = f"{results[0]['images']:,} images of {source.name}"
    out.print(table(f"{subject.title}: {config.part}, {images}", (*columns, *costs), rows))
    if config.calibration_images:
        used = min(config.calibration_images, len(source.train))
        calibrated = f"batch norm calibrated on {used:,} training images"
    else:
        calibrated = "batch norm as the weights have it"
    if config.finetune_epochs is not None:
        calibrated += f"; fine-tuned for {config.finetune_epochs:g} epochs each"
    out.print(f"{calibrated}; ± is one standard error" + (f"; {subject.note}" if subject.note else ""), soft_wrap=True)
