"""Measure a device and fit its latency model."""

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from . import structure
from .agreement import kendall_tau, mean_relative_error
from .analytic import HasSpace, count_macs, space_of
from .latency import Comparison, LatencyModel, TableEntry, Validation, choice_of, part_key
from .measure import ESTIMATOR, Latency, Timing, describe_machine
from .onnx_graph import write_onnx
from .places import fillings, part_at, places
from .resumable import RoundStore, Task, measure_tasks

DEVICES = ("onnxruntime",)
_LARGE_ERROR = 0.03  # relative; clean measurements of networks lie within

Export = Callable[[Arch, Path], None]


def build_latency_model(
    supernet: SearchSpace | HasSpace,
    device: str = "onnxruntime",
    *,
    threads: int = 1,
    batch: int = 1,
    resolutions: Sequence[int] | None = None,
    calibration_networks: int = 5,
    validation_networks: int = 10,
    seed: int = 0,
    timing: Timing | None = None,
    export: Export | None = None,
    progress: Callable[[int, int], None] | None = None,
    work_dir: str | Path | None = None,
) -> LatencyModel:
    """Measure every part of every network of a space, and a few whole networks, and fit a `LatencyModel`.

    Parts and whole networks are written as ONNX files from the layout and take turns in one process of the runtime.
    Scale and offset minimise the squared relative error on the calibration networks: smallest, largest, and random
    ones spread over MACs. The validation networks are random and take no part in it.

    Args:
        supernet: or its space; weights do not matter.
        device: one of `DEVICES`.
        threads, batch: see `Timing`; they replace those of `timing`.
        resolutions: of the space, in pixels; None is all of them.
        calibration_networks: 0 leaves the plain sum, 1 fits the scale only.
        validation_networks: how many to hold back; fewer when the space has fewer.
        seed: of the choice of networks and the order of measuring.
        export: writes the ONNX file of a whole network; None writes the same graph straight from the layout.
        progress: called with rounds done and rounds in all.
        work_dir: where measurements are kept as they come; the same call with the same folder goes on where it was
            stopped. None keeps nothing.

    Raises:
        ConfigError: unknown device, or a resolution the space does not have.
        MeasurementError: the runtime failed.
    """
    if device not in DEVICES:
        raise ConfigError(f"no device named {device!r}; there are {', '.join(DEVICES)}")
    space = space_of(supernet)
    measured = space if resolutions is None else space.restrict(resolutions=resolutions)
    timing = replace(timing or Timing(), threads=threads, batch=batch)
    if timing.rounds < 2:
        raise ConfigError(f"rounds is {timing.rounds}; a latency model needs at least 2, to tell how well it repeats")
    sites = list(_sites(measured))
    part_tasks = [_part_tasks(site, batch) for site in sites]
    fitted, held_back = choose_networks(measured, calibration_networks, validation_networks, seed)
    network_tasks = [_network_task(space, arch, batch, export) for arch in [*fitted, *held_back]]

    with tempfile.TemporaryDirectory() as folder:
        store = RoundStore(Path(work_dir or folder) / "measurements.json", timing)
        tasks = [*itertools.chain.from_iterable(part_tasks), *network_tasks]
        measure_tasks(tasks, timing, store, Path(folder), seed=seed, progress=progress)

    machine = describe_machine()
    model = LatencyModel(
        device=device,
        space=space,
        entries=tuple(
            _entry(site, [store.latency(task.key) for task in tasks])
            for site, tasks in zip(sites, part_tasks, strict=True)
        ),
        batch=batch,
        threads=threads,
        runtime=f"onnxruntime {machine['onnxruntime']}",
        machine=machine,
        timing=asdict(timing),
        estimator=ESTIMATOR,
    )
    rounds = [store.rounds[task.key] for task in network_tasks]
    return _validated(_corrected(model, fitted, rounds[: len(fitted)]), held_back, rounds[len(fitted) :])


def choose_networks(space: SearchSpace, calibration: int, validation: int, seed: int) -> tuple[list[Arch], list[Arch]]:
    """Different networks to fit on and to hold back.

    To fit on: smallest and largest (from two networks on), and random ones at even steps of MACs. To hold back:
    uniformly random. A space with fewer networks than asked for gives those to hold back less.
    """
    rng = np.random.default_rng(seed)
    codes = np.unique(space.sample_codes(20 * (calibration + validation), rng), axis=0)
    drawn = space.decode(rng.permutation(codes))
    corners = list(dict.fromkeys([space.smallest, space.largest])) if calibration > 1 else []
    pool = [arch for arch in drawn if arch not in corners]
    wanted = min(calibration - len(corners), len(pool))
    spare = min(validation, len(pool) - wanted)
    held_back, pool = pool[:spare], pool[spare:]
    pool = [pool[index] for index in np.argsort(count_macs(space, pool), kind="stable")]
    steps = (np.arange(wanted) + 0.5) / max(wanted, 1) * len(pool)
    return corners + [pool[int(step)] for step in steps], held_back


def fit_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Scale and offset of scale * x + offset with the smallest sum of squared relative errors.

    Errors beyond 3 % count in proportion only, so that one network that was measured while the machine was busy does
    not bend the line. No points give (1, 0). One point, points of equal x, and a falling line give the scale alone.

    Source: Huber, Robust Estimation of a Location Parameter (1964).
    """
    if len(x) == 0:
        return 1.0, 0.0
    (scale_only,) = _robust((x / y)[:, None])
    if np.ptp(x) == 0:
        return scale_only, 0.0
    scale, offset = _robust(np.stack([x / y, 1 / y], axis=1))
    return (scale, offset) if scale > 0 else (scale_only, 0.0)


def _robust(terms: np.ndarray) -> list[float]:
    """Factors with which the terms of every row (n, k) sum up to about one."""
    from scipy.optimize import least_squares

    start = np.linalg.lstsq(terms, np.ones(len(terms)), rcond=None)[0]
    return least_squares(lambda factors: terms @ factors - 1, start, loss="huber", f_scale=_LARGE_ERROR).x.tolist()


@dataclass(frozen=True)
class _Site:
    """A table entry still to be measured: what stands there, the side of its input, and the arguments of its key."""

    part: structure.Part
    side: int
    choice: tuple[Any, ...]
    repeats: bool  # a network can have it more than once


def _sites(space: SearchSpace) -> Iterator[_Site]:
    """Every part of every network of a space, places of one label and stage once."""
    seen = set()
    for place in places(space):
        if (place.label, place.stage) in seen:
            continue
        seen.add((place.label, place.stage))
        for _, values in fillings(space, place):
            part, side = part_at(space.layout, place, values)
            yield _Site(part, side, choice_of(place, values), place.label == "other")


def _part_tasks(site: _Site, batch: int) -> list[Task]:
    """A part alone; and two in a row where a network can have it more than once."""
    copies = (1, 2) if site.repeats else (1,)
    return [_task([site.part] * number, site.side, batch) for number in copies]


def _entry(site: _Site, latencies: list[Latency]) -> TableEntry:
    """What a part costs inside a network.

    Alone it also pays for entering the runtime and for turning its input and output into the runtime's own memory
    order. A stage has one first block, so there the offset of the model takes that up; of the others there are as
    many as the depth says, and each counts as what a second one in a row adds. On a busy machine that difference can
    come out far too small: never less than half.
    """
    alone = latencies[0].estimate_ms
    added = latencies[-1].estimate_ms - alone if len(latencies) > 1 else alone
    *choice, width_mults = site.choice
    return TableEntry(
        part_key(*site.choice),
        *choice,
        ms=max(added, alone / 2),
        alone_ms=alone,
        p10_ms=latencies[0].p10_ms,
        p90_ms=latencies[0].p90_ms,
        width_mults=width_mults,
    )


def _task(parts: list[structure.Part], side: int, batch: int) -> Task:
    digest = hashlib.sha256(repr((parts, side)).encode()).hexdigest()[:16]
    return Task(digest, lambda path: write_onnx(path, parts, side, batch))


def _network_task(space: SearchSpace, arch: Arch, batch: int, export: Export | None) -> Task:
    if export is not None:
        return Task(f"exported {arch.to_json()}", lambda path: export(arch, path))
    return _task([part for part, _ in structure.network(space.layout, arch)], arch.resolution, batch)


def _corrected(model: LatencyModel, archs: list[Arch], rounds: list[list[list[float]]]) -> LatencyModel:
    """The model with scale and offset fitted on whole networks."""
    measured = _estimates(rounds)
    scale, offset = fit_line(model.predict(archs), measured)
    model = replace(model, scale=scale, offset_ms=offset)
    return replace(model, calibration=_compared(model, archs, measured))


def _validated(model: LatencyModel, archs: list[Arch], rounds: list[list[list[float]]]) -> LatencyModel:
    """The model with its agreement on networks that took no part in the fit."""
    if not archs:
        return model
    measured, predicted = _estimates(rounds), model.predict(archs)
    tau = kendall_tau(measured, predicted)
    macs_mape = None
    if model.calibration:
        seen = count_macs(model.space, [network.arch for network in model.calibration])
        slope, level = fit_line(seen, np.array([network.measured_ms for network in model.calibration]))
        macs_mape = mean_relative_error(measured, slope * count_macs(model.space, archs) + level)
    halves = [_estimates([samples[part] for samples in rounds]) for part in (slice(0, None, 2), slice(1, None, 2))]
    validation = Validation(
        mape=mean_relative_error(measured, predicted),
        kendall_tau=None if np.isnan(tau) else tau,
        macs_mape=macs_mape,
        repeatability=mean_relative_error(halves[0], halves[1]),
        networks=_compared(model, archs, measured),
    )
    return replace(model, validation=validation)


def _estimates(rounds: list[list[list[float]]]) -> np.ndarray:
    return np.array([Latency.from_rounds(samples).estimate_ms for samples in rounds])


def _compared(model: LatencyModel, archs: list[Arch], measured: np.ndarray) -> tuple[Comparison, ...]:
    rows = zip(archs, measured.tolist(), model.predict(archs).tolist(), strict=True)
    return tuple(Comparison(*row) for row in rows)
