"""The command line: what it prints, its exit codes, and one clear line for every mistake."""

import os
import subprocess
import sys
import time

import pytest

from onceforall import __version__, cli
from onceforall.errors import OnceForAllError


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(words)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_overview_lists_every_command(capsys, words):
    code, out, _ = run(capsys, *words)
    assert code == 0
    for command in cli.COMMANDS:
        assert f"\n  {command.name} " in out


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"onceforall {__version__}\n", "")


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_help_of_every_command_explains_every_key(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    keys = out.partition("keys:\n")[2].splitlines()
    assert keys
    for line in keys:
        left, _, meaning = line.partition(": ")
        assert "=" in left
        assert len(meaning.split()) >= 2, f"{command}: {line.strip()} has no meaning"


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
@pytest.mark.parametrize("flag", [("--cfg", "job"), ("-c", "job"), ("--cfg",)])
def test_cfg_prints_the_composed_configuration(capsys, command, flag):
    code, out, err = run(capsys, command, *flag)
    assert (code, err) == (0, "")
    assert ": " in out


def test_cfg_shows_presets_and_overrides(capsys):
    _, out, _ = run(capsys, "train", "experiment=photos", "data.root=/a b", "--cfg", "job", "epochs=2")
    assert "name: photos" in out
    assert "root: /a b" in out
    assert "epochs: 2.0" in out


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_examples_compose(capsys, command):
    example = next(found.example for found in cli.COMMANDS if found.name == command)
    words = () if example == "key=value ..." else example.split()
    code, _, err = run(capsys, command, *words, "--cfg", "job")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "trian: no such command; did you mean train?"),
        (["train", "epoch=3"], "epoch: unknown key; did you mean epochs"),
        (["train", "data.rot=/x"], "data.rot: unknown key; did you mean data.root"),
        (["train", "experiment=photo"], "experiment=photo: no such option; did you mean photos?"),
        (["train", "space=mbv3_w9"], "space=mbv3_w9: no such option"),
        (["train", "epochs=many"], "epochs: the value 'many' is not a number"),
        (["train", "--epochs", "3"], "written key=value without dashes; did you mean epochs"),
        (["list", "num_classes"], "num_classes: options are written key=value"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_any_package_error_is_one_line(capsys, monkeypatch):
    def fail(words):
        raise OnceForAllError("first line\nsecond line")

    monkeypatch.setattr(cli, "_main", fail)
    assert run(capsys, "list") == (2, "", "error: first line second line\n")
    monkeypatch.setenv("OFA_TRACEBACK", "1")
    with pytest.raises(OnceForAllError):
        cli.main(["list"])


def test_control_c_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_main", interrupt)
    code, _, err = run(capsys, "train", "run=runs/x")
    assert code == 130
    assert "ofa train run=runs/x" in err


def test_list_counts_every_space(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    for words in ("mbv3_w1.0 2.18e19 128 … 224 (25) 3.41 M … 7.66 M 121 M … 566 M", "resnet_small 1,728 32"):
        assert words in " ".join(out.split())


def test_module_equals_command_and_a_closed_pipe_is_quiet():
    environment = {**os.environ, "COLUMNS": "120"}
    module = [sys.executable, "-m", "onceforall"]
    finished = subprocess.run([*module, "--version"], capture_output=True, text=True, env=environment)
    assert finished.stdout == f"onceforall {__version__}\n"
    finished = subprocess.run([*module, "list", "oops=1"], capture_output=True, text=True, env=environment)
    assert (finished.returncode, finished.stderr) == (2, "error: oops: unknown key; valid: num_classes, in_chans\n")
    with subprocess.Popen(
        [*module, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_help_answers_at_once():
    best = min(_seconds([sys.executable, "-m", "onceforall", "--help"]) for _ in range(3))
    assert best < 1


def _seconds(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(words, capture_output=True, check=True)
    return time.perf_counter() - started
