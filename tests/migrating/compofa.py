"""Files a user of CompOFA has: its checkpoint, the teacher, and those of Once-for-All that its search uses."""

from pathlib import Path

import torch

from onceforall.interop.official import to_official, write_torch_file
from onceforall.supernets import create_supernet


def make(folder: Path, shared: Path) -> None:
    """Stand-ins in `folder`."""
    for name in ("acc_predictor.pth", "note10"):
        (folder / name).symlink_to(shared / "official" / name)
    (folder / "imagenet").symlink_to(shared / "data" / "imagenet_samples")
    torch.manual_seed(0)
    old = {
        key.replace(".conv.", ".mobile_inverted_conv.", 1) if key.startswith("blocks.") else key: value
        for key, value in to_official(create_supernet("compound")).items()
    }
    write_torch_file(folder / "compofa.pth", old)
    write_torch_file(
        folder / "ofa_checkpoints" / "ofa_D4_E6_K7", to_official(create_supernet("compound_w0.25", num_classes=3))
    )
