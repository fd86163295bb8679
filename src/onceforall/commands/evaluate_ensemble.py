"""`ofa evaluate ensemble=...`: accuracy of networks that vote, beside that of each of them."""

import math
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ..errors import ConfigError
from ..files import write_json
from ..run import Run
from .ensemble_argument import VotingEnsemble, parse_ensemble
from .prediction_tables import calibrated_networks
from .screen import console, percent, table

if TYPE_CHECKING:
    from .evaluate import EvaluateConfig


def evaluate_ensemble(config: "EvaluateConfig") -> list[dict[str, Any]]:
    """Let an ensemble vote on a part of its run's images, with the statistics that it was chosen with.

    Prints the members and the ensemble, writes evaluate/ensembles/<result>-<name>-<part>.json (see `evaluate`).

    Returns:
        One dict: name, result, rule, networks, weights, latency_ms (promised), top1, top1_error, loss, images, part,
        and member_top1 in the order of the networks.

    Raises:
        RunError, ConfigError, DataError, FileFormatError.
    """
    from ..data import VIEWS
    from ..train.evaluate import part_of
    from ..train.predictions import predict_each
    from .evaluate import part_label

    if config.all or config.finetune_epochs is not None or config.checkpoint is not None:
        raise ConfigError("ensemble= stands alone: leave out all, finetune_epochs and checkpoint")
    run = Run.open(config.run)
    found = parse_ensemble(run, config.ensemble or "")
    source = run.load_data()
    part = cast(Literal["holdout", "test"], config.part)
    images = part_of(source, part, config.images, config.seed)
    networks = calibrated_networks(
        run, source, config.device, calibration_images=found.calibration_images, batch_size=found.batch_size
    )
    vote = np.zeros((len(images), len(source.classes)))
    right = [0.0] * len(found.archs)
    with console().status(f"evaluating {len(found.archs)} networks"):
        for view in sorted(set(found.views)):
            members = {found.archs[k]: k for k, seen in enumerate(found.views) if seen == view}
            for arch, (probabilities,) in predict_each(networks, list(members), source, images, views=[VIEWS[view]]):
                member = members[arch]
                tempered = probabilities.astype(np.float64) ** (1 / found.temperatures[member])
                vote += found.weights[member] * tempered / tempered.sum(axis=1, keepdims=True)
                right[member] = float((probabilities.argmax(axis=1) == images.labels).mean())
    top1 = float((vote.argmax(axis=1) == images.labels).mean())
    given = np.maximum(vote[np.arange(len(images)), images.labels], np.finfo(np.float32).tiny)
    result = {
        "name": found.name,
        "result": found.result,
        "rule": found.rule,
        "networks": list(found.names),
        "weights": list(found.weights),
        "latency_ms": found.latency_ms,
        "top1": top1,
        "top1_error": math.sqrt(top1 * (1 - top1) / len(images)),
        "loss": float(-np.log(given).mean()),
        "images": len(images),
        "part": part,
        "member_top1": right,
    }
    name = f"{found.result}-{found.name}-{part_label(config, source)}.json"
    write_json(config.out or run.folder / "evaluate" / "ensembles" / name, result)
    _print(run, found, result)
    return [result]


def _print(run: Run, found: VotingEnsemble, result: dict[str, Any]) -> None:
    rows = [
        (name, percent(top1), f"{weight:.2f}")
        for name, top1, weight in zip(result["networks"], result["member_top1"], result["weights"], strict=True)
    ]
    rows.append((found.name, percent(result["top1"], result["top1_error"]), "1.00"))
    title = f"{run.folder}: {result['part']}, {result['images']:,} images, {len(found.archs)} members vote"
    out = console()
    out.print(table(title, ("member", "top-1", "weight"), rows))
    out.print(f"promised latency, {found.rule}: {found.latency_ms:.3g} ms; ± is one standard error")
