"""What can be chosen: architectures and search spaces, without torch."""

from .arch import Arch, Block
from .choices import StageChoices
from .families import create_space, list_spaces
from .layouts import BottleneckLayout, KdwLayout, Layout, MobileLayout, ResidualLayout, StageLayout, make_divisible
from .space import SearchSpace

__all__ = [
    "Arch",
    "Block",
    "BottleneckLayout",
    "KdwLayout",
    "Layout",
    "MobileLayout",
    "ResidualLayout",
    "SearchSpace",
    "StageChoices",
    "StageLayout",
    "create_space",
    "list_spaces",
    "make_divisible",
]
