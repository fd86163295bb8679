"""Training one chosen sub-network a little longer, as the ordinary network it is once extracted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data import DataSource, eval_batches, steps_per_epoch, train_batches
from ..elastic import calibrate
from ..errors import ConfigError, FileFormatError, RunError
from ..files import atomic_path, read_json, tensor_pair, write_json
from ..space import Arch, SearchSpace
from ..supernets import Supernet, build_supernet
from .config import FinetuneConfig
from .evaluate import Evaluation, Part, measure_accuracy, part_of
from .loading import calibration_images, loading
from .optimizer import base_learning_rate, check_optimizer, create_optimizer, set_learning_rate
from .phases import Objective
from .schedule import cosine_learning_rate
from .step import forward, train_step

FORMAT = 1
_EVAL_BATCH = 200


@dataclass(frozen=True)
class FinetuneResult:
    """A fine-tuned network, its hold-out accuracy before and after, and its test accuracy after.

    All with calibrated batch norm; None where there are no such images.
    """

    network: nn.Module
    before: Evaluation | None
    after: Evaluation | None
    test: Evaluation | None


def finetune(
    supernet: Supernet,
    arch: Arch,
    source: DataSource,
    config: FinetuneConfig,
    *,
    device: torch.device | str | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> FinetuneResult:
    """Extract a sub-network and train it as a plain network with a cosine learning rate.

    Its learning rate is base_learning_rate * batch_size / 256, as in supernet training. With `config.distill` the
    largest network of the supernet teaches it.

    Args:
        source: the images the supernet was trained on.
        device: where to train; None: where the supernet is.
        progress: called after each step with steps done, all steps, and the loss.

    Raises:
        InvalidArch: an architecture outside the space. ConfigError: impossible settings. RunError: training diverged.
    """
    _check(config)
    target = torch.device(device) if device is not None else next(supernet.parameters()).device
    network = _prepare(supernet.extract(arch), target)
    _calibrate(network, arch, source, config, target)
    before = _evaluate(network, arch, source, "holdout", config, target)
    teacher = None
    if config.distill:
        teacher = _prepare(supernet.extract(supernet.space.largest), target).requires_grad_(False)
        _calibrate(teacher, arch, source, config, target)
    _train(network.train(), arch, source, config, teacher, target, progress)
    _calibrate(network, arch, source, config, target)
    after, test = (_evaluate(network, arch, source, part, config, target) for part in ("holdout", "test"))
    return FinetuneResult(network, before, after, test)


def _train(
    network: nn.Module,
    arch: Arch,
    source: DataSource,
    config: FinetuneConfig,
    teacher: nn.Module | None,
    device: torch.device,
    progress: Callable[[int, int, float], None] | None,
) -> None:
    total = max(1, round(config.epochs * steps_per_epoch(len(source.train), config.batch_size)))
    warmup = round(config.learning_rate_warmup * total)
    peak = base_learning_rate(config.optimizer, share=0.1) * config.batch_size / 256
    distill = "none" if teacher is None else "teacher"
    objective = Objective(distill=distill, kd_ratio=config.kd_ratio, label_smoothing=config.label_smoothing)
    autocast_dtype = torch.bfloat16 if config.precision == "bf16" else None
    optimizer = create_optimizer(network, config.optimizer)
    batches = train_batches(
        source.train,
        seed=config.seed,
        start_step=0,
        stop_step=total,
        resolution_of=lambda step: arch.resolution,
        augment=config.augment,
        batch_size=config.batch_size,
        **loading(source, device, config.workers),
    )
    torch.manual_seed(config.seed)  # for dropout
    for step, (images_NCHW, labels_N) in enumerate(batches):
        set_learning_rate(optimizer, cosine_learning_rate(step, total, peak, warmup_steps=warmup))
        teacher_logits_NC = None
        if teacher is not None:
            with torch.no_grad():
                teacher_logits_NC = forward(teacher, images_NCHW, autocast_dtype=autocast_dtype)
        losses = train_step(
            network,
            optimizer,
            images_NCHW,
            labels_N,
            (None,),
            objective,
            teacher_logits_NC=teacher_logits_NC,
            autocast_dtype=autocast_dtype,
            clip_gradient_norm=config.optimizer.clip_gradient_norm,
        )
        loss = losses.item()
        if loss != loss or loss == float("inf"):
            raise RunError(f"fine-tuning diverged at step {step + 1}; lower optimizer.base_learning_rate")
        if progress is not None:
            progress(step + 1, total, loss)


def save_finetuned(
    network: nn.Module, path: str | Path, space: SearchSpace, arch: Arch, metadata: dict[str, Any]
) -> None:
    """Write `path`.safetensors (weights) and `path`.json (space, architecture, metadata). Raises StorageError."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights, description = tensor_pair(path)
    with atomic_path(weights) as temporary:
        temporary.write_bytes(save(tensors))
    write_json(description, {"format": FORMAT, "space": space.to_dict(), "arch": arch.to_dict(), **metadata})


def load_finetuned(path: str | Path) -> tuple[nn.Module, Arch, dict[str, Any]]:
    """The network that `save_finetuned` wrote, in eval mode, with its architecture and description.

    Raises:
        FileFormatError: a file is missing, truncated, or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights, description_file = tensor_pair(path)
    description = read_json(description_file)
    try:
        space, arch = SearchSpace.from_dict(description["space"]), Arch.from_dict(description["arch"])
        network = build_supernet(space).extract(arch)
        network.load_state_dict(load_file(weights))
    except (KeyError, TypeError, ConfigError) as error:
        raise FileFormatError(f"{description_file} does not describe a fine-tuned network ({error})") from error
    except (SafetensorError, OSError, RuntimeError) as error:
        raise FileFormatError(
            f"{weights} does not hold the weights {description_file.name} describes ({error})"
        ) from error
    return network, arch, description


def _prepare(network: nn.Module, device: torch.device) -> nn.Module:
    return network.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _calibrate(
    network: nn.Module, arch: Arch, source: DataSource, config: FinetuneConfig, device: torch.device
) -> None:
    common = loading(source, device, config.workers)
    images = config.calibration_images
    batches = calibration_images(
        source, [arch.resolution], images=images, batch_size=_EVAL_BATCH, seed=config.seed, **common
    )
    calibrate(network, batches)


def _evaluate(
    network: nn.Module, arch: Arch, source: DataSource, part: Part, config: FinetuneConfig, device: torch.device
) -> Evaluation | None:
    if len(getattr(source, part)) == 0:
        return None
    common = loading(source, device, config.workers)
    batches = eval_batches(part_of(source, part), resolution=arch.resolution, batch_size=_EVAL_BATCH, **common)
    return Evaluation(arch, *measure_accuracy([network], batches)[0])


def _check(config: FinetuneConfig) -> None:
    for name in ("epochs", "batch_size", "calibration_images"):
        if getattr(config, name) <= 0:
            raise ConfigError(f"{name}={getattr(config, name)}: must be positive")
    if config.precision not in ("fp32", "bf16"):
        raise ConfigError(f"precision={config.precision}: must be fp32 or bf16")
    if config.seed < 0:
        raise ConfigError(f"seed={config.seed}: must be 0 or greater")
    check_optimizer(config.optimizer)
