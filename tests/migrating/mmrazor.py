"""Files a user of MMRazor has: sub-network YAML, checkpoints, and (few, small) images in ImageNet's folders."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from onceforall.interop.mmrazor import arch_to_yaml, subnet_tensors, to_mmrazor
from onceforall.interop.official import arch_from_dict, to_official
from onceforall.space import create_space
from onceforall.supernets import create_supernet


def make(folder: Path, shared: Path) -> None:
    """Stand-ins in `folder`."""
    space = create_space("mbv3_w1.0")
    archs = {}
    for name in ("lat22", "lat31"):
        described = json.loads((shared / "golden" / "mmrazor" / f"note8_{name}.json").read_text())
        archs[name] = arch_from_dict(space, described["ofa_arch"])
        (folder / f"OFA_SUBNET_NOTE8_{name.upper()}.yaml").write_text(arch_to_yaml(archs[name]))
    supernet = create_supernet("mbv3_w1.0", 3)
    official, static = to_official(supernet), subnet_tensors(supernet, archs["lat22"])
    for file, tensors in (
        ("ofa_mbv3_d234_e346_k357_w1.0.pth", official),
        ("ofa_mobilenet_supernet.pth", to_mmrazor(official)),
        ("note8_lat22.pth", static),
        ("ofa_mobilenet_subnet_note8_lat22.pth", to_mmrazor(static)),
    ):
        torch.save({"state_dict": tensors}, folder / file)
    generator = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in ("n01440764", "n01443537", "n01484850"):
            (folder / "data" / "imagenet" / part / label).mkdir(parents=True)
            for number in range(4):
                pixels = generator.integers(0, 255, (36, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "data" / "imagenet" / part / label / f"{number}.jpg")
