"""MMRazor: sub-network YAML, checkpoint names, and its way of counting."""

from .checkpoints import convert_checkpoint, holds_subnet, load_checkpoint, read_checkpoint, subnet_tensors
from .counting import mmrazor_flops
from .keys import official_key, razor_key, to_mmrazor, to_official
from .subnet import arch_from_yaml, arch_to_yaml

__all__ = [
    "arch_from_yaml",
    "arch_to_yaml",
    "convert_checkpoint",
    "holds_subnet",
    "load_checkpoint",
    "mmrazor_flops",
    "official_key",
    "razor_key",
    "read_checkpoint",
    "subnet_tensors",
    "to_mmrazor",
    "to_official",
]
