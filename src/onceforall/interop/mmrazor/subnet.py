"""MMRazor's sub-network YAML for Once-for-All: a flat mapping `alias: {chosen: value}`."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, InvalidArch
from ...space import Arch, Block, MobileLayout, SearchSpace, create_space

SPACE = "mbv3_w1.0"
"""The one space of ours whose networks its Once-for-All supernet holds."""
INPUT_SIZES = (128, 140, 144, 152, 192, 204, 224, 256)

# Candidates of its supernet, which can be cut to more networks than were ever trained: ratio 5, narrower layers.
_LAYERS = (1, 2, 3, 4, 5, 6)
_KERNEL_SIZES, _EXPAND_RATIOS, _DEPTHS = (3, 5, 7), (3, 4, 5, 6), (2, 3, 4)
_OUT_CHANNELS = {1: (16, 16), 2: (16, 24), 3: (24, 40), 4: (40, 80), 5: (80, 112), 6: (112, 160)}
_LAST_CHANNELS = (1024, 1280)
_CHANNEL_STEP = 8


def arch_from_yaml(path: str | Path) -> Arch:
    """The architecture in space mbv3_w1.0 that a sub-network file describes.

    Kernel size and expand ratio are read per block, or per layer where the file has that form. Blocks beyond the depth
    must be there with legal values, as for MMRazor, and mean nothing. Unknown aliases and `meta` are ignored.

    Raises:
        FileFormatError: no such file, no YAML, an alias that is missing, or a sub-network of the AttentiveNAS space.
        InvalidArch: a value outside the candidates, or a network that MMRazor knows and Once-for-All does not.
    """
    choices = _Choices(path, _read(path))
    space = create_space(SPACE)
    layout = space.layout
    assert isinstance(layout, MobileLayout)
    resolution = _resolution(choices, space)
    _require(choices, "backbone.first_channels", (layout.stem_width,), layout.stem_width)
    _require(choices, "backbone.last_channels", _LAST_CHANNELS, layout.mix_width)
    stages = []
    for layer in _LAYERS:
        alias = f"backbone.layers.{layer}"
        smallest, largest = _OUT_CHANNELS[layer]
        widths = range(smallest, largest + 1, _CHANNEL_STEP)
        _require(choices, f"{alias}.out_channels", widths, layout.stages[layer - 2].width if layer > 1 else smallest)
        depth = choices.take(f"{alias}.depth", _DEPTHS if layer > 1 else (1,))
        if layer == 1:
            choices.take_of_block(layer, 0, "kernel_size", (3,))
            choices.take_of_block(layer, 0, "expand_ratio", (1,))
            continue
        blocks = [_block(choices, layout, layer, block, block < depth) for block in range(_DEPTHS[-1])]
        stages.append(tuple(blocks[:depth]))
    arch = Arch(resolution, tuple(stages))
    space.validate(arch, any_resolution=True)
    return arch


def arch_to_yaml(arch: Arch) -> str:
    """The sub-network file of an architecture of space mbv3_w1.0; blocks that do not run get the smallest values.

    MMRazor resizes to one of eight sizes. A size of ours beside them is written all the same, under a comment that says
    what has to be added to its configuration. Raises InvalidArch for an architecture of another space.
    """
    space = create_space(SPACE)
    layout = space.layout
    assert isinstance(layout, MobileLayout)
    space.validate(arch, any_resolution=True)
    chosen: dict[str, Any] = {
        "input_shape": [arch.resolution, arch.resolution],
        "backbone.first_channels": layout.stem_width,
        "backbone.last_channels": layout.mix_width,
        "backbone.layers.1.out_channels": layout.first_width,
        "backbone.layers.1.depth": 1,
        "backbone.layers.1.0.kernel_size": 3,
        "backbone.layers.1.0.expand_ratio": 1,
    }
    for layer, (blocks, stage) in enumerate(zip(arch.stages, layout.stages, strict=True), start=2):
        alias = f"backbone.layers.{layer}"
        chosen |= {f"{alias}.out_channels": stage.width, f"{alias}.depth": len(blocks)}
        idle = [Block(_KERNEL_SIZES[0], _EXPAND_RATIOS[0])] * (_DEPTHS[-1] - len(blocks))
        for number, (kernel_size, expand_ratio) in enumerate([*blocks, *idle]):
            chosen[f"{alias}.{number}.kernel_size"] = kernel_size
            chosen[f"{alias}.{number}.expand_ratio"] = expand_ratio
            if stage.squeeze_excite:
                chosen[f"{alias}.{number}.expand_ratio_se"] = expand_ratio
    lines = [f"{alias}: {{chosen: {value}}}" for alias, value in chosen.items()]
    if arch.resolution not in INPUT_SIZES:
        lines.insert(0, f"# for MMRazor add [{arch.resolution}, {arch.resolution}] to the input sizes of its supernet")
    return "\n".join(lines) + "\n"


class _Choices:
    """The chosen values of a file; taking one that is missing or not allowed is an error that names the alias."""

    def __init__(self, path: str | Path, entries: Mapping[str, Any]) -> None:
        self.path, self.entries = path, entries

    def chosen(self, alias: str) -> Any:
        if alias not in self.entries:
            raise FileFormatError(f"{self.path}: {alias}{_place(alias)} is missing")
        entry = self.entries[alias]
        if not isinstance(entry, Mapping) or "chosen" not in entry:
            raise FileFormatError(f"{self.path}: {alias}{_place(alias)} needs the form {{chosen: value}}")
        return entry["chosen"]

    def take(self, alias: str, allowed: Collection[int]) -> int:
        value = self.chosen(alias)
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
            listed = ", ".join(map(str, allowed))
            raise InvalidArch(f"{self.path}: {alias}{_place(alias)} is {value}; the candidates are {listed}")
        return int(value)

    def take_of_block(self, layer: int, block: int, what: str, allowed: Collection[int]) -> int:
        """Of one block, or of its whole layer in a file that is not fine-grained."""
        own, common = f"backbone.layers.{layer}.{block}.{what}", f"backbone.layers.{layer}.{what}"
        return self.take(common if own not in self.entries and common in self.entries else own, allowed)


def _place(alias: str) -> str:
    """Where in our words an alias lies: layer 1 is the fixed block, layer 2 the first stage."""
    parts = alias.split(".")
    if parts[:2] != ["backbone", "layers"] or parts[2] == "1":
        return ""
    stage = f"stage {int(parts[2]) - 1}"
    return f" ({stage}, block {int(parts[3]) + 1})" if len(parts) > 4 else f" ({stage})"


def _block(choices: _Choices, layout: MobileLayout, layer: int, block: int, runs: bool) -> Block:
    kernel_size = choices.take_of_block(layer, block, "kernel_size", _KERNEL_SIZES)
    ratio = choices.take_of_block(layer, block, "expand_ratio", _EXPAND_RATIOS)
    if runs and ratio not in layout.expand_ratios:
        alias = f"backbone.layers.{layer}.{block}.expand_ratio"
        raise InvalidArch(
            f"{choices.path}: {alias}{_place(alias)} is expand ratio {ratio}, which no network of space {SPACE} has; "
            f"its ratios are {', '.join(map(str, layout.expand_ratios))}"
        )
    alias = f"backbone.layers.{layer}.{block}.expand_ratio_se"
    fine_grained = f"backbone.layers.{layer}.{block}.expand_ratio" in choices.entries
    if layout.stages[layer - 2].squeeze_excite and fine_grained:
        channels = layout.in_width(layer - 2, block)
        gate, ours = (layout.squeeze_width(channels * e) for e in (choices.take(alias, _EXPAND_RATIOS), ratio))
        if runs and gate != ours:
            raise InvalidArch(
                f"{choices.path}: {alias}{_place(alias)} makes the squeeze-and-excite {gate} channels wide; space "
                f"{SPACE} has {ours} there, which follow from expand ratio {ratio}"
            )
    return Block(kernel_size, ratio)


def _require(choices: _Choices, alias: str, allowed: Collection[int], needed: int) -> None:
    """Take a channel count that MMRazor could choose and that our space fixes."""
    value = choices.take(alias, allowed)
    if value != needed:
        raise InvalidArch(
            f"{choices.path}: {alias}{_place(alias)} is {value}; networks of space {SPACE} have {needed} channels there"
        )


def _resolution(choices: _Choices, space: SearchSpace) -> int:
    shape = choices.chosen("input_shape")
    sizes = sorted({*INPUT_SIZES, *space.resolutions})
    square = isinstance(shape, list | tuple) and len(shape) == 2 and shape[0] == shape[1]
    if not square or isinstance(shape[0], bool) or shape[0] not in sizes:
        raise InvalidArch(
            f"{choices.path}: input_shape is {shape}; square images [R, R] are needed, R one of {_listed(sizes)}"
        )
    return int(shape[0])


def _listed(sizes: list[int]) -> str:
    return f"{sizes[0]}, {sizes[1]}, ..., {sizes[-1]}"


def _read(path: str | Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise FileFormatError(f"{path} is not a YAML file; it may be truncated") from error
    aliases = [str(key) for key in content] if isinstance(content, Mapping) else []
    if not any(alias.startswith("backbone.") for alias in aliases):
        raise FileFormatError(
            f"{path} is no sub-network file of MMRazor; it has no lines such as backbone.layers.2.depth"
        )
    if any(alias.startswith("backbone.layers.7.") for alias in aliases):
        raise FileFormatError(
            f"{path} is a sub-network of the AttentiveNAS space (BigNAS, AlphaNet), which has seven layers; "
            f"only Once-for-All's MobileNetV3 ({SPACE}) is read"
        )
    return content
