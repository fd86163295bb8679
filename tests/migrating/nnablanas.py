"""Files a user of NNablaNAS has: older experiment files, and the weights of a full network where it left them."""

import json
from pathlib import Path

from onceforall.interop.nnablanas import arch_from_genotype, save_h5
from onceforall.space import create_space
from onceforall.supernets import create_supernet


def make(folder: Path, shared: Path) -> None:
    """Stand-ins in `folder`; networks of width 0.25 for three classes."""
    (folder / "imagenet").symlink_to(shared / "data" / "imagenet_samples")
    golden = json.loads((shared / "golden/nnablanas/legacy_json_last_before_hydra.json").read_text())
    for name in ("ofa_imagenet_search_kernel.json", "ofa_imagenet_train_subnet.json"):
        (folder / name).write_text(json.dumps(golden["experiments"][f"ofa/ofa_mbv3/{name}"]))
    weights = folder / "log/classification/ofa/imagenet/search/K7_E6_D4/weights.h5"
    save_h5(create_supernet("mbv3_w0.25", num_classes=3), weights)
    arch = arch_from_genotype(create_space("mbv3_w1.0"), [5, 2, 9, 9, 6, 4, 2, 1, 7, 7, 8, 9, 8, 3, 9, 9, 8, 4, 3, 1])
    (folder / "arch.json").write_text(arch.to_json())
