"""MMRazor's checkpoints: converted from official files, and loaded into our supernets."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError, FileFormatError
from ...space import Arch, MobileLayout
from ...supernets import Supernet, create_supernet
from ...supernets.mobile import MobileSupernet
from ..official import checkpoints as official
from .keys import PREFIX, SUPERNET_DEPTHS, is_mmrazor, official_key, razor_key, to_mmrazor, to_official

_RAZOR_BLOCK = re.compile(r"architecture\.backbone\.layer(\d+)\.(\d+)\.")
_POSITION = re.compile(r"stages\.(\d+)\.(\d+)\.(.+)")


def convert_checkpoint(
    source: str | Path, out: str | Path | None = None, *, to: str = "mmrazor", depths: Sequence[int] | None = None
) -> Path:
    """Rename the tensors of a torch file, from official to MMRazor's names or back; all else in the file stays.

    Args:
        source: an official checkpoint, of a supernet or of a sub-network, or (`to="official"`) one of MMRazor.
        out: where to write; None: `<stem>_latest.pth` beside the source. May be the source itself.
        to: "mmrazor" or "official".
        depths: blocks per layer of a sub-network, the fixed first one included; None: read off the widths.

    Returns:
        The path written.

    Raises:
        FileFormatError: a file that is damaged or holds something else, that lacks tensors of its network (which are
            listed), or depths that do not fit it.
        ConfigError: `to` is neither. StorageError: the disk is full; an earlier file at `out` is intact.
    """
    if to not in ("mmrazor", "official"):
        raise ConfigError(f"to={to}: use mmrazor or official")
    content = official.read_torch_file(source)
    tensors = content["state_dict"] if isinstance(content.get("state_dict"), Mapping) else content
    if is_mmrazor(tensors) == (to == "mmrazor"):
        raise FileFormatError(
            f"{source}: its tensors {'have' if to == 'mmrazor' else 'do not have'} MMRazor's names already"
        )
    try:
        renamed = to_mmrazor(tensors, depths) if to == "mmrazor" else to_official(tensors)
        if lacking := _lacking(renamed if to == "mmrazor" else tensors, to):
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            raise FileFormatError(f"the checkpoint lacks {', '.join(lacking[:5])}{more}")
    except FileFormatError as error:
        raise FileFormatError(f"{source}: {error}") from error
    path = Path(out) if out is not None else Path(source).with_name(f"{Path(source).stem}_latest.pth")
    official.write_torch_file(path, renamed, None if tensors is content else content)
    return path


def _lacking(tensors: Mapping[str, Tensor], to: str) -> list[str]:
    """What a checkpoint with MMRazor's names lacks; `to` mmrazor it had official ones, which are then given."""
    found = {key if key.startswith(PREFIX) else PREFIX + key for key in tensors}
    elastic = any("trans_matrix" in key for key in found)
    depths = list(SUPERNET_DEPTHS)
    if not elastic:  # one network: as many blocks as there are, two in every layer at least
        blocks = [(int(match[1]), int(match[2])) for key in found if (match := _RAZOR_BLOCK.match(key))]
        least = (1, 2, 2, 2, 2, 2)
        depths = [max([few, *(b + 1 for n, b in blocks if n == layer)]) for layer, few in enumerate(least, start=1)]
    with torch.device("meta"):
        whole = create_supernet("mbv3_w1.0")  # names do not depend on the width
    lacking = []
    for key in whole.state_dict():
        name = razor_key(official.official_key(whole, key))
        match = _RAZOR_BLOCK.match(name)
        idle = match is not None and int(match[2]) >= depths[int(match[1]) - 1]
        optional = key.endswith("num_batches_tracked") or (".transforms." in key and not elastic)
        if name not in found and not idle and not optional:
            lacking.append(official_key(name, depths, elastic) if to == "mmrazor" else name)
    return lacking


def holds_subnet(tensors: Mapping[str, Any], supernet: Supernet) -> bool:
    """Whether tensors by official names are those of one sub-network of the supernet.

    Then there are no matrices, and only blocks are missing or of other shapes.
    """
    if not isinstance(supernet.space.layout, MobileLayout) or any(str(key).endswith("_matrix") for key in tensors):
        return False
    own = _plain_shapes(supernet)
    given = {_plain(str(key)): getattr(value, "shape", None) for key, value in tensors.items()}
    other = [key for key, shape in given.items() if key not in own or own[key] not in (shape, ())]
    fewer = _blocks(given) < _blocks(own)
    return (fewer or bool(other)) and all(key.startswith("blocks.") for key in other)


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a torch file under official names, whether they had those or MMRazor's. Raises FileFormatError."""
    content = official.read_torch_file(path)
    tensors = content["state_dict"] if isinstance(content.get("state_dict"), Mapping) else content
    if foreign := [key for key, value in tensors.items() if not isinstance(value, Tensor)]:
        raise FileFormatError(f"{path} is no checkpoint: {foreign[0]!r} is no tensor")
    try:
        return to_official(tensors) if is_mmrazor(tensors) else {str(key): value for key, value in tensors.items()}
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def load_checkpoint(supernet: Supernet, source: str | Path | Mapping[str, Tensor], arch: Arch | None = None) -> str:
    """Load a checkpoint with official or MMRazor's names into a supernet: all of its weights, or those of one network.

    The checkpoint of a static sub-network fills the part of the weights that `arch` runs with, its kernels in the
    middle of the stored ones and the matrices set to identity, so that `extract(arch)` gives exactly that network.
    Nothing else of the supernet is then of any use.

    Args:
        source: path of a torch file, or tensors by official names (`read_checkpoint`).
        arch: the network that a static checkpoint must fit; None: only checkpoints of supernets.

    Returns:
        "supernet" or "subnet": what the checkpoint holds.

    Raises:
        FileFormatError: a damaged file, or tensors that do not fit; the first ones are named.
    """
    if not isinstance(source, Mapping):
        try:
            return load_checkpoint(supernet, read_checkpoint(source), arch)
        except FileFormatError as error:
            raise FileFormatError(str(error) if str(source) in str(error) else f"{source}: {error}") from error
    layout = supernet.space.layout
    if arch is None or not isinstance(layout, MobileLayout) or not _is_static(source, supernet):
        official.load_checkpoint(supernet, source)
        return "supernet"
    _load_static(supernet, layout, arch, source)
    return "subnet"


def subnet_tensors(supernet: Supernet, arch: Arch) -> dict[str, Tensor]:
    """Copies of the weights of one network of a MobileNetV3 supernet, under the official names of a static network.

    Raises:
        InvalidArch: an architecture outside the space. FileFormatError: a supernet of another family.
    """
    layout = supernet.space.layout
    if not isinstance(supernet, MobileSupernet) or not isinstance(layout, MobileLayout) or not layout.mix_width:
        raise FileFormatError(f"MMRazor has no family like {supernet.space.name}")
    supernet.space.validate(arch, any_resolution=True)
    tensors = {}
    for key, stored in supernet.state_dict().items():
        name = _static_name(supernet, layout, arch, key)
        if name is None or ".transforms." in key:
            continue
        shape = _static_shape(layout, arch, key, stored.shape)
        if key.endswith(".depthwise.weight") and (match := _POSITION.fullmatch(key)):
            block = supernet.block(int(match[1]), int(match[2]))
            stored = block.depthwise.active_weight(shape[0], shape[-1]).detach()
        tensors[name] = stored[tuple(slice(0, size) for size in shape)].clone()
    return tensors


def _is_static(tensors: Mapping[str, Tensor], supernet: Supernet) -> bool:
    """Whether a checkpoint holds one network; an elastic one has matrices, or all widths where it needs none."""
    if any(key.endswith("_matrix") for key in tensors):
        return False
    layout = supernet.space.layout
    assert isinstance(layout, MobileLayout)
    own = _plain_shapes(supernet)
    fits = all(own.get(_plain(key)) == value.shape for key, value in tensors.items() if value.dim() > 0)
    return layout.kernel_transforms or not fits


def _plain_shapes(supernet: Supernet) -> dict[str, torch.Size]:
    state = supernet.state_dict()
    return {_plain(official.official_key(supernet, key)): value.shape for key, value in state.items()}


def _blocks(keys: Iterable[str]) -> set[int]:
    """The numbers of the blocks that official keys belong to."""
    return {int(key.split(".")[1]) for key in keys if re.match(r"blocks\.\d+\.", key)}


def _plain(key: str) -> str:
    """One spelling for official keys old and new, elastic and static."""
    key = key.replace(".mobile_inverted_conv.", ".conv.").replace(".bn.bn.", ".bn.")
    return key.replace(".conv.conv.weight", ".conv.weight").replace(".linear.linear.", ".linear.")


def _load_static(supernet: Supernet, layout: MobileLayout, arch: Arch, tensors: Mapping[str, Tensor]) -> None:
    given = {_plain(key): value for key, value in tensors.items()}
    blocks = _blocks(given)
    if len(blocks) != 1 + sum(arch.depths):
        depths = ", ".join(map(str, arch.depths))
        raise FileFormatError(
            f"the checkpoint has {len(blocks)} blocks; {arch.name} has {1 + sum(arch.depths)}, the fixed first one and "
            f"depths {depths}"
        )
    state = {key: stored.clone() for key, stored in supernet.state_dict().items()}
    problems: list[str] = []
    used: set[str] = set()
    for key, stored in state.items():
        name = _static_name(supernet, layout, arch, key)
        if name is None:
            continue
        if ".transforms." in key:
            stored.copy_(torch.eye(len(stored)))
            continue
        used.add(name)
        if stored.dim() == 0:  # the counter of batches means nothing in eval mode
            continue
        shape = _static_shape(layout, arch, key, stored.shape)
        if name not in given:
            problems.append(f"{name} is missing")
        elif given[name].shape != shape:
            problems.append(f"{name} has shape {tuple(given[name].shape)}, needs {tuple(shape)}")
        else:
            _fill(stored, given[name])
    problems += [f"{name} is unexpected" for name in given if name not in used]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise FileFormatError(f"not a checkpoint of the sub-network {arch.name}: {'; '.join(problems[:3])}{more}")
    supernet.load_state_dict(state)


def _static_name(supernet: Supernet, layout: MobileLayout, arch: Arch, key: str) -> str | None:
    """The official name of one of our keys in the checkpoint of a static network; None where it has no such block."""
    name = _plain(official.official_key(supernet, key))
    match = _POSITION.fullmatch(key)
    if match is None:
        return name
    stage, block = int(match[1]), int(match[2])
    if block >= len(arch.stages[stage]):
        return None
    return re.sub(r"^blocks\.\d+", f"blocks.{1 + sum(arch.depths[:stage]) + block}", name)


def _static_shape(layout: MobileLayout, arch: Arch, key: str, stored: torch.Size) -> torch.Size:
    """The shape that one of our tensors has in the static network."""
    match = _POSITION.fullmatch(key)
    if match is None or len(stored) == 0:
        return stored
    stage, block = int(match[1]), int(match[2])
    kernel_size, expand_ratio = arch.stages[stage][block]
    middle = layout.middle_width(stage, block, expand_ratio)
    squeezed = layout.squeeze_width(middle)
    shapes = {
        "expand.weight": (middle, layout.in_width(stage, block), 1, 1),
        "depthwise.weight": (middle, 1, kernel_size, kernel_size),
        "squeeze_excite.reduce.weight": (squeezed, middle, 1, 1),
        "squeeze_excite.reduce.bias": (squeezed,),
        "squeeze_excite.expand.weight": (middle, squeezed, 1, 1),
        "squeeze_excite.expand.bias": (middle,),
        "project.weight": (layout.stages[stage].width, middle, 1, 1),
    }
    if match[3] in shapes:
        return torch.Size(shapes[match[3]])
    return torch.Size((middle,)) if match[3].startswith(("expand_bn.", "depthwise_bn.")) else stored


def _fill(stored: Tensor, value: Tensor) -> None:
    """Write a static tensor over the first channels of a stored one, a kernel over its middle."""
    place = [slice(0, size) for size in value.shape]
    for axis in (2, 3) if stored.dim() == 4 else ():
        margin = (stored.shape[axis] - value.shape[axis]) // 2
        place[axis] = slice(margin, margin + value.shape[axis])
    stored[tuple(place)] = value.to(stored.dtype)
