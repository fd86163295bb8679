"""`ofa evaluate`: accuracy of sub-networks, each calibrated first."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import ConfigError
from ..files import write_json
from ..run import Run
from . import members
from .arch_argument import MEANING, parse_archs, split_archs
from .screen import console, percent, table


@dataclass
class EvaluateConfig:
    """What to evaluate, and on which images."""

    run: str | None = field(default=None, metadata={"help": "folder of a trained run"})
    arch: str = field(default="largest", metadata={"help": f"{MEANING}; front; several with commas"})
    part: str = field(default="test", metadata={"help": "test, or holdout: the images that networks are chosen by"})
    images: int | None = field(default=None, metadata={"help": "at most so many images, class-balanced; null: all"})
    calibration_images: int = field(
        default=2000, metadata={"help": "training images, without labels, that batch-norm statistics are taken from"}
    )
    batch_size: int = field(default=200, metadata={"help": "images per batch"})
    device: str = field(default="auto", metadata={"help": "cpu, cuda, cuda:1, ...; auto: a GPU when there is one"})
    latency: str | None = field(
        default=None, metadata={"help": "device whose latency is shown; null: the newest measured"}
    )


def evaluate(config: EvaluateConfig) -> list[dict[str, Any]]:
    """Evaluate sub-networks of a run; prints a table and writes evaluate/<network>-<part>.json for each.

    Returns:
        One dict per network: name, arch, top1 and top5 (0 to 1), top1_error, loss, images, and its costs.

    Raises:
        RunError, ConfigError, InvalidArch, DataError.
    """
    if config.part not in ("test", "holdout"):
        raise ConfigError(f"part={config.part}: use test or holdout")
    run = Run.open(config.run)
    space = run.space()
    archs = parse_archs(split_archs(config.arch), space, run)

    from ..train import evaluate_archs, resolve_device

    source = run.load_data()
    latency = run.load_latency(config.latency) if config.latency else run.newest_latency()
    supernet = run.load_supernet()
    out = console()
    with out.status(f"evaluating {len(archs)} networks"):
        evaluations = evaluate_archs(
            supernet,
            archs,
            source,
            part=config.part,
            calibration_images=config.calibration_images,
            batch_size=config.batch_size,
            device=resolve_device(config.device),
            limit=config.images,
            workers=run.read_config().data.workers,
        )
    results = [
        members.with_accuracy(member, found)
        | {key: value for key, value in asdict(found).items() if key in ("top5", "loss", "images")}
        | {"part": config.part, "calibration_images": config.calibration_images}
        for member, found in zip(members.describe(space, archs, latency), evaluations, strict=True)
    ]
    for result in results:
        write_json(run.evaluate_path(f"{result['name']}-{config.part}"), result)
    columns = (*members.COLUMNS[:2], "top-5", "loss", *members.COLUMNS[2:])
    ends = {space.smallest.name: "smallest", space.largest.name: "largest"}
    rows = [members.row(result, ends.get(result["name"], "")) for result in results]
    cells = [
        (*row[:2], percent(result["top5"]), f"{result['loss']:.3f}", *row[2:])
        for row, result in zip(rows, results, strict=True)
    ]
    images = results[0]["images"]
    out.print(table(f"{run.folder}: {config.part}, {images:,} images of {source.name}", columns, cells))
    out.print(f"batch norm calibrated on {config.calibration_images:,} training images; ± is one standard error")
    return results
