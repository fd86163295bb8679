"""docs/migrating.md: everything in a right column is run, section by section, in a folder with files like the user's.

A section of the document is `## Title`; its files are made by `make(folder, shared)` in
`tests/migrating/<title, lower case, letters and digits only>.py`. In the right column of its tables every `code span`
is run, from top to bottom: `ofa ...` (also behind `mpirun` or `torchrun`) as a command, anything else as Python in one
namespace per section, after the section's python blocks. `<!-- test: BEGINNING = OVERRIDES -->` adds OVERRIDES to every
command of the section that begins with `ofa BEGINNING`, or puts them in place of its own, so that it does less work;
the folder `photos` has a few images of three classes for it. Of the commands behind `mpirun -n N` the first of a
section is run so, on two processes, where there is an mpirun; the others alone.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "migrating.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))

MPI_IN_A_CONTAINER = {  # as root, and on fewer cores than processes
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


@dataclass
class Place:
    """Where one section runs: its folder, and what its Python has defined so far."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)


def rows(section: str) -> list[str]:
    """What stands in the right columns of a section's tables, top to bottom."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    spans = [span for cell in cells for span in re.findall(r"`` (.+?) ``|`([^`]+)`", cell[-1])]
    return [(double or single).replace(r"\|", "|") for double, single in spans]


def cases() -> list[Any]:
    return [
        pytest.param(title, row, id=f"{title.split()[0]}-{number}-{'_'.join(row.split()[:3])}")
        for title, section in SECTIONS.items()
        for number, row in enumerate(rows(section), start=1)
    ]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Place]:
    return {title: Place(tmp_path_factory.mktemp("section")) for title in SECTIONS}


@pytest.fixture
def place(title: str, places: dict[str, Place], shared: Path, write_photos, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The folder of a section with the user's files in it; its first use makes them and runs the python blocks."""
    chosen = places[title]
    monkeypatch.chdir(chosen.folder)
    if not chosen.names:
        file = Path(__file__).parent / "migrating" / f"{re.sub(r'[^a-z0-9]', '', title.lower())}.py"
        specification = importlib.util.spec_from_file_location(file.stem, file)
        assert specification is not None
        assert specification.loader is not None
        files = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(files)
        files.make(chosen.folder, shared)
        write_photos(chosen.folder / "photos", size=(48, 40), parts=("train", "val"))
        chosen.names["__name__"] = file.stem
        for block in re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.MULTILINE | re.DOTALL):
            exec(block, chosen.names)
    return chosen


@pytest.mark.parametrize(("title", "row"), cases())
def test_row(title: str, row: str, place: Place):
    words = shlex.split(row) if re.match(r"(ofa|mpirun|torchrun) ", row) else []
    if words:
        run_command(title, words)
    else:
        exec(row, place.names)


def run_command(title: str, words: list[str]) -> None:
    if words[0] == "mpirun":
        present = shutil.which("mpirun") is not None
        assert present or not os.environ.get("CI") or os.environ.get("WITHOUT_MPIRUN"), "mpirun is missing"
        first = next(row for row in rows(SECTIONS[title]) if row.startswith("mpirun"))
        words = ["mpirun", "-n", "2", *words[3:]] if present and shlex.join(words) == first else words[3:]
    start = words.index("onceforall" if words[0] == "torchrun" else "ofa") + 1
    for beginning, overrides in re.findall(r"<!-- test: (.+?) = (.*?) -->", SECTIONS[title]):
        if " ".join(words[start:]).startswith(beginning):
            instead = {word.partition("=")[0]: word for word in shlex.split(overrides)}
            words = [word for word in words if word.partition("=")[0] not in instead] + list(instead.values())
    scripts = str(Path(sys.executable).parent)
    finished = subprocess.run(
        words,
        env={**os.environ, **MPI_IN_A_CONTAINER, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, f"{shlex.join(words)}\n{finished.stdout}\n{finished.stderr}"
    assert finished.stdout.strip()


def test_a_right_column_is_read_span_by_span():
    table = "| typed | now |\n|---|---|\n| `old(a \\| b)` | `x = 1 \\| 2`, then `ofa list` (or `` y = '`' ``) |\n"
    assert rows(table) == ["x = 1 | 2", "ofa list", "y = '`'"]


def test_every_section_has_rows():
    for title, section in SECTIONS.items():
        assert rows(section), f"nothing is tested in {title!r}"
