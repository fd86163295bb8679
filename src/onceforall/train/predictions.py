"""Class probabilities of many sub-networks on one set of images, every network whole before the next."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data import DataSource, ImageSet, View, eval_batches
from ..errors import DataError
from ..space import Arch
from .calibrated import CalibratedNetworks
from .held import HeldBatches
from .loading import loading

_HELD_BYTES = 2**31  # decoded images that are kept in memory for the next network


def predict_each(
    networks: CalibratedNetworks,
    archs: Sequence[Arch],
    source: DataSource,
    images: ImageSet,
    *,
    views: Sequence[View],
    networks_at_once: int = 16,
) -> Iterator[tuple[Arch, list[NDArray[np.float32]]]]:
    """Yield every architecture, those of one resolution after the other, with its probabilities (images, classes).

    `views`: an array of probabilities for each of them.

    Images are decoded once per resolution. Where they do not fit into two gigabytes, they are decoded once for every
    `networks_at_once` networks, which are then finished together.

    Raises:
        DataError: an image that cannot be read, with its name: rows must be the same for all networks.
        ConfigError: a view that these images do not have. InvalidArch, StorageError.
    """

    def unreadable(name: str, reason: str) -> None:
        raise DataError(f"{name} cannot be read ({reason}); remove it, or put a whole copy in its place")

    for resolution in sorted({arch.resolution for arch in archs}):
        members = [arch for arch in archs if arch.resolution == resolution]
        common = loading(source, networks.device, networks.workers, on_corrupt=unreadable)
        decode = partial(eval_batches, resolution=resolution, batch_size=networks.batch_size, **common)
        held: HeldBatches[tuple[Tensor, Tensor]] = HeldBatches(_HELD_BYTES)
        needed = 4 * len(images) * source.in_chans * resolution**2
        zooms = sorted({view.zoomed for view in views})
        together = 1 if held.fits(len(zooms) * needed) else networks_at_once
        for first in range(0, len(members), together):
            group = members[first : first + together]
            plain = [networks.network(arch) for arch in group]
            found: list[dict[View, NDArray[np.float32]]] = [{} for _ in group]
            for zoomed in zooms:
                alike = [view for view in views if view.zoomed == zoomed]
                batches = held.get(zoomed, needed, partial(decode, alike[0].cut_from(images)))
                for mine, parts in zip(found, _probabilities(plain, batches, alike), strict=True):
                    mine |= zip(alike, parts, strict=True)
            for arch, mine in zip(group, found, strict=True):
                yield arch, [mine[view] for view in views]


@torch.inference_mode()
def _probabilities(
    networks: Sequence[nn.Module],
    batches: Iterable[tuple[Tensor, Tensor]],
    views: Sequence[View],
) -> list[list[NDArray[np.float32]]]:
    """Of every network and view."""
    parts: list[list[list[NDArray[np.float32]]]] = [[[] for _ in views] for _ in networks]
    for images_NCHW, _ in batches:
        for number, view in enumerate(views):
            shown = view.turned(images_NCHW)
            for network, part in zip(networks, parts, strict=True):
                part[number].append(network(shown).float().softmax(dim=1).cpu().numpy())
    return [[np.concatenate(view) for view in part] for part in parts]
