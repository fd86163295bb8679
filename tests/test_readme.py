"""The README's commands and its Python, run as a newcomer would type them, with less work per command.

A comment `<!-- test: COMMAND = OVERRIDES -->` in the README names what is appended to `ofa COMMAND`; `PATH` becomes a
folder of images. Nothing else is changed.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
OVERRIDES = {command: shlex.split(words) for command, words in re.findall(r"<!-- test: (\w+) = (.*?) -->", README)}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Two classes of small photos: bright above, or bright below."""
    folder = tmp_path_factory.mktemp("my photos")
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 215, 40)[:, None, None]
    for label, light in (("day", ramp[::-1]), ("night", ramp)):
        (folder / label).mkdir()
        for number in range(60):
            pixels = np.clip(light + rng.normal(0, 20, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("work")


def test_the_readme_names_every_command():
    from onceforall.cli import COMMANDS

    for command in COMMANDS:
        assert f"| `ofa {command.name}` |" in README


@pytest.mark.parametrize("line", commands(), ids=lambda line: "_".join(line.split()[:3]))
def test_commands(line, photos, workplace):
    words = [word.replace("PATH", str(photos)) for word in shlex.split(line)]
    assert words[0] == "ofa", f"{line}: say how this is tested"
    if "--cfg" not in words and "--help" not in words:
        words += OVERRIDES.get(words[1], [])
    finished = subprocess.run(
        [sys.executable, "-m", "onceforall", *words[1:]],
        cwd=workplace,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, f"{shlex.join(words)}\n{finished.stdout}\n{finished.stderr}"
    assert finished.stdout.strip()


def test_what_the_commands_left(workplace):
    run = workplace / "runs" / "photos"
    for pattern in (
        "config.yaml",
        "metrics.jsonl",
        "supernet.safetensors",
        "evaluate/*-test.json",
        "latency/onnxruntime.csv",
        "search/*.json",
        "predictor/labels.jsonl",
        "finetune/*.safetensors",
        "deploy/*.onnx",
        "report.html",
    ):
        assert list(run.glob(pattern)), f"{pattern} is missing"


@pytest.mark.parametrize("block", blocks("python"))
def test_python(block, tmp_path):
    finished = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"px \| .* \d+$", finished.stdout)


def test_make_targets_of_the_readme_exist(root):
    for target in set(re.findall(r"`?make (\w+)`?", README)):
        planned = subprocess.run(["make", "-n", target], cwd=root, capture_output=True, text=True)
        assert planned.returncode == 0, planned.stderr


def test_files_of_the_readme_exist(root):
    tree = re.search(r"^src/onceforall/\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert tree is not None
    for line in tree[1].splitlines():
        for name in line.split("  ")[1 if line.startswith("  ") else 0].split():
            folder = root / "src" / "onceforall" if line.startswith("  ") else root
            assert (folder / name).exists(), name
    for name in re.findall(r"`(\w+/\w+\.py)`", README):
        assert (root / "src" / "onceforall" / name).is_file(), name
