"""`arch=`: the one place that turns what a user types into an architecture."""

import difflib
from pathlib import Path
from typing import Any

from ..errors import ConfigError, FileFormatError, InvalidArch
from ..files import read_json
from ..run import Run
from ..space import Arch, SearchSpace

MEANING = "largest, smallest, chosen (of the newest search), a name from a search result, a JSON file, or JSON text"


def parse_arch(text: str, space: SearchSpace, run: Run | None = None) -> Arch:
    """The architecture that `text` names, valid in `space`.

    Args:
        text: `largest`; `smallest`; `chosen`, the choice of the newest search of the run; the name of a network in any
            search result of the run; a path of a JSON file; or JSON text. JSON may be an architecture, or an object
            that holds one under "arch" (a search member, the record of an exported file).

    Raises:
        InvalidArch: not in the space, or no architecture at all. ConfigError: a name or file that does not exist.
    """
    if text == "largest":
        return space.largest
    if text == "smallest":
        return space.smallest
    if text.lstrip().startswith("{"):
        return _validated(Arch.from_json(text), space, "the JSON given")
    if run is not None and (arch := _from_searches(text, run)) is not None:
        return _validated(arch, space, text)
    path = Path(text)
    if path.is_file():
        return _validated(_from_dict(read_json(path), text), space, text)
    raise ConfigError(f"arch={text}: {_remedy(text, path, run)}")


def split_archs(text: str) -> list[str]:
    """`largest,smallest` as two texts; JSON and paths with commas stay whole."""
    if text.lstrip().startswith("{") or Path(text).is_file():
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()] or [text]


def parse_archs(texts: list[str], space: SearchSpace, run: Run | None = None) -> list[Arch]:
    """Several architectures; `front` stands for all networks on the front of the newest search."""
    archs: list[Arch] = []
    for text in texts:
        if text == "front" and run is not None:
            archs += [Arch.from_dict(member["arch"]) for member in newest_search(run)["front"]]
        else:
            archs.append(parse_arch(text, space, run))
    return list(dict.fromkeys(archs))


def newest_search(run: Run) -> dict[str, Any]:
    """The newest search result of a run. Raises ConfigError when there is none."""
    names = run.searches()
    if not names:
        raise ConfigError(f"{run.folder} has no search result yet; make one with: ofa search run={run.folder}")
    return read_json(run.search_path(names[0]))


def _from_searches(text: str, run: Run) -> Arch | None:
    """What `chosen` or a name stands for in the search results of a run; None when there is no such name."""
    if text == "chosen":
        found = newest_search(run)
        if found.get("chosen") is None:
            raise ConfigError(
                f"arch=chosen: the newest search ({found['name']}) chose none; give it a constraint, "
                f"for example: ofa search run={run.folder} constraint.latency_ms=4"
            )
        return Arch.from_dict(found["chosen"]["arch"])
    return _members(run).get(text)


def _members(run: Run) -> dict[str, Arch]:
    members: dict[str, Arch] = {}
    for name in reversed(run.searches()):
        found = read_json(run.search_path(name))
        for member in [*found["evaluated"], *found["front"]]:
            members[member["name"]] = Arch.from_dict(member["arch"])
    return members


def _from_dict(described: Any, origin: str) -> Arch:
    if isinstance(described, dict) and isinstance(described.get("chosen"), dict):
        described = described["chosen"]
    if isinstance(described, dict) and isinstance(described.get("arch"), dict):
        described = described["arch"]
    try:
        return Arch.from_dict(described)
    except InvalidArch as error:
        raise FileFormatError(f"{origin} holds no architecture: {error}") from error


def _validated(arch: Arch, space: SearchSpace, origin: str) -> Arch:
    try:
        space.validate(arch)
    except InvalidArch as error:
        raise InvalidArch(f"{origin} is no architecture of {space.name}: {error}") from error
    return arch


def _remedy(text: str, path: Path, run: Run | None) -> str:
    if path.suffix or len(path.parts) > 1:
        return "no such file"
    names = ["largest", "smallest", "chosen", *(_members(run) if run is not None else ())]
    close = difflib.get_close_matches(text, names, 3)
    return f"did you mean {' or '.join(close)}?" if close else f"use {MEANING}"
