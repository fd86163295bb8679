"""net.config, the description of one static network: every spelling that was published, made into one."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from ...errors import ConfigError, FileFormatError
from ...files import read_json
from ...space import make_divisible

DEFAULT_RESOLUTION = 224  # of the files that tell nothing else
_EPS = {"MobileNetV3": 1e-5, "ProxylessNASNets": 1e-3, "ResNets": 1e-5}
_NEW_NAMES = {"MBInvertedConvLayer": "MBConvLayer", "MobileInvertedResidualBlock": "ResidualBlock"}
_COUNTS = ("in_channels", "out_channels", "in_features", "out_features", "mid_channels", "kernel_size", "stride")
_REQUIRED = object()


def _activation(default: str | None) -> tuple[str | None, ...]:
    return (default, "relu", "relu6", "h_swish", "h_sigmoid", "tanh", "sigmoid", "none", None)


# What each layer is told, with the value it takes when it is told nothing. A tuple lists all values there are, the
# default first; a tuple of one is what no published network sets otherwise, and our layers do not have.
_CHANNELS = {"in_channels": _REQUIRED, "out_channels": _REQUIRED}
_KERNEL = {"kernel_size": 3, "stride": 1}
_PLAIN = {"use_bn": (False,), "act_func": (None,), "ops_order": ("weight_bn_act",)}
_FIELDS: dict[str, dict[str, Any]] = {
    "ConvLayer": {
        **_KERNEL,
        "dilation": (1,),
        "groups": (1,),
        "bias": False,
        "has_shuffle": (False,),
        "use_se": False,
        **_CHANNELS,
        "use_bn": True,
        "act_func": _activation("relu"),
        "dropout_rate": 0,
        "ops_order": ("weight_bn_act",),
    },
    "IdentityLayer": {**_CHANNELS, **_PLAIN, "dropout_rate": (0,)},
    "LinearLayer": {"in_features": _REQUIRED, "out_features": _REQUIRED, "bias": True, **_PLAIN, "dropout_rate": 0},
    "MBConvLayer": {
        **_CHANNELS,
        **_KERNEL,
        "expand_ratio": 6,
        "mid_channels": None,
        "act_func": _activation("relu6"),
        "use_se": False,
        "groups": (None,),
    },
    "ResNetBottleneckBlock": {
        **_CHANNELS,
        **_KERNEL,
        "expand_ratio": 0.25,
        "mid_channels": None,
        "act_func": _activation("relu"),
        "groups": (1,),
        "downsample_mode": ("avgpool_conv", "conv"),
    },
}


def read_net_config(path: str | Path, resolution: int | None = None) -> tuple[dict[str, Any], int]:
    """The network in a folder of net.config and run.config, or in a file; and the resolution it is for, in pixels.

    A file of another name than net.config, as those of ProxylessNAS, stands alone and is for 224 px.

    Args:
        resolution: takes the place of what run.config says.

    Returns:
        The description with every layer spelled as the newest official code does and every field filled in.

    Raises:
        FileFormatError: a file is missing or damaged, or the network has a layer or field that is not known or does not
            fit; names it.
        ConfigError: a resolution that is no positive number of pixels.
    """
    if resolution is not None and resolution < 1:
        raise ConfigError(f"resolution={resolution}: must be 1 or greater")
    path = Path(path)
    file = path / "net.config" if path.is_dir() else path
    config = normalised(read_json(file), str(file))
    if resolution is None:
        alone = file.name != "net.config"
        resolution = DEFAULT_RESOLUTION if alone else _image_size(file.with_name("run.config"))
    return config, resolution


def _image_size(file: Path) -> int:
    if not file.exists():
        raise FileFormatError(f"{file} does not exist; it names the image size, or give resolution=...")
    described = read_json(file)
    size = described.get("image_size") if isinstance(described, dict) else None
    if not _is_count(size):
        raise FileFormatError(f"{file} names no image_size in pixels")
    return size


def normalised(config: Any, where: str) -> dict[str, Any]:
    """`config` in the newest spelling, every field filled in; the argument stays as it is. Raises FileFormatError."""
    name = config.get("name") if isinstance(config, dict) else None
    if name not in _EPS:
        kind = f"a network of type {name!r}" if isinstance(name, str) else "no network"
        raise FileFormatError(f"{where} describes {kind}; known are {', '.join(_EPS)}")
    made: dict[str, Any] = {"name": name, "bn": _norm(config.get("bn"), _EPS[name], where)}
    if name == "ResNets":
        stem = _list(config, "input_stem", where)
        made["input_stem"] = [
            _residual(layer, f"{where}: input_stem {i}")
            if i > 0 and _name(layer, f"{where}: input_stem {i}") == "ResidualBlock"
            else _layer(layer, ("ConvLayer",), f"{where}: input_stem {i}")
            for i, layer in enumerate(stem)
        ]
        made["blocks"] = [
            _layer(block, ("ResNetBottleneckBlock",), f"{where}: block {i}")
            for i, block in enumerate(_list(config, "blocks", where))
        ]
        tail = []
    else:
        made["first_conv"] = _layer(config.get("first_conv"), ("ConvLayer",), f"{where}: first_conv")
        made["blocks"] = [
            _residual(block, f"{where}: block {i}") for i, block in enumerate(_list(config, "blocks", where))
        ]
        tail = ["final_expand_layer", "feature_mix_layer"] if name == "MobileNetV3" else ["feature_mix_layer"]
    for part in tail:
        made[part] = _layer(config.get(part), ("ConvLayer",), f"{where}: {part}")
    made["classifier"] = _layer(config.get("classifier"), ("LinearLayer",), f"{where}: classifier")
    _check_widths(made, where)
    return made


def _norm(described: Any, eps: float, where: str) -> dict[str, Any]:
    if not isinstance(described, dict | None):
        raise FileFormatError(f"{where}: bn = {described!r} is no object with momentum and eps")
    norm = {"momentum": 0.1, "eps": eps, **(described or {})}
    if foreign := [key for key, value in norm.items() if key not in ("momentum", "eps") and value is not None]:
        raise FileFormatError(f"{where} has bn.{foreign[0]}, which is not supported")
    if not _is_number(norm["eps"]) or norm["eps"] <= 0:
        raise FileFormatError(f"{where}: bn.eps = {norm['eps']!r} is no positive number")
    if norm["momentum"] is not None and not (_is_number(norm["momentum"]) and 0 <= norm["momentum"] <= 1):
        raise FileFormatError(f"{where}: bn.momentum = {norm['momentum']!r} is no number from 0 to 1")
    return {key: norm[key] for key in ("momentum", "eps")}


def _check_widths(made: Mapping[str, Any], where: str) -> None:
    """Raise FileFormatError, naming the layer, unless each reads as many channels as the one before it writes."""
    before = None
    for name, layer in _layers(made):
        reads, writes = (layer.get(f"{side}_channels", layer.get(f"{side}_features")) for side in ("in", "out"))
        if before is not None and reads != before:
            raise FileFormatError(f"{where}: {name} reads {reads} channels, the layer before it has {before}")
        before = writes


def _layers(made: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All layers that are there, from the image to the logits, each with what messages call it."""
    for part, described in made.items():
        if isinstance(described, list):
            for i, block in enumerate(described):
                if (layer := block.get("conv", block)) is not None:
                    yield f"{part.removesuffix('s')} {i}", layer
        elif part not in ("name", "bn"):
            yield part, described


def _list(config: Mapping[str, Any], key: str, where: str) -> list[Any]:
    if not isinstance(config.get(key), list) or not config[key]:
        raise FileFormatError(f"{where} has no list {key!r}, or an empty one; it may be truncated")
    return config[key]


def _name(described: Any, where: str) -> str:
    name = described.get("name") if isinstance(described, dict) else None
    if not isinstance(name, str):
        raise FileFormatError(f"{where} is missing or has no name")
    return _NEW_NAMES.get(name, name)


def _residual(described: Any, where: str) -> dict[str, Any]:
    if (name := _name(described, where)) != "ResidualBlock":
        raise FileFormatError(f"{where} is of unknown type {name}; known is ResidualBlock")
    conv = described.get("conv", described.get("mobile_inverted_conv"))
    conv = _optional(conv, ("MBConvLayer", "ConvLayer"), where)
    shortcut = _optional(described.get("shortcut"), ("IdentityLayer",), where)
    if conv and shortcut:
        widths = {layer[f"{side}_channels"] for layer in (conv, shortcut) for side in ("in", "out")}
        if len(widths) > 1 or conv["stride"] != 1:
            channels = " and ".join(map(str, sorted(widths)))
            raise FileFormatError(
                f"{where}: its shortcut is between {channels} channels at stride {conv['stride']}; it needs equal "
                "channels and stride 1"
            )
    return {"name": name, "conv": conv, "shortcut": shortcut}


def _optional(described: Any, known: tuple[str, ...], where: str) -> dict[str, Any] | None:
    """A layer, or None where there is none: null, or the layer that returns zeros."""
    if described is None or _name(described, where) == "ZeroLayer":
        return None
    return _layer(described, known, where)


def _layer(described: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    name = _name(described, where)
    if name not in known:
        raise FileFormatError(f"{where} is of unknown type {name}; known here: {', '.join(known)}")
    fields = _FIELDS[name]
    if foreign := sorted(set(described) - {"name"} - set(fields)):
        raise FileFormatError(f"{where}: {name} has an unknown field {foreign[0]!r}")
    made: dict[str, Any] = {"name": name}
    for key, allowed in fields.items():
        default = allowed[0] if isinstance(allowed, tuple) else allowed
        value = made[key] = _plain(described.get(key, default))
        if value is _REQUIRED:
            raise FileFormatError(f"{where}: {name} has no {key!r}")
        if problem := _problem(key, value, allowed):
            raise FileFormatError(f"{where}: {key} = {value!r} of {name} {problem}")
    if name == "MBConvLayer":
        made["mid_channels"] = made["mid_channels"] or round(made["in_channels"] * made["expand_ratio"])
        if not made["mid_channels"]:
            raise FileFormatError(f"{where}: expand_ratio = {made['expand_ratio']} of {name} leaves no channels")
    if name == "ResNetBottleneckBlock":
        middle = made["mid_channels"] or round(made["out_channels"] * made["expand_ratio"])
        made["mid_channels"] = make_divisible(middle)
    return made


def _problem(key: str, value: Any, allowed: Any) -> str:
    """What is wrong with the value of a field, in words; "" when nothing is."""
    if isinstance(allowed, tuple):
        return "" if value in allowed else "is not supported"
    if key in _COUNTS:
        if not _is_count(value) and (key, value) != ("mid_channels", None):
            return "is no positive whole number"
        return "is even, which is not supported" if key == "kernel_size" and value % 2 == 0 else ""
    if isinstance(allowed, bool):
        return "" if isinstance(value, bool) else "is neither true nor false"
    if key == "dropout_rate":
        return "" if _is_number(value) and 0 <= value <= 1 else "is no number from 0 to 1"
    return "" if _is_number(value) and value > 0 else "is no positive number"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _plain(value: Any) -> Any:
    """The published files wrap some channel counts into lists of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
