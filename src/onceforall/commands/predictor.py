"""`ofa predictor`: measure sub-networks and learn to predict the accuracy of all others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..run import Run
from ..settings import setting
from .scoring import (
    DEFAULT_MODEL,
    MeasuringConfig,
    check_measuring,
    costs_of,
    covered_space,
    dismiss,
    fitted_predictor,
    follow,
    hold_out_accuracy,
    open_labels,
    shared_out,
)
from .screen import console

if TYPE_CHECKING:
    from ..search import AccuracyPredictor


@dataclass
class PredictorConfig(MeasuringConfig):
    """How many networks to measure, which, and what learns from them."""

    labels: int = setting(100, "networks to calibrate and evaluate; what was evaluated before is used again")
    sampling: str = setting(
        "active", "active: half spread, then where the predicted front is; spread over the cost; random"
    )
    model: str = setting(DEFAULT_MODEL, "gaussian_process or mlp_ensemble; searches predict with the same from then on")
    front_cost: str | None = setting(
        None, "cost the front is drawn against: latency_ms, macs, params, memory_bytes; null: latency_ms once measured"
    )
    seed: int = setting(
        0, "same seed, same weights: same networks evaluated; the predictor learns from all of predictor/labels.jsonl"
    )


def predictor(config: PredictorConfig) -> "AccuracyPredictor":
    """Collect labels of a run, fit a predictor on all it has, print its quality, write predictor/predictor.*.

    Every label is on disk before the next network is measured, so the command goes on where it was stopped. Under
    torchrun the networks are shared out among the processes.

    With `front_cost=latency_ms` and a device that was measured at some resolutions only, networks of these are
    collected and learnt from, as a search would look at no others; with another cost all are.

    Raises:
        RunError: not trained, or its labels belong to other weights. ConfigError, DataError, StorageError.
    """
    from ..search import collect_labels
    from ..search.collection import SAMPLINGS
    from ..search.predictor import FEWEST_LABELS, MODELS
    from ..train.distributed import init_distributed

    check_measuring(config, seed=0)
    if config.labels < FEWEST_LABELS:
        raise ConfigError(f"labels={config.labels}: a predictor needs at least {FEWEST_LABELS} evaluated networks")
    for name, value, known in (("sampling", config.sampling, SAMPLINGS), ("model", config.model, MODELS)):
        if value not in known:
            raise ConfigError(f"{name}={value}: use {', '.join(known)}")
    run = Run.open(config.run)
    latency = run.newest_latency()
    front_cost = config.front_cost or ("macs" if latency is None else "latency_ms")
    space, notes = covered_space(run, latency if front_cost == "latency_ms" else None)
    source, costs = run.load_data(), costs_of(space, latency)
    if front_cost not in costs:
        raise ConfigError(f"front_cost={front_cost}: there is no model of it; there are {', '.join(costs)}")
    evaluate = hold_out_accuracy(run, source, config)
    world = init_distributed(config.compute)
    if not world.is_main:
        follow(evaluate, world)
        world.close()
        return fitted_predictor(space, open_labels(run, space, source, config), config.model)
    out = console()
    try:
        labels = open_labels(run, space, source, config)
        for note in [*notes, *labels.notes]:
            out.print(note)
        with out.status("measuring") as status:
            collect_labels(
                space,
                shared_out(evaluate, world, config.networks_at_once),
                costs[front_cost],
                config.labels,
                labels,
                sampling=config.sampling,
                seed=config.seed,
                progress=lambda done, total: status.update(f"measuring: {done} of {total} networks"),
            )
        fitted = fitted_predictor(space, labels, config.model)
        fitted.save(run.predictor_path)
    finally:
        dismiss(world)
        world.close()
    out.print(f"{run.folder}: {config.model.replace('_', ' ')}, {fitted.quality}")
    out.print(f"written: {run.predictor_path}.json; plot: ofa report run={run.folder}")
    return fitted
