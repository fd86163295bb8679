"""`ofa measure`: a latency model of this machine for the space of a run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..configuration import check_least
from ..run import Run, check_file_name
from ..settings import setting
from .screen import console, milliseconds, percent, table

if TYPE_CHECKING:
    from ..cost import LatencyModel


@dataclass
class MeasureConfig:
    """What to measure, and how carefully."""

    run: str | None = setting(None, "folder of a trained run")
    device: str = setting("onnxruntime", "runtime to measure")
    name: str | None = setting(None, "what the device is called from now on; null: as `device`")
    threads: int = setting(1, "threads of the runtime")
    batch: int = setting(1, "images at a time; latencies are milliseconds per batch")
    resolutions: list[int] | None = setting(
        None, "image sides in pixels to measure; a search for this device looks at no others; null: all of the space"
    )
    calibration_networks: int = setting(
        5, "whole networks that the correction of the table is fitted on; 0: no correction"
    )
    validation_networks: int = setting(10, "whole networks held back to check the model")
    rounds: int = setting(10, "how often every part and network has its turn, 2 or more")
    warmup: int = setting(3, "runs after loading that do not count")
    repeats: int = setting(5, "least number of timed runs in a turn")
    seed: int = setting(0, "decides the networks and the order of measuring")


def measure(config: MeasureConfig) -> "LatencyModel":
    """Measure parts and whole networks; prints the model's quality, writes latency/<name>.json and .csv.

    An interrupted measurement goes on where it stopped.

    Raises:
        RunError, ConfigError, MeasurementError, StorageError.
    """
    from ..cost import Timing, build_latency_model

    check_least(config, calibration_networks=0, validation_networks=0, seed=0)
    run = Run.open(config.run)
    name = config.name or config.device
    check_file_name(name)
    out = console()
    path = run.latency_path(name)
    work = path.with_name(f".{name}.parts")
    with out.status(f"measuring on {config.device}") as status:
        model = build_latency_model(
            run.space(),
            config.device,
            threads=config.threads,
            batch=config.batch,
            resolutions=config.resolutions,
            calibration_networks=config.calibration_networks,
            validation_networks=config.validation_networks,
            seed=config.seed,
            timing=Timing(rounds=config.rounds, warmup=config.warmup, repeats=config.repeats),
            progress=lambda done, total: status.update(f"measuring on {config.device}: round {done} of {total}"),
            work_dir=work,
        )
    model = replace(model, device=name)
    model.save(path)
    _remove_parts(work)
    _show(model, run, config)
    return model


def _remove_parts(work: Path) -> None:
    """The model is whole: the raw rounds that an interrupted measurement would go on from are done with."""
    import shutil

    shutil.rmtree(work, ignore_errors=True)


def _show(model: "LatencyModel", run: Run, config: MeasureConfig) -> None:
    out = console()
    compared = [("fit", network) for network in model.calibration]
    if model.validation:
        compared += [("held back", network) for network in model.validation.networks]
    rows = [
        (
            network.arch.name,
            milliseconds(network.measured_ms),
            milliseconds(network.predicted_ms),
            f"{100 * (network.predicted_ms / network.measured_ms - 1):+.1f} %",
            role,
        )
        for role, network in sorted(compared, key=lambda pair: pair[1].measured_ms)
    ]
    machine = model.machine
    out.print(
        table(
            f"{model.device}: {model.runtime}, {model.threads} thread(s), batch {model.batch}, {machine['processor']}",
            ("network", "measured", "predicted", "difference", "used to"),
            rows,
        )
    )
    out.print(f"latency = {model.scale:.3f} x table of {len(model.entries)} parts {model.offset_ms:+.3f} ms")
    if model.validation:
        checked = model.validation
        tau = "-" if checked.kendall_tau is None else f"{checked.kendall_tau:.2f}"
        by_macs = "" if checked.macs_mape is None else f"by MACs alone {percent(checked.macs_mape)}; "
        out.print(
            f"on {len(checked.networks)} held-back networks: mean error {percent(checked.mape)}, Kendall tau {tau} "
            f"({by_macs}measuring twice differs by {percent(checked.repeatability)})"
        )
    out.print(f"one number: {model.estimator}")
    out.print(f"written: {run.latency_path(model.device)}.json and .csv")
