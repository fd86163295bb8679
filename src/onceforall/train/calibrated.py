"""Sub-networks whose batch-norm statistics are estimated once and kept: every use is of the same network."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..data import DataSource
from ..elastic import calibrate
from ..errors import FileFormatError
from ..files import atomic_path, read_json, tensor_pair, write_json
from ..space import Arch
from ..supernets import Supernet
from .evaluate import calibration_of, extracted
from .loading import loading


class CalibratedNetworks:
    """Plain networks of one supernet in eval mode; `folder` keeps the statistics of each, `<network>.safetensors`.

    Statistics of other weights, images or settings are estimated anew and replaced.

    Args:
        weights: digest of the supernet's weights.
        calibration_images: training images (no labels, no augmentation) that statistics are taken from; 0 keeps those
            that the weights came with.
        seed: which training images.
        device: where to compute; None: where the supernet is.
    """

    def __init__(
        self,
        supernet: Supernet,
        source: DataSource,
        folder: Path,
        *,
        weights: str,
        calibration_images: int,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        self._supernet, self._source, self._folder = supernet, source, folder
        self.device = torch.device(device) if device is not None else next(supernet.parameters()).device
        self.batch_size, self.workers = batch_size, workers
        self.origin = {
            "weights": weights,
            "training_images": source.digests["train"],
            "calibration_images": calibration_images,
            "batch_size": batch_size,
            "seed": seed,
        }
        self._held: tuple[int, list[Tensor]] | None = None  # of one resolution at a time, as they can be large

    def network(self, arch: Arch) -> nn.Module:
        """The calibrated network. Raises InvalidArch, DataError (no training images), StorageError."""
        network = extracted(self._supernet, arch, [], self.device).eval()
        if self.origin["calibration_images"]:
            kept = self._kept(arch, network)
            if kept is None:
                calibrate(network, self._images(arch.resolution))
                self._keep(arch, network)
            else:
                network.load_state_dict(kept, strict=False)
        return network

    def _images(self, resolution: int) -> list[Tensor]:
        if self._held is None or self._held[0] != resolution:
            self._held = None
            common = {"batch_size": self.batch_size, **loading(self._source, self.device, self.workers)}
            count, seed = self.origin["calibration_images"], self.origin["seed"]
            self._held = resolution, calibration_of(self._source, resolution, count, seed, common)
        return self._held[1]

    def _kept(self, arch: Arch, network: nn.Module) -> dict[str, Tensor] | None:
        """The statistics on disk; None when there are none of this network, these weights and settings."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        tensors, description = tensor_pair(self._folder / f"{arch.name}.json")
        try:
            if not description.is_file() or read_json(description) != self._described(arch):
                return None
            kept = load_file(tensors)
        except (FileFormatError, OSError, SafetensorError):
            return None  # they can always be estimated again
        return kept if kept.keys() == _statistics(network).keys() else None

    def _keep(self, arch: Arch, network: nn.Module) -> None:
        from safetensors.torch import save

        tensors, description = tensor_pair(self._folder / f"{arch.name}.json")
        with atomic_path(tensors) as temporary:
            temporary.write_bytes(save({name: value.cpu() for name, value in _statistics(network).items()}))
        write_json(description, self._described(arch))

    def _described(self, arch: Arch) -> dict[str, object]:
        return {"arch": arch.to_dict(), **self.origin}


def _statistics(network: nn.Module) -> dict[str, Tensor]:
    """Means and variances of every batch norm, by their names in the network's state."""
    return {
        f"{name}.{buffer}": getattr(layer, buffer).detach().clone().contiguous()
        for name, layer in network.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
        for buffer in ("running_mean", "running_var")
    }
