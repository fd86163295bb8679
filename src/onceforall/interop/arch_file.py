"""Architectures in the spelling of any project that is known here: which one is seen from the content."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, FileFormatError
from ..files import read_json
from ..space import Arch, SearchSpace, create_space
from . import mmrazor, nnablanas, official


def read_arch(
    source: str | Path,
    space: SearchSpace | None = None,
    *,
    resolution: int | None = None,
    op_candidates: Sequence[str] | None = None,
    strict: bool = True,
    guess: bool = True,
) -> tuple[SearchSpace, Arch]:
    """An architecture, and the space it is of.

    Args:
        source: path of a folder or file of the official net.config, of an official dictionary (`ks`, `e`, `d`) or a
            genotype as JSON, of a sub-network YAML of MMRazor, or of our own JSON; or the JSON text itself.
        space: None: the one the source tells.
        resolution: takes the place of what the source says.
        op_candidates: what the numbers of a genotype stand for; None: the nine of NNablaNAS.
        strict: see `nnablanas.arch_from_genotype`.
        guess: where the source does not tell the widths of the network, take mbv3_w1.0, proxyless_w1.3 or resnet50.

    Raises:
        FileFormatError: nothing that is known. ConfigError: a space is needed that was not given.
        InvalidArch: not in the space.
    """
    path, text = Path(source), str(source).lstrip()
    if text[:1] in ("{", "["):
        content = _json_text(text)
    elif path.suffix in (".yaml", ".yml"):
        return _placed(mmrazor.arch_from_yaml(path), space or create_space("mbv3_w1.0"), resolution)
    else:
        content = None if path.is_dir() else read_json(path)
    if content is None or _is_net_config(content):
        if text[:1] == "{":
            raise ConfigError("a net.config is read from its file or folder; give the path")
        config, resolution = official.read_net_config(path, resolution)
        space = space or official.space_from_config(config)
        if space is None:
            raise ConfigError(f"{_shown(text)} is as narrow as no known space; name one with space=...")
        return space, official.arch_from_config(space, config, resolution)
    content = _unwrapped(content)
    if space is None:
        name = _likely_space(content)
        if name is None or not guess:
            raise ConfigError(f"{_shown(text)} does not tell the space of its architecture; name it with space=...")
        space = create_space(name)
    if _is_genotype(content):
        options: dict[str, Any] = {} if op_candidates is None else {"op_candidates": op_candidates}
        return space, nnablanas.arch_from_genotype(space, content, strict=strict, resolution=resolution, **options)
    arch = official.arch_from_dict(space, content) if "d" in content else Arch.from_dict(content)
    return _placed(arch, space, resolution)


def _json_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{_shown(text)} is not JSON ({error})") from error


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _is_net_config(content: Any) -> bool:
    return isinstance(content, dict) and "blocks" in content and "classifier" in content


def _is_genotype(content: Any) -> bool:
    return isinstance(content, list) or isinstance(content.get("w"), dict)


def _unwrapped(content: Any) -> Any:
    """The architecture in a search result, in a member of one, or in the record of an exported file."""
    for wrapper in ("chosen", "arch"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict | list):
        raise FileFormatError(f"{_shown(str(content))} is no architecture of a known project")
    return content


def _likely_space(content: Any) -> str | None:
    """The published space that an architecture may be of, by its number of stages or blocks."""
    if isinstance(content, list):
        return "resnet50" if len(content) == 3 else "mbv3_w1.0"
    if "w" in content or "width_mults" in content:
        return "resnet50"
    ratios = content.get("e")
    if isinstance(ratios, list):
        stages = {20: 5, 21: 6}.get(len(ratios), 0)
    else:
        listed = content.get("stages")
        stages = len(listed) if isinstance(listed, list) else 5
    return {5: "mbv3_w1.0", 6: "proxyless_w1.3"}.get(stages)


def _placed(arch: Arch, space: SearchSpace, resolution: int | None) -> tuple[SearchSpace, Arch]:
    arch = arch if resolution is None else replace(arch, resolution=resolution)
    space.validate(arch, any_resolution=True)
    return space, arch
