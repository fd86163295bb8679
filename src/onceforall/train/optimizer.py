"""Optimisers: which weights decay, and state that can be written to a file and read back bit for bit."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .config import OptimizerConfig

_BASE_LEARNING_RATES = {"sgd": 0.2, "adamw": 0.001}


def check_optimizer(config: OptimizerConfig) -> None:
    """Raise ConfigError for an optimiser there is not, and for values it cannot work with."""
    if config.name not in _BASE_LEARNING_RATES:
        raise ConfigError(
            f"optimizer.name={config.name}: no such optimiser; there are {', '.join(_BASE_LEARNING_RATES)}"
        )
    if not 0 <= config.momentum < 1:
        raise ConfigError(f"optimizer.momentum={config.momentum}: must be at least 0 and less than 1")
    if not 0 <= config.weight_decay < math.inf:
        raise ConfigError(f"optimizer.weight_decay={config.weight_decay}: must be 0 or greater")
    for name in ("base_learning_rate", "clip_gradient_norm"):
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"optimizer.{name}={value}: must be positive")


def base_learning_rate(config: OptimizerConfig, share: float = 1.0) -> float:
    """The rate at 256 images per step: as set, or `share` of what suits the optimiser."""
    rate = config.base_learning_rate
    return share * _BASE_LEARNING_RATES[config.name] if rate is None else rate


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters: without decay those of one dimension (norms and biases), with decay the rest.

    For the Once-for-All networks this is the official rule by name ("bn" or "bias" in the name: no decay); kernel
    matrices do decay.
    """
    plain = [p for p in model.parameters() if p.ndim <= 1]
    decayed = [p for p in model.parameters() if p.ndim > 1]
    return [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]


def create_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser of a config; its learning rate is set before every step. ConfigError as `check_optimizer`."""
    check_optimizer(config)
    groups = parameter_groups(model, config.weight_decay)
    if config.name == "sgd":
        # One fused kernel over all tensors: a third of the time of a loop over 280 of them on a CPU.
        nesterov = config.nesterov and config.momentum > 0
        optimizer = torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=nesterov, fused=True)
        forget(optimizer)
        return optimizer
    from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]

    return create_optimizer_v2(groups, opt="adamw", lr=0.0, weight_decay=config.weight_decay)


def forget(optimizer: torch.optim.Optimizer) -> None:
    """Drop all state: the next step is a first step.

    SGD gets momentum of zero for every parameter at once, which is the same as none (0.9 * 0 + gradient), because its
    fused kernel cannot take parameters of which some have momentum and some, not used so far, have not.
    """
    optimizer.state.clear()
    if isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] > 0:
        for parameter in parameters_of(optimizer):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterable[nn.Parameter]:
    """All parameters, in the fixed order of the groups."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser under names `<index of the parameter>.<name of the state>`."""
    return {
        f"{index}.{name}": value
        for index, parameter in enumerate(parameters_of(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`.

    A state shaped like its parameter also gets the parameter's memory layout: fused kernels walk through raw memory.
    """
    optimizer.state.clear()
    parameters = list(parameters_of(optimizer))
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
        optimizer.state[parameter][name] = value
