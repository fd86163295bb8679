"""Supernets that begin with the weights of a file: our own, the official project's, or NNablaNAS's."""

import logging
from pathlib import Path
from typing import Any

from . import supernets
from .errors import FileFormatError
from .supernets import Supernet

_LOG = logging.getLogger(__name__)


def create_supernet(
    name: str,
    num_classes: int = 1000,
    in_chans: int = 3,
    pretrained: str | Path | None = None,
    dropout: float = 0.0,
    **space_options: Any,
) -> Supernet:
    """A supernet with fresh weights, or those of a file.

    Args:
        name: see `list_supernets`.
        pretrained: path of weights, see `load_pretrained`.
        dropout: rate before the classifier.
        space_options: resolutions, kernel_sizes, expand_ratios, depths, width_mults, compound; see `create_space`.

    Raises:
        ConfigError: unknown name or option. FileFormatError: `pretrained` does not fit.
    """
    supernet = supernets.create_supernet(name, num_classes, in_chans, dropout, **space_options)
    if pretrained is not None:
        load_pretrained(supernet, pretrained)
    return supernet


def load_pretrained(supernet: Supernet, path: str | Path) -> list[str]:
    """Load weights from a file into a supernet and log what is left out.

    The file is one that `Supernet.save` wrote (with or without its suffix), a torch checkpoint of the official
    Once-for-All project, or an HDF5 file of NNablaNAS (.h5). A classifier for another number of classes is left out;
    so are kernel matrices the file has none of, which then stay the identity.

    Returns:
        The names that keep their values.

    Raises:
        FileFormatError: missing, damaged, or of another network; the keys that do not fit are listed.
    """
    path = Path(path)
    if path.suffix in (".h5", ".hdf5"):
        from .interop.nnablanas import load_h5

        kept = load_h5(supernet, path, other_classes=True)
    elif path.suffix in (".safetensors", ".json") or path.with_name(path.name + ".safetensors").is_file():
        kept = supernets.load_weights(supernet, path, other_classes=True)
    else:
        kept = _load_official(supernet, path)
    if kept:
        kept = sorted(kept, key=lambda name: not name.startswith("classifier"))
        shown = ", ".join(kept[:4]) + (f" and {len(kept) - 4} more" if len(kept) > 4 else "")
        _LOG.warning("%s: everything is loaded except %s, which keep their fresh values", path, shown)
    return kept


def _load_official(supernet: Supernet, path: Path) -> list[str]:
    from .interop.official import load_checkpoint, read_torch_file

    tensors = read_torch_file(path)
    tensors = tensors.get("state_dict", tensors)
    without_matrices = not any(str(key).endswith("_matrix") for key in tensors)
    kept = load_checkpoint(supernet, tensors, strict=False, other_classes=True)
    excused = ("classifier.",) if not without_matrices else ("classifier.", "7to5_matrix", "5to3_matrix")
    if lacking := [name for name in kept if not any(part in name for part in excused)]:
        shown = ", ".join(lacking[:5])
        raise FileFormatError(f"{path} is not a checkpoint of {supernet.space.name}: {len(lacking)} missing: {shown}")
    return kept
