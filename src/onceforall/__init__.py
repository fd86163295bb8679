"""Once-for-All: train one elastic network, get a specialised network for every device.

Names are imported when they are first used, so that `import onceforall` and `ofa --help` do not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import cost as cost
    from . import data as data
    from . import deploy as deploy
    from . import elastic as elastic
    from . import errors as errors
    from . import interop as interop
    from . import report as report
    from . import search as search
    from . import space as space
    from . import supernets as supernets
    from . import train as train
    from .cost import count_macs as count_macs
    from .cost import count_params as count_params
    from .cost import peak_memory as peak_memory
    from .elastic import calibrate as calibrate
    from .errors import InvalidArch as InvalidArch
    from .errors import OnceForAllError as OnceForAllError
    from .pretrained import create_supernet as create_supernet
    from .pretrained import load_pretrained as load_pretrained
    from .run import Run as Run
    from .space import Arch as Arch
    from .space import Block as Block
    from .space import SearchSpace as SearchSpace
    from .space import create_space as create_space
    from .space import list_spaces as list_spaces
    from .supernets import Supernet as Supernet
    from .supernets import list_supernets as list_supernets
    from .supernets import load_supernet as load_supernet

_ROOMS = ("cost", "data", "deploy", "elastic", "errors", "interop", "report", "search", "space", "supernets", "train")
_HOMES = {
    "Arch": "space",
    "Block": "space",
    "InvalidArch": "errors",
    "OnceForAllError": "errors",
    "Run": "run",
    "SearchSpace": "space",
    "Supernet": "supernets",
    "calibrate": "elastic",
    "count_macs": "cost",
    "count_params": "cost",
    "create_space": "space",
    "create_supernet": "pretrained",
    "list_spaces": "space",
    "list_supernets": "supernets",
    "load_pretrained": "pretrained",
    "load_supernet": "supernets",
    "peak_memory": "cost",
}

__all__ = [
    "Arch",
    "Block",
    "InvalidArch",
    "OnceForAllError",
    "Run",
    "SearchSpace",
    "Supernet",
    "__version__",
    "calibrate",
    "cost",
    "count_macs",
    "count_params",
    "create_space",
    "create_supernet",
    "data",
    "deploy",
    "elastic",
    "errors",
    "interop",
    "list_spaces",
    "list_supernets",
    "load_pretrained",
    "load_supernet",
    "peak_memory",
    "report",
    "search",
    "space",
    "supernets",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
