"""What every supernet offers: one set of weights, the architecture as an argument, extraction of plain networks."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..elastic import initialise_he_fout
from ..space import Arch, SearchSpace


class Supernet(nn.Module, ABC):
    """The one network that holds the weights of every architecture of its space.

    `supernet(x, arch)` runs a sub-network without changing any state but batch-norm statistics (in train mode);
    `supernet.extract(arch)` copies it out as an ordinary module.

    Attributes:
        space: what can be chosen.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space

    @abstractmethod
    def forward(self, x_NCHW: Tensor, arch: Arch | None = None) -> Tensor:
        """Logits (N, classes) of one architecture; None is the largest.

        The size of x decides the resolution; `arch.resolution` is what data pipelines and cost models use. The
        architecture is not validated here (it is a hot path): see `SearchSpace.validate`.
        """

    @abstractmethod
    def extract(self, arch: Arch) -> nn.Module:
        """A plain network in eval mode with copies of the weights `forward(x, arch)` uses. Raises InvalidArch."""

    @abstractmethod
    def sort_channels(self, phase: int = 0, trained: SearchSpace | None = None) -> None:
        """Permute middle channels by importance; the function of the largest network stays.

        Args:
            phase: how many steps of shrinking the middle width are behind: channels then stay inside the groups that
                the `phase` largest smaller expand ratios have trained. 0 sorts freely.
            trained: the part of the space that is trained: its ratios count, and its largest network stays what it is,
                too. None: the whole space.
        """

    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw all weights anew (he_fout); with a seed the same on every machine."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        initialise_he_fout(self, generator)

    def save(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        """Write `path`.safetensors (weights) and `path`.json (space and metadata). Raises StorageError."""
        from .zoo import save_supernet

        save_supernet(self, path, metadata)

    def group_boundaries(self, widths: list[int], phase: int) -> list[int]:
        """Channel counts at which groups end that `sort_channels(phase)` must keep apart; the largest width is first.

        Args:
            widths: middle widths of the block for the expand ratios that are trained, ascending.
            phase: see `sort_channels`.
        """
        return widths[::-1][: phase + 1]


def copy_conv(target: nn.Module, weight: Tensor, bias: Tensor | None = None) -> None:
    """Put copies of active weights into a plain convolution or linear layer (which may live on the meta device)."""
    target.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        target.bias = nn.Parameter(bias.detach().clone())


def copy_norm(target: nn.BatchNorm2d, source: nn.BatchNorm2d) -> None:
    """Put copies of the first channels of a batch norm into a plain one (which may live on the meta device)."""
    channels = target.num_features
    for name in ("weight", "bias"):
        setattr(target, name, nn.Parameter(getattr(source, name).detach()[:channels].clone()))
    for name in ("running_mean", "running_var"):
        setattr(target, name, getattr(source, name).detach()[:channels].clone())
    target.num_batches_tracked = torch.tensor(0, device=source.weight.device)
