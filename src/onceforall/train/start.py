"""What a run begins from, other than fresh weights; read only when it is needed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..space import Arch, SearchSpace
from ..supernets import Supernet, load_supernet
from ..supernets.zoo import load_weights
from .config import TrainConfig
from .finetune import save_finetuned


@dataclass(frozen=True)
class Start:
    """How to get what the settings of a run only name; this room knows no foreign files.

    Attributes:
        load: puts the first weights into a supernet.
        teacher: makes the network that teaches a supernet, on the CPU.
        arch: train this one sub-network, as the plain network it is once extracted.
    """

    load: Callable[[Supernet], object] | None = None
    teacher: Callable[[Supernet], nn.Module] | None = None
    arch: Arch | None = None


def default_start(config: TrainConfig) -> Start:
    """What the settings name when it is supernets that `Supernet.save` wrote.

    Raises ConfigError for a genotype, which only `ofa train` understands.
    """
    weights, teacher = config.weights, config.recipe.teacher
    if config.genotype is not None:
        raise ConfigError("a genotype is read by `ofa train`; in Python pass start=Start(arch=...)")
    return Start(
        load=None if weights is None else lambda supernet: load_weights(supernet, weights, other_classes=True),
        teacher=None if teacher is None else lambda supernet: largest_of(teacher),
    )


def largest_of(path: str | Path) -> nn.Module:
    """The largest network of a saved supernet."""
    supernet = load_supernet(path)
    return supernet.extract(supernet.space.largest)


class SingleNetwork(Supernet):
    """A supernet of one: an extracted network, trained and measured by what trains and measures supernets."""

    def __init__(self, supernet: Supernet, arch: Arch) -> None:
        super().__init__(supernet.space)
        self.arch = arch
        self.network = supernet.extract(arch)
        self._origin = (supernet,)  # in a tuple, so that its weights are none of this module's

    def forward(self, x_NCHW: Tensor, arch: Arch | None = None) -> Tensor:
        return self.network(x_NCHW)

    def extract(self, arch: Arch) -> nn.Module:
        return copy.deepcopy(self.network).eval()

    def sort_channels(self, phase: int = 0, trained: SearchSpace | None = None) -> None:
        """Nothing to do: all channels are used."""

    def save(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        """Write finetune/<name of the network> beside `path`, then the supernet it was taken from to `path`."""
        beside = Path(path).parent / "finetune" / self.arch.name
        save_finetuned(self.network, beside, self.space, self.arch, {**(metadata or {}), "name": self.arch.name})
        self._origin[0].save(path, metadata)
