"""`ofa search`: the front of a run, and the best network within limits."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..files import write_json
from ..run import Run, check_file_name
from ..settings import setting
from ..space import SearchSpace
from . import members
from .scoring import (
    MeasuringConfig,
    check_measuring,
    costs_of,
    covered_space,
    fitted_predictor,
    hold_out_accuracy,
    open_labels,
    predictor_model,
)
from .screen import console, table

if TYPE_CHECKING:
    from ..search import LabelStore, SearchResult
    from ..search.collection import Evaluate
    from ..search.operators import CodeFunction


@dataclass
class ConstraintConfig:
    """Upper limits; null: no limit."""

    latency_ms: float | None = setting(None, "most milliseconds per batch on `device`")
    macs: float | None = setting(None, "most multiply-adds of one image")
    params: float | None = setting(None, "most trainable parameters")
    memory_bytes: float | None = setting(None, "most bytes of activations alive at once, float32, batch 1")

    def limits(self) -> dict[str, float]:
        """Those that were given, by cost."""
        return {cost: limit for cost, limit in vars(self).items() if limit is not None}


@dataclass
class SearchConfig(MeasuringConfig):
    """What to look for, and how much to measure."""

    name: str | None = setting(None, "name of the result; null: made from the limits, device, front_cost and algorithm")
    device: str | None = setting(None, "measured device whose latency counts; null: the newest, or MACs without one")
    constraint: ConstraintConfig = field(default_factory=ConstraintConfig)
    front_cost: str | None = setting(
        None, "cost of the front: latency_ms, macs, params, memory_bytes; null: latency_ms once a device is measured"
    )
    score: str = setting("measured", "measured: every network of the front is evaluated; predicted: by the predictor")
    budget: int = setting(60, "networks to calibrate and evaluate; what earlier searches evaluated is used again")
    algorithm: str | None = setting(
        None,
        "with score=predicted: what searches the front: niches, nsga2, smsemoa, spea2; as published for OFA², "
        "with 1,000 generations: ofa2_nsga2, ofa2_smsemoa, ofa2_spea2; null: niches",
    )
    verify: bool = setting(False, "with score=predicted: calibrate and evaluate every network that is delivered")
    devices: list[str] | None = setting(None, "several measured devices at once, each with a front and a best network")
    latency_limits: list[float] | None = setting(None, "with devices: most milliseconds on each; null: as constraint")
    seed: int = setting(
        0,
        "same seed, same weights: same networks evaluated; the result is the best of them and of all that earlier "
        "searches left in predictor/labels.jsonl",
    )


def search(config: SearchConfig) -> "SearchResult":
    """Search the space of a run by hold-out accuracy after calibration; prints the front, writes search/<name>.json.

    Evaluated networks are kept in predictor/labels.jsonl: a search that was interrupted, or one with other limits, goes
    on from there. With several `devices` there is one such search for each and a table of the chosen networks; the
    result of the last one is returned.

    Once a device is measured, every network of a result has a latency, whatever limits and front are about. Where that
    device was measured at some resolutions only, networks of other resolutions are left aside, and a line says so.

    The predictor of the run is fitted anew on all labels and keeps the kind that `ofa predictor` gave it.

    Raises:
        InfeasibleConstraint: no network meets the limits; states the feasible range.
        RunError, ConfigError, DataError, StorageError.
    """
    check_measuring(config, seed=0)
    if not isinstance(config.constraint, ConstraintConfig):  # a dictionary from Python
        raise ConfigError(f"constraint={config.constraint}: write ConstraintConfig(latency_ms=4)")
    if config.algorithm is not None:
        _check_algorithm(config.algorithm, config.score)
    if config.devices is not None:
        from .devices import search_devices

        return search_devices(config)
    if config.latency_limits is not None:
        raise ConfigError("latency_limits belongs to devices=[...]; for one device use constraint.latency_ms")
    return search_one(config)


def search_one(config: SearchConfig, quiet: bool = False, notes: bool = True) -> "SearchResult":
    """The search for one device; quietly when its result, or also its notes, are shown by someone else."""
    from ..search import verify
    from ..search.predictor import FEWEST_LABELS

    if config.score not in ("measured", "predicted"):
        raise ConfigError(f"score={config.score}: use measured or predicted")
    run = Run.open(config.run)
    latency = run.load_latency(config.device) if config.device else run.newest_latency()
    space, aside = covered_space(run, latency)
    limits = config.constraint.limits()
    if latency is None and "latency_ms" in {*limits, config.front_cost}:
        run.load_latency("onnxruntime")  # is not there: the error says how to measure it
    name = config.name or _default_name(config, limits)
    check_file_name(name)
    source = run.load_data()
    labels = open_labels(run, space, source, config)
    out = console()
    for note in [*aside, *labels.notes] if notes else []:
        out.print(note)
    evaluate, costs = hold_out_accuracy(run, source, config), costs_of(space, latency)
    model = predictor_model(run)
    started = time.perf_counter()
    with out.status("searching") as status:
        result = _run_search(
            space,
            evaluate,
            costs,
            limits,
            labels,
            model,
            config,
            lambda done, total: status.update(f"searching: {done} of {total} networks evaluated"),
        )
        if config.verify and config.score == "predicted":
            result = verify(
                result,
                evaluate,
                labels,
                lambda done, total: status.update(f"verifying: {done} of {total} networks evaluated"),
                costs,
            )
    result = replace(result, seconds=time.perf_counter() - started)  # with collecting labels and verifying
    if len(labels) >= FEWEST_LABELS:
        fitted_predictor(space, labels, model).save(run.predictor_path)
    found = result.to_dict(name, None if latency is None else latency.device) | {
        "images": labels.images,
        "settings": {key: getattr(config, key) for key in ("budget", "algorithm", "calibration_images", "batch_size")},
    }
    write_json(run.search_path(name), found)
    if not quiet:
        _show(run, found, result, labels.images)
    return result


def _check_algorithm(algorithm: str, score: str) -> None:
    """Raise ConfigError for an unknown algorithm, or one that would be ignored."""
    from ..search.pareto import ALGORITHMS

    if algorithm not in ALGORITHMS:
        raise ConfigError(f"algorithm={algorithm}: use {', '.join(ALGORITHMS)}")
    if score != "predicted":
        raise ConfigError(f"algorithm={algorithm}: only with score=predicted; measured networks are chosen otherwise")


def _default_name(config: SearchConfig, limits: dict[str, float]) -> str:
    """Other limits, devices, front costs or algorithms that were typed make another name: none replaces the other."""
    parts = [f"{key}_{limit:.12g}" for key, limit in limits.items()] or ["front"]
    parts += [config.device] if config.device else []
    parts += [config.front_cost] if config.front_cost and config.front_cost not in limits else []
    parts += [config.algorithm] if config.algorithm else []
    return "-".join(parts)


def _run_search(
    space: SearchSpace,
    evaluate: "Evaluate",
    costs: dict[str, "CodeFunction"],
    limits: dict[str, float],
    labels: "LabelStore",
    model: str,
    config: SearchConfig,
    progress: Callable[[int, int], None],
) -> "SearchResult":
    from ..search import collect_labels, require_feasible, search_measured, search_predicted
    from ..search.proposals import Goal

    front_cost = config.front_cost or next(iter(costs))
    if config.score == "measured":
        return search_measured(
            space,
            evaluate,
            costs,
            limits,
            budget=config.budget,
            front_cost=front_cost,
            labels=labels,
            model=model,
            seed=config.seed,
            progress=progress,
        )
    goal = Goal.of(costs, limits, front_cost)
    require_feasible(space, goal.constraints, config.seed)  # before anything is evaluated
    collect_labels(space, evaluate, costs[front_cost], config.budget, labels, seed=config.seed, progress=progress)
    return search_predicted(
        space,
        fitted_predictor(space, labels, model),
        costs,
        limits,
        front_cost=front_cost,
        algorithm=config.algorithm or "niches",
        seed=config.seed,
    )


def _show(run: Run, found: dict[str, Any], result: "SearchResult", images: int) -> None:
    out = console()
    chosen = found["chosen"]
    limits = ", ".join(f"{name} <= {limit:g}" for name, limit in found["constraints"].items())
    rows = [members.row(member, "" if member["measured"] else "predicted") for member in found["front"]]
    marks = ["chosen" if chosen and member["name"] == chosen["name"] else "" for member in found["front"]]
    known = [*found["evaluated"], *found["front"]]
    measured = len({member["name"] for member in known if member["measured"]})
    title = f"{run.folder}: front of {len(rows)} among {measured} networks evaluated on {images:,} hold-out images"
    if not all(member["measured"] for member in found["front"]):
        title = f"{run.folder}: front of {len(rows)} networks, accuracy predicted where said so"
    out.print(table(title, (*members.COLUMNS, ""), [(*row, mark) for row, mark in zip(rows, marks, strict=True)]))
    if result.quality is not None:
        out.print(f"accuracy predictor: {result.quality}")
    if result.verification is not None:
        out.print(f"predicted against measured: {result.verification}")
    if chosen is not None:
        text = "  ".join(members.row(chosen, "" if chosen["measured"] else "predicted")[:5])
        out.print(f"best with {limits}: {text}" if limits else f"most accurate: {text}")
    out.print(f"{result.seconds:.0f} s; written: {run.search_path(found['name'])}")
