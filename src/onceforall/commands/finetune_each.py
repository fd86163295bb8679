"""Fine-tuning every network of a table, and its accuracy afterwards."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..run import Run
from ..train.config import FinetuneConfig
from .finetune import save_result

if TYPE_CHECKING:
    from ..space import Arch
    from ..train.evaluate import Evaluation
    from .evaluate import EvaluateConfig, Subject


def settings_of_run(run: Run, epochs: float, learning_rate: float | None = None) -> FinetuneConfig:
    """Fine-tuning as the run was trained, from labels alone, at a tenth of its learning rate.

    Args:
        learning_rate: in place of that tenth, whatever the batch, and from the first step on.
    """
    from ..train.optimizer import base_learning_rate

    trained = run.read_config()
    batch_size = trained.batch_size or FinetuneConfig.batch_size
    given = learning_rate is not None
    base = learning_rate * 256 / batch_size if given else 0.1 * base_learning_rate(trained.optimizer)
    return FinetuneConfig(
        epochs=epochs,
        batch_size=batch_size,
        seed=trained.seed,
        distill=False,
        label_smoothing=trained.recipe.label_smoothing,
        precision=trained.precision,
        workers=trained.data.workers,
        learning_rate_warmup=0.0 if given else FinetuneConfig.learning_rate_warmup,
        optimizer=replace(trained.optimizer, base_learning_rate=base),
        augment=trained.augment,
    )


def finetune_each(
    config: "EvaluateConfig", subject: "Subject", device: Any, say: Callable[[str], None]
) -> "list[Evaluation]":
    """Fine-tune each network of a run, keep it in finetune/, and measure it on the images `config` names.

    Raises ConfigError for impossible settings, RunError when training diverges, DataError as `evaluate`.
    """
    from ..train.finetune import finetune

    assert config.finetune_epochs is not None
    run = Run.open(config.run)
    settings = settings_of_run(run, config.finetune_epochs, config.finetune_learning_rate)
    found = []
    for number, arch in enumerate(subject.archs, start=1):
        doing = f"fine-tuning {arch.name}, {number} of {len(subject.archs)}"
        result = finetune(
            subject.supernet,
            arch,
            subject.source,
            settings,
            device=device,
            progress=lambda done, total, loss, doing=doing: say(f"{doing}: step {done} of {total}, loss {loss:.3f}"),
        )
        save_result(run, run.space(), arch, result, settings)
        found.append(_measured(config, subject, arch, result.network, device))
    return found


def _measured(config: "EvaluateConfig", subject: "Subject", arch: "Arch", network: Any, device: Any) -> "Evaluation":
    from ..data import eval_batches
    from ..train.evaluate import Evaluation, measure_accuracy, part_of
    from ..train.loading import loading

    part = "test" if config.part == "test" else "holdout"
    batches = eval_batches(
        part_of(subject.source, part, config.images, config.seed),
        resolution=arch.resolution,
        batch_size=config.batch_size,
        **loading(subject.source, device, subject.workers),
    )
    return Evaluation(arch, *measure_accuracy([network], batches)[0])


def check_finetune(config: "EvaluateConfig", processes: int) -> None:
    """Raise ConfigError where `finetune_epochs` cannot be done."""
    rate = config.finetune_learning_rate
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"finetune_learning_rate={rate:g}: must be positive")
    if config.finetune_epochs is None:
        if rate is not None:
            raise ConfigError("finetune_learning_rate needs finetune_epochs=, the length of that training")
        return
    if not config.finetune_epochs > 0:
        raise ConfigError(f"finetune_epochs={config.finetune_epochs:g}: must be positive; null leaves the column out")
    if config.checkpoint is not None or processes > 1:
        raise ConfigError("finetune_epochs needs the training images of a run, in one process: ofa evaluate run=FOLDER")
