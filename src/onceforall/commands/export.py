"""`ofa export`: sub-networks as files that other programs run, checked on real images."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..configuration import check_least
from ..errors import ConfigError, RunError
from ..files import read_json, write_json
from ..run import Run, check_file_name
from ..settings import setting
from ..space import Arch
from .arch_argument import MEANING, parse_archs, split_archs
from .ensemble_argument import MEANING as ENSEMBLE_MEANING
from .screen import amount, console, milliseconds, percent, table

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..data import DataSource

FORMATS = ("onnx",)


@dataclass
class ExportConfig:
    """What to export, and how it is checked."""

    run: str | None = setting(None, "folder of a trained run")
    arch: str = setting("chosen", f"{MEANING}; front; several with commas")
    ensemble: str | None = setting(None, f"in place of arch: {ENSEMBLE_MEANING}")
    together: bool | None = setting(
        None,
        "with ensemble: true: one file that averages its members; false: one file per member, to run side by side; "
        "null: one file for summed ones, several for maximal ones",
    )
    format: str = setting("onnx", f"file format: {', '.join(FORMATS)}")
    name: str | None = setting(None, "file name without ending, for one network or ensemble; null: its own name")
    finetuned: bool = setting(False, "export the weights that `ofa finetune` left for this network")
    images: int = setting(256, "test images (hold-out without a test part) the file is compared on with its network")
    calibration_images: int = setting(
        2000,
        "training images that batch-norm statistics are taken from; 0: the statistics of the weights; "
        "an ensemble keeps those it was chosen with",
    )
    batch_size: int = setting(200, "images per batch of calibration")
    measure: bool = setting(
        True, "time each file on this machine, one thread, batch 1 (an ensemble: as its device was measured)"
    )


def export(config: ExportConfig) -> list[dict[str, Any]]:
    """Export sub-networks of a run with calibrated statistics; writes deploy/<name>.onnx and a .json record beside it.

    With `ensemble`, networks that vote: see `export_ensemble`.

    Returns:
        The records: file, arch, classes, normalisation, agreement with the network it came from, latency.

    Raises:
        ExportError: the file does not agree with the network; nothing is left behind.
        RunError, ConfigError, InvalidArch, DataError, StorageError.
    """
    if config.format not in FORMATS:
        raise ConfigError(f"format={config.format}: use {' or '.join(FORMATS)}")
    check_least(config, images=1, calibration_images=0, batch_size=1)
    if config.ensemble is not None:
        from .export_ensemble import export_ensemble

        return [export_ensemble(config)]
    if config.together is not None:
        raise ConfigError(f"together={str(config.together).lower()} belongs to ensemble=NAME")
    run = Run.open(config.run)
    archs = parse_archs(split_archs(config.arch), run.space(), run)
    if config.name:
        check_file_name(config.name)
    if config.name and len(archs) > 1:
        raise ConfigError(f"name={config.name}: {len(archs)} networks cannot share one name; leave it out")
    source = run.load_data()
    described = run.description()
    out = console()
    records = []
    for arch in archs:
        name = config.name or arch.name + ("-finetuned" if config.finetuned else "")
        with out.status(f"exporting {name}"):
            records.append(_export_one(run, arch, name, source, described, config))
    rows = [
        (
            record["name"],
            record["file"],
            amount(record["bytes"]),
            milliseconds(record.get("latency_ms")),
            f"{record['max_abs_difference']:.1e}",
            percent(record["top1_agreement"]),
        )
        for record in records
    ]
    compared = f"compared on {records[0]['images_compared']} images"
    columns = ("network", "file", "size", "latency", "largest difference", "same class")
    out.print(table(f"{run.folder / 'deploy'}: {compared}", columns, rows))
    return records


def _export_one(
    run: Run, arch: Arch, name: str, source: "DataSource", described: dict[str, Any], config: ExportConfig
) -> dict[str, Any]:
    from ..data import PLAIN
    from ..deploy import export_onnx

    path = run.deploy_path(name, ".onnx")
    export_onnx(
        _network(run, arch, source, config),
        path,
        resolution=arch.resolution,
        in_chans=described["in_chans"],
        classes=described["classes"],
        mean=described["mean"],
        std=described["std"],
        test_transform=source.test.test_transform,
        arch=arch.to_dict(),
        name=name,
        verify_images=test_images(source, arch.resolution, config.images, PLAIN),
    )
    record_path = path.with_suffix(".json")
    record = read_json(record_path) | {"finetuned": config.finetuned}
    if config.measure:
        from ..cost import measure_latency

        record["latency_ms"] = measure_latency(path).estimate_ms
    write_json(record_path, record)
    return record


def _network(run: Run, arch: Arch, source: "DataSource", config: ExportConfig) -> "nn.Module":
    """The plain network with its final weights and statistics: those that `ofa evaluate` measures it with."""
    from ..train.evaluate import calibrated_network

    if config.finetuned:
        from ..train.finetune import load_finetuned

        path = run.finetune_path(arch.name)
        if not path.with_name(path.name + ".json").is_file():
            raise RunError(
                f"{arch.name} has not been fine-tuned; do it with: ofa finetune run={run.folder} arch={arch.name}"
            )
        return load_finetuned(path)[0]
    return calibrated_network(
        run.load_supernet(),
        arch,
        source,
        calibration_images=config.calibration_images,
        batch_size=config.batch_size,
        workers=run.read_config().data.workers,
    )


def test_images(source: "DataSource", resolution: int, count: int, view: str) -> "torch.Tensor":
    """The first test images, or hold-out images where there is no test part, as the network sees them, (n, C, H, W)."""
    import numpy as np
    import torch

    from ..data import VIEWS, eval_batches

    part = source.test if len(source.test) else source.holdout
    part = part.subset(np.arange(min(count, len(part))))
    part = VIEWS[view].cut_from(part)
    batches = eval_batches(
        part, resolution=resolution, batch_size=len(part), mean=source.mean, std=source.std, device="cpu", workers=0
    )
    return VIEWS[view].turned(torch.cat([images for images, _ in islice(batches, 1)]))
