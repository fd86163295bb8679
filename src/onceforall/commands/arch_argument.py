"""`arch=`: the one place that turns what a user types into an architecture."""

import difflib
import json
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import ConfigError, FileFormatError, InvalidArch
from ..files import read_json
from ..run import Run
from ..space import Arch, SearchSpace, StageChoices
from ..space.arch import Block

MEANING = (
    "largest, smallest, chosen (of the newest search), a name from a search result, a file (our JSON, MMRazor's YAML, "
    "net.config, an official dictionary or a genotype as JSON), or JSON text"
)
ALL_LIMIT = 1000


def parse_arch(text: str, space: SearchSpace, run: Run | None = None, any_resolution: bool = False) -> Arch:
    """The architecture that `text` names, valid in `space`.

    Args:
        text: `largest`; `smallest`; `chosen`, the choice of the newest search of the run; the name of a network in any
            search result of the run; a path of a file; or JSON text. JSON may be an architecture, or an object that
            holds one under "arch" (a search member, the record of an exported file), or one in the spelling of
            another project (see `interop.arch_file.read_arch`).
        any_resolution: whether the image may have a size that the space does not have.

    Raises:
        InvalidArch: not in the space, or no architecture at all. ConfigError: a name or file that does not exist.
        FileFormatError: a file without an architecture.
    """
    if text == "largest":
        return space.largest
    if text == "smallest":
        return space.smallest
    if _is_json(text):
        return _validated(_from_json_text(text, space), space, "the JSON given", any_resolution)
    if run is not None and (arch := _from_searches(text, run)) is not None:
        return _validated(arch, space, text, any_resolution)
    path = Path(text)
    if path.is_file() or (path / "net.config").is_file():
        return _validated(_from_file(path, text, space), space, text, any_resolution)
    raise ConfigError(f"arch={text}: {_remedy(text, path, run)}")


def all_archs(space: SearchSpace) -> list[Arch]:
    """Every network of a small space, the smallest first. Raises ConfigError, with the count, above 1,000."""
    if space.size > ALL_LIMIT:
        raise ConfigError(
            f"all=true: space {space.name} has {space.size:.3g} networks; at most {ALL_LIMIT:,} are evaluated at once. "
            "Name some with arch=..."
        )
    stages = [_every_stage(choices) for choices in space.stages]
    widths = list(product(*space.widths))
    return [Arch(size, chosen, mults) for size in space.resolutions for chosen in product(*stages) for mults in widths]


def _every_stage(choices: StageChoices) -> list[tuple[Block, ...]]:
    """All ways to fill one stage."""
    found: list[tuple[Block, ...]] = []
    for index, depth in enumerate(choices.depths):
        ratios = choices.expand_of_depth[index : index + 1] or choices.expand_ratios
        blocks = [Block(*pair) for pair in product(choices.kernel_sizes, ratios)]
        found += dict.fromkeys((b,) * depth for b in blocks) if choices.alike else product(blocks, repeat=depth)
    return found


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def split_archs(text: str) -> list[str]:
    """`largest,smallest` as two texts; JSON and paths with commas stay whole."""
    if _is_json(text) or Path(text).exists():
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()] or [text]


def parse_archs(
    texts: list[str], space: SearchSpace, run: Run | None = None, any_resolution: bool = False
) -> list[Arch]:
    """Several architectures; `front` stands for all networks on the front of the newest search."""
    archs: list[Arch] = []
    for text in texts:
        if text == "front" and run is not None:
            archs += [Arch.from_dict(member["arch"]) for member in newest_search(run)["front"]]
        else:
            archs.append(parse_arch(text, space, run, any_resolution))
    return list(dict.fromkeys(archs))


def newest_search(run: Run) -> dict[str, Any]:
    """The newest search result of a run. Raises ConfigError when there is none."""
    names = run.searches()
    if not names:
        raise ConfigError(f"{run.folder} has no search result yet; make one with: ofa search run={run.folder}")
    return run.read_search(names[0])


def _from_searches(text: str, run: Run) -> Arch | None:
    """What `chosen` or a name stands for in the search results of a run; None when there is no such name."""
    if text == "chosen":
        found = newest_search(run)
        if found["chosen"] is None:
            raise ConfigError(
                f"arch=chosen: the newest search ({found['name']}) chose none; give it a constraint, "
                f"for example: ofa search run={run.folder} constraint.latency_ms=4"
            )
        return Arch.from_dict(found["chosen"]["arch"])
    return _members(run).get(text)


def _members(run: Run) -> dict[str, Arch]:
    members: dict[str, Arch] = {}
    for name in reversed(run.searches()):
        found = run.read_search(name)
        for member in [*found["evaluated"], *found["front"]]:
            members[member["name"]] = Arch.from_dict(member["arch"])
    return members


def _from_json_text(text: str, space: SearchSpace) -> Arch:
    try:
        described = json.loads(text)
    except json.JSONDecodeError:
        return Arch.from_json(text)  # whose error says what is wrong
    return Arch.from_json(text) if _is_ours(described) else _foreign(text, space)


def _from_file(path: Path, text: str, space: SearchSpace) -> Arch:
    if path.is_dir() or path.suffix in (".yaml", ".yml"):
        return _foreign(text, space)
    described = read_json(path)
    return _from_dict(described, text) if _is_ours(described) else _foreign(text, space)


def _is_ours(described: Any) -> bool:
    """Whether JSON is in our own spelling, or at least in no other that is known."""
    others = isinstance(described, dict) and {"d", "e", "blocks"} & set(described)
    return not others and not (isinstance(described, list) and described)


def _foreign(text: str, space: SearchSpace) -> Arch:
    from ..interop.arch_file import read_arch

    try:
        return read_arch(text, space)[1]
    except InvalidArch as error:
        named = _is_json(text) or str(error).startswith(text)
        raise error if named else InvalidArch(f"{text} is no architecture of {space.name}: {error}") from error


def _from_dict(described: Any, origin: str) -> Arch:
    if isinstance(described, dict) and isinstance(described.get("chosen"), dict):
        described = described["chosen"]
    if isinstance(described, dict) and isinstance(described.get("arch"), dict):
        described = described["arch"]
    try:
        return Arch.from_dict(described)
    except InvalidArch as error:
        raise FileFormatError(f"{origin} holds no architecture: {error}") from error


def _validated(arch: Arch, space: SearchSpace, origin: str, any_resolution: bool) -> Arch:
    try:
        space.validate(arch, any_resolution)
    except InvalidArch as error:
        raise InvalidArch(f"{origin} is no architecture of {space.name}: {error}") from error
    return arch


def _remedy(text: str, path: Path, run: Run | None) -> str:
    if path.suffix or len(path.parts) > 1:
        return "no such file"
    names = ["largest", "smallest", "chosen", *(_members(run) if run is not None else ())]
    close = difflib.get_close_matches(text, names, 3)
    return f"did you mean {' or '.join(close)}?" if close else f"use {MEANING}"
