"""The official Once-for-All project: checkpoints, architecture dictionaries, and how it draws them."""

from .archs import (
    arch_from_dict,
    arch_to_dict,
    continuous_resolutions,
    sample_arch,
    sample_arch_dict,
    sample_resolution,
    subnet_seed,
)
from .checkpoints import load_checkpoint, official_key, to_official

__all__ = [
    "arch_from_dict",
    "arch_to_dict",
    "continuous_resolutions",
    "load_checkpoint",
    "official_key",
    "sample_arch",
    "sample_arch_dict",
    "sample_resolution",
    "subnet_seed",
    "to_official",
]
