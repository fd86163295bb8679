"""Files a user of the official project has: checkpoints, predictors, latency tables, published networks, ImageNet."""

import shutil
from pathlib import Path

import torch

from onceforall.interop.official import net_from_config, to_official, write_torch_file
from onceforall.interop.official.net_config import read_net_config
from onceforall.interop.official.published import locate, write_net_config
from onceforall.supernets import create_supernet

NETWORK = "LG-G8_lat-8ms_top1-71.1_finetune-25"


def make(folder: Path, shared: Path) -> None:
    """Stand-ins in `folder`."""
    theirs = shared / "official"
    for name in ("acc_predictor.pth", "ofa_resnet50_acc_predictor.pth", "note10"):
        (folder / name).symlink_to(theirs / name)
    for name in ("mobile_trim.yaml", "proxyless_gpu.config"):
        (folder / name).symlink_to(theirs / "proxylessnas" / name)
    (folder / "imagenet").symlink_to(shared / "data" / "imagenet_samples")
    torch.manual_seed(0)
    write_torch_file(folder / "ofa_nets" / "ofa_mbv3_d234_e346_k357_w1.0", to_official(create_supernet("mbv3_w1.0")))
    write_teacher(folder / "ofa_checkpoints" / "ofa_D4_E6_K7")
    network = folder / "ofa_specialized" / NETWORK
    shutil.copytree(theirs / "ofa_specialized" / NETWORK, network)
    weights, _ = net_from_config(network)
    located = locate(*read_net_config(network))
    assert located is not None
    write_net_config(located, network, weights=weights)


def write_teacher(path: Path) -> None:
    """The largest network with static names, as the published file of the first stage has; small, for the photos."""
    tensors = to_official(create_supernet("mbv3_w0.25", num_classes=3))
    static = {
        key.replace(".bn.bn.", ".bn.").replace(".conv.conv.weight", ".conv.weight"): value
        for key, value in tensors.items()
        if not key.endswith("_matrix")
    }
    write_torch_file(path, static)
