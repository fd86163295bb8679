"""Which search space a published file belongs to."""

import re
from collections.abc import Mapping
from typing import Any

from ...errors import FileFormatError
from ...space import SearchSpace, create_space

_LAST_WIDTH = 1280  # of the feature mix layer of MobileNetV3 and ProxylessNAS at width multiplier 1


def space_from_config(config: Mapping[str, Any]) -> SearchSpace | None:
    """The space whose widths a network has that `read_net_config` returned; None when it is too small for any.

    The network need not be in it: see `arch_from_config`.
    """
    classes = config["classifier"]["out_features"]
    if config["name"] == "ResNets":
        return create_space("resnet50", classes, config["input_stem"][0]["in_channels"])
    family = "mbv3" if config["name"] == "MobileNetV3" else "proxyless"
    in_chans = config["first_conv"]["in_channels"]
    return _mobile(family, config["feature_mix_layer"]["out_channels"], classes, in_chans)


def space_from_tensors(tensors: Mapping[str, Any]) -> SearchSpace:
    """The space of an official supernet checkpoint, with its number of classes and input channels.

    Checkpoints of CompOFA have the names of MobileNetV3 without kernel matrices and are taken for that: its kernel
    matrices then are the identity, which crops as CompOFA does.

    Raises:
        FileFormatError: tensors of something else.
    """
    shapes = {
        re.sub(r"\.(conv|linear)(?=\.\1\.weight$)", "", str(key)): tuple(getattr(v, "shape", ()))
        for key, v in tensors.items()
    }
    # Other numbers of dimensions belong to other networks.
    shapes = {key: shape for key, shape in shapes.items() if len(shape) == (2 if ".linear." in key else 4)}
    classifier, stem = shapes.get("classifier.linear.weight"), shapes.get("input_stem.0.conv.weight")
    if classifier and stem:
        return create_space("resnet50", classifier[0], stem[1])
    first, mix = shapes.get("first_conv.conv.weight"), shapes.get("feature_mix_layer.conv.weight")
    if classifier and first and mix:
        family = "mbv3" if "final_expand_layer.conv.weight" in shapes else "proxyless"
        if (space := _mobile(family, mix[0], classifier[0], first[1])) is not None:
            return space
    held = ", ".join(sorted(map(str, tensors))[:3]) or "nothing"
    raise FileFormatError(f"no supernet of the official project: the file holds {held}")


def _mobile(family: str, last_width: int, classes: int, in_chans: int) -> SearchSpace | None:
    multiplier = round(last_width / _LAST_WIDTH, 2)
    return create_space(f"{family}_w{multiplier:.2f}".removesuffix("0"), classes, in_chans) if multiplier else None
