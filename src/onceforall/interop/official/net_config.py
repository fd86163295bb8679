"""net.config, the description of one static network: every spelling that was published, made into one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import FileFormatError
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
        FileFormatError: a file is missing or damaged, or the network has a layer or field that is not known; names it.
    """
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
    if not isinstance(size, int) or size < 1:
        raise FileFormatError(f"{file} names no image_size in pixels")
    return size


def normalised(config: Any, where: str) -> dict[str, Any]:
    """`config` in the newest spelling, every field filled in; the argument stays as it is. Raises FileFormatError."""
    name = config.get("name") if isinstance(config, dict) else None
    if name not in _EPS:
        kind = f"a network of type {name!r}" if isinstance(name, str) else "no network"
        raise FileFormatError(f"{where} describes {kind}; known are {', '.join(_EPS)}")
    norm = {"momentum": 0.1, "eps": _EPS[name], **(config.get("bn") or {})}
    if foreign := [key for key, value in norm.items() if key not in ("momentum", "eps") and value is not None]:
        raise FileFormatError(f"{where} has bn.{foreign[0]}, which is not supported")
    made: dict[str, Any] = {"name": name, "bn": {key: norm[key] for key in ("momentum", "eps")}}
    if name == "ResNets":
        stem = _list(config, "input_stem", where)
        made["input_stem"] = [
            _residual(layer, f"{where}: input_stem {i}")
            if _name(layer, f"{where}: input_stem {i}") == "ResidualBlock"
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
    return made


def _list(config: Mapping[str, Any], key: str, where: str) -> list[Any]:
    if not isinstance(config.get(key), list):
        raise FileFormatError(f"{where} has no list {key!r}; it may be truncated")
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
    return {"name": name, "conv": _optional(conv, ("MBConvLayer", "ConvLayer"), where)} | {
        "shortcut": _optional(described.get("shortcut"), ("IdentityLayer",), where)
    }


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
        if isinstance(allowed, tuple) and value not in allowed:
            raise FileFormatError(f"{where}: {key} = {value!r} of {name} is not supported")
        if key in _COUNTS and value is not None and (not isinstance(value, int) or value < 1):
            raise FileFormatError(f"{where}: {key} = {value!r} of {name} is no positive whole number")
    if name == "MBConvLayer":
        made["mid_channels"] = made["mid_channels"] or round(made["in_channels"] * made["expand_ratio"])
    if name == "ResNetBottleneckBlock":
        middle = made["mid_channels"] or round(made["out_channels"] * made["expand_ratio"])
        made["mid_channels"] = make_divisible(middle)
    return made


def _plain(value: Any) -> Any:
    """The published files wrap some channel counts into lists of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
