"""What searches and predictors of a run are made of: costs, measured accuracy, and accuracy predicted from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..configuration import check_least
from ..cost import count_macs, count_params, peak_memory
from ..errors import FileFormatError, OnceForAllError
from ..files import read_json
from ..run import Run
from ..settings import setting
from ..space import Arch, SearchSpace

if TYPE_CHECKING:
    from ..cost import LatencyModel
    from ..data import DataSource
    from ..search import AccuracyPredictor, LabelStore
    from ..search.collection import Evaluate
    from ..search.operators import CodeFunction
    from ..train.distributed import World

DEFAULT_MODEL = "gaussian_process"


@dataclass
class MeasuringConfig:
    """How the accuracy of sub-networks of a run is measured."""

    run: str | None = setting(None, "folder of a trained run")
    images: int | None = setting(None, "hold-out images per evaluation, class-balanced; null: all")
    calibration_images: int = setting(
        1000, "training images that batch-norm statistics are taken from; 0: the statistics of the weights"
    )
    batch_size: int = setting(200, "images per batch of evaluation and calibration")
    compute: str = setting("auto", "where accuracy is computed: cpu, cuda, cuda:1, ...; auto: a GPU when there is one")
    networks_at_once: int = setting(16, "networks evaluated together on images decoded once")


def check_measuring(config: MeasuringConfig, **least: int) -> None:
    """Raise ConfigError, naming the key, where a number that measuring needs, or one of `least`, is too small."""
    check_least(config, images=1, calibration_images=0, batch_size=1, networks_at_once=1, **least)


def costs_of(space: SearchSpace, latency: "LatencyModel | None") -> dict[str, "CodeFunction"]:
    """The costs by name, each a function of whole arrays of codes."""
    counted = {
        "macs": lambda codes: count_macs(space, codes),
        "params": lambda codes: count_params(space, codes),
        "memory_bytes": lambda codes: peak_memory(space, codes),
    }
    return counted if latency is None else {"latency_ms": latency.for_space(space).predict, **counted}


def covered_space(run: Run, latency: "LatencyModel | None") -> tuple[SearchSpace, list[str]]:
    """What is searched: the networks of a run that have a latency (all without a model), and a note if not all have.

    Raises ConfigError or MeasurementError when the model is one of other networks.
    """
    space = run.space()
    if latency is None or (covered := latency.covered(space)) == space:
        return space, []
    sizes = ", ".join(map(str, covered.resolutions))
    return covered, [f"{latency.device}: measured at {sizes} px only, so networks of other resolutions are left aside"]


def open_labels(run: Run, space: SearchSpace, source: "DataSource", config: MeasuringConfig) -> "LabelStore":
    """The measured accuracies of a run's networks in a space. Raises RunError when they belong to other weights."""
    from ..search import LabelStore
    from ..train.evaluate import part_of

    images = len(part_of(source, "holdout", config.images))
    how = images, config.calibration_images, config.batch_size
    return LabelStore(run.labels_path, space, run.weights_digest(), *how)


def predictor_model(run: Run) -> str:
    """The kind of a run's predictor, which searches keep; a Gaussian process where there is none that can be read."""
    from ..search.predictor import MODELS

    try:
        kind = read_json(run.predictor_path.with_suffix(".json"))["kind"]
        return kind if kind in MODELS else DEFAULT_MODEL
    except (FileFormatError, OSError, KeyError, TypeError):
        return DEFAULT_MODEL


def fitted_predictor(space: SearchSpace, labels: "LabelStore", model: str = DEFAULT_MODEL) -> "AccuracyPredictor":
    """Fitted on all labels; MACs tell it the size of a network on every device."""
    from ..search import AccuracyPredictor

    known = list(labels)
    predictor = AccuracyPredictor(space, lambda codes: count_macs(space, codes), "macs", labels.weights, model)
    return predictor.fit([label.arch for label in known], [label.top1 for label in known])


def hold_out_accuracy(run: Run, source: "DataSource", config: MeasuringConfig) -> "Evaluate":
    """Measures networks, a few at a time, so that little is lost when it is interrupted."""
    from ..train import evaluate_archs, resolve_device
    from ..train.held import HeldBatches

    device = resolve_device(config.compute)
    supernet = run.load_supernet().to(device)
    held = HeldBatches()

    def evaluate(archs: list[Arch]) -> Iterator[tuple[float, float]]:
        for first in range(0, len(archs), config.networks_at_once):
            evaluations = evaluate_archs(
                supernet,
                archs[first : first + config.networks_at_once],
                source,
                part="holdout",
                calibration_images=config.calibration_images,
                batch_size=config.batch_size,
                device=device,
                limit=config.images,
                held=held,
                workers=run.read_config().data.workers,
            )
            yield from ((evaluation.top1, evaluation.top1_error) for evaluation in evaluations)

    return evaluate


def shared_out(evaluate: "Evaluate", world: "World", networks_at_once: int) -> "Evaluate":
    """`evaluate` for the first process: networks are dealt to all processes, which are in `follow` meanwhile."""

    def deal(archs: list[Arch]) -> Iterator[tuple[float, float]]:
        for first in range(0, len(archs), networks_at_once * world.size):
            dealt = world.agree(archs[first : first + networks_at_once * world.size])
            parts = _parts(evaluate, world, dealt)
            for part in parts:
                if isinstance(part, OnceForAllError):
                    raise part
            yield from (parts[index % world.size][index // world.size] for index in range(len(dealt)))

    return evaluate if world.size == 1 else deal


def follow(evaluate: "Evaluate", world: "World") -> None:
    """Evaluate what the first process deals out until it calls `dismiss`; it raises the errors of all."""
    while (archs := world.agree(None)) is not None:
        _parts(evaluate, world, archs)


def dismiss(world: "World") -> None:
    """Let the other processes leave `follow`."""
    world.agree(None)


def _parts(evaluate: "Evaluate", world: "World", archs: list[Arch]) -> list[Any]:
    """The results of every process for its share of the networks, or its error, on every process."""
    try:
        own: Any = list(evaluate(archs[world.rank :: world.size]))
    except OnceForAllError as error:
        own = error
    return world.gather(own)
