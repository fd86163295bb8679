"""The house's import direction, read from the source of every file, and how little `ofa --help` imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "onceforall"
FILES = sorted(PACKAGE.rglob("*.py"))

BASE = {"errors", "files", "settings"}
MAY_IMPORT = {
    "errors": set(),
    "settings": set(),
    "files": {"errors"},
    "space": BASE,
    "elastic": BASE | {"space"},
    "supernets": BASE | {"space", "elastic"},
    "data": BASE | {"space", "elastic", "supernets"},
    "cost": BASE | {"space", "elastic", "supernets"},
    "train": BASE | {"space", "elastic", "supernets", "data", "cost"},
    "search": BASE | {"space", "cost"},
    "deploy": BASE,
    "interop": BASE | {"space", "supernets", "cost", "search", "configuration"},
    "report": BASE | {"space", "elastic", "supernets", "data", "cost", "train", "search", "deploy", "interop"},
}
EVERYTHING = {*MAY_IMPORT, "run", "configuration", "pretrained"}
MAY_IMPORT |= {
    "configuration": BASE | {"conf"},
    "conf": set(),
    "pretrained": BASE | {"space", "supernets", "interop"},
    "run": EVERYTHING - {"run"},
    "commands": EVERYTHING,
    "cli": EVERYTHING | {"commands", "__init__"},
    "__main__": {"cli"},
    "__init__": EVERYTHING,
}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    """The rooms of the package that a file imports, wherever in the file the import stands."""
    here = ("onceforall", *file.relative_to(PACKAGE).parent.parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "onceforall" else [module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "onceforall":
                room = parts[1] if len(parts) > 1 else "__init__"
                found.add(room if room in MAY_IMPORT else "__init__")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_rooms_to_its_left(file):
    room = room_of(file)
    assert room in MAY_IMPORT, f"{room} has no place in the import direction"
    too_far = imported_rooms(file) - MAY_IMPORT[room] - {room}
    assert not too_far, f"{file.relative_to(PACKAGE)} may not import {sorted(too_far)}"


def test_the_direction_is_really_read_from_the_files():
    assert imported_rooms(PACKAGE / "space" / "space.py") == {"space", "errors"}
    assert imported_rooms(PACKAGE / "__main__.py") == {"cli"}
    assert imported_rooms(PACKAGE / "files.py") == {"errors"}


def test_no_file_outgrows_its_room():
    lengths = {str(file.relative_to(PACKAGE)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert not {name: length for name, length in lengths.items() if length > 500}


HEAVY = ("torch", "torchvision", "timm", "numpy", "hydra", "omegaconf", "rich", "sklearn", "onnx", "plotly", "pymoo")


@pytest.mark.parametrize("statement", ["import onceforall.cli", "import onceforall"])
def test_the_command_line_starts_without_heavy_packages(statement):
    listing = f"{statement}, sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    finished = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []


def test_every_public_name_can_be_imported():
    import onceforall

    assert set(dir(onceforall)) == set(onceforall.__all__)
    for name in onceforall.__all__:
        assert getattr(onceforall, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onceforall.nothing  # pyright: ignore
