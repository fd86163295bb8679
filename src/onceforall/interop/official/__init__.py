"""The official Once-for-All project: checkpoints, networks, architectures, predictors and latency tables."""

from .archs import (
    arch_from_dict,
    arch_to_dict,
    continuous_resolutions,
    sample_arch,
    sample_arch_dict,
    sample_resolution,
    subnet_seed,
)
from .checkpoints import load_checkpoint, official_key, read_torch_file, to_official, write_torch_file
from .encoders import ArchEncoder, nas_choices, tutorial_choices
from .latency import LatencyTable, layer_keys, load_latency_table
from .net_arch import arch_from_config, config_from_arch
from .net_config import read_net_config
from .predictors import PublishedPredictor, load_accuracy_predictor
from .published import net_from_config, write_net_config
from .recognise import space_from_config, space_from_tensors
from .static_net import StaticNet

__all__ = [
    "ArchEncoder",
    "LatencyTable",
    "PublishedPredictor",
    "StaticNet",
    "arch_from_config",
    "arch_from_dict",
    "arch_to_dict",
    "config_from_arch",
    "continuous_resolutions",
    "layer_keys",
    "load_accuracy_predictor",
    "load_checkpoint",
    "load_latency_table",
    "nas_choices",
    "net_from_config",
    "official_key",
    "read_net_config",
    "read_torch_file",
    "sample_arch",
    "sample_arch_dict",
    "sample_resolution",
    "space_from_config",
    "space_from_tensors",
    "subnet_seed",
    "to_official",
    "tutorial_choices",
    "write_net_config",
    "write_torch_file",
]
