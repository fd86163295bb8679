"""HDF5 parameter files of one sub-network, brought to the places of a supernet that the network is cut from."""

import copy
from pathlib import Path

import torch
from torch import nn

from ...errors import FileFormatError
from ...space import Arch
from ...supernets import Supernet
from .weights import holds_static_network, load_h5


def load_checkpoint(supernet: Supernet, path: str | Path, arch: Arch) -> str:
    """Load an HDF5 parameter file into a supernet: all of its weights, or those of one sub-network.

    The file of a sub-network fills the part of the weights that `arch` runs with, so that `extract(arch)` gives exactly
    that network. Nothing else of the supernet is then of any use.

    Args:
        arch: the network that the file of a sub-network must fit.

    Returns:
        "supernet" or "subnet": what the file holds.

    Raises:
        FileFormatError: a damaged file, or one of another network; see `load_h5`. InvalidArch: `arch` is not in the
            space.
    """
    try:
        load_h5(supernet, path)
        return "supernet"
    except FileFormatError:
        if not holds_static_network(path):
            raise
    network = supernet.extract(arch)
    try:
        load_h5(network, path)
    except FileFormatError as error:
        raise FileFormatError(f"{error} (of {arch.name}; name the sub-network of the file with arch=)") from error
    _put_back(supernet, arch, network)
    return "subnet"


@torch.no_grad()
def _put_back(supernet: Supernet, arch: Arch, network: nn.Module) -> None:
    """The inverse of `extract`: matrices become the identity, and every weight goes where its own copy came from.

    Where that is `extract` itself tells, on a supernet whose weights are the numbers of their places.
    """
    numbered = copy.deepcopy(supernet).double()  # which holds whole numbers up to 2^53
    weights = []
    places = 0
    for stored, number in zip(supernet.state_dict().values(), numbered.state_dict().values(), strict=True):
        if stored.is_floating_point():
            number.copy_(torch.arange(places, places + stored.numel()).view(stored.shape))
            places += stored.numel()
            weights.append(stored)
    for of in (supernet, numbered):
        for key, tensor in of.state_dict().items():
            if ".transforms." in key:
                tensor.copy_(torch.eye(len(tensor)))
    values = torch.cat([stored.flatten() for stored in weights])
    taken = numbered.extract(arch).state_dict()
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            values[taken[key].long().flatten()] = tensor.flatten()
    for stored, value in zip(weights, values.split([stored.numel() for stored in weights]), strict=True):
        stored.copy_(value.view(stored.shape))
