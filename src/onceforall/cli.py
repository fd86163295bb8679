"""`ofa <command> key=value ...`: parse, call, print. Heavy imports wait until a command really runs."""

import importlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import __version__
from .errors import ConfigError, OnceForAllError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Command:
    """One command: name, one line about it, and where its config dataclass and function live (`module:name`)."""

    name: str
    summary: str
    config: str
    function: str
    example: str = "key=value ..."


COMMANDS = (
    Command(
        "quickstart",
        "the whole chain on embedded images, in minutes",
        "commands.quickstart:QuickstartConfig",
        "commands.quickstart:quickstart",
    ),
    Command(
        "train",
        "train a supernet, or continue a run",
        "train.config:TrainConfig",
        "commands.train:train",
        "experiment=photos data.root=PATH",
    ),
    Command(
        "evaluate",
        "accuracy of sub-networks after batch-norm calibration",
        "commands.evaluate:EvaluateConfig",
        "commands.evaluate:evaluate",
        "run=runs/photos arch=largest",
    ),
    Command(
        "measure",
        "time sub-networks on this machine and fit its latency model",
        "commands.measure:MeasureConfig",
        "commands.measure:measure",
        "run=runs/photos device=onnxruntime",
    ),
    Command(
        "predictor",
        "measure sub-networks and learn to predict all others",
        "commands.predictor:PredictorConfig",
        "commands.predictor:predictor",
        "run=runs/photos labels=200",
    ),
    Command(
        "search",
        "the front, and the best network under constraints",
        "commands.search:SearchConfig",
        "commands.search:search",
        "run=runs/photos constraint.latency_ms=4",
    ),
    Command(
        "ensemble",
        "subsets of the front that vote: more accurate together",
        "commands.ensemble:EnsembleConfig",
        "commands.ensemble:ensemble",
        "run=runs/photos",
    ),
    Command(
        "finetune",
        "train one chosen sub-network a little longer",
        "commands.finetune:FinetuneCommandConfig",
        "commands.finetune:finetune",
        "run=runs/photos arch=chosen",
    ),
    Command(
        "export",
        "write a sub-network as a verified ONNX file",
        "commands.export:ExportConfig",
        "commands.export:export",
        "run=runs/photos arch=chosen format=onnx",
    ),
    Command(
        "report",
        "one self-contained HTML page about a run",
        "commands.report:ReportConfig",
        "commands.report:report",
        "run=runs/photos",
    ),
    Command(
        "convert",
        "checkpoints and architectures of other projects into ours, and back",
        "commands.convert:ConvertConfig",
        "commands.convert:convert",
        "source=PATH to=supernet",
    ),
    Command(
        "list",
        "every search space with its size and costs",
        "commands.list:ListConfig",
        "commands.list:list_networks",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code: 0 done, 2 a clear error, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(words)
    except OnceForAllError as error:
        if os.environ.get("OFA_TRACEBACK") == "1":
            raise
        if (process := _other_process()) is not None:
            time.sleep(_PATIENCE_S)  # the main process mostly meets the same error, says it, and this one is ended
        where = "" if process is None else f" (process {process})"
        print(f"error{where}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except (MemoryError, RuntimeError) as error:
        if os.environ.get("OFA_TRACEBACK") == "1" or not _out_of_memory(error):
            raise
        print(
            "error: not enough memory for these images and networks; use a smaller batch_size, micro_batch_size or "
            f"resolution ({' '.join(str(error).split()) or 'MemoryError'})",
            file=sys.stderr,
        )
        return EXIT_ERROR
    except KeyboardInterrupt:
        if os.environ.get("OFA_TRACEBACK") == "1":
            raise
        print(f"\ninterrupted; what is written is whole. To go on, run again: ofa {' '.join(words)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`ofa list | head`); point stdout elsewhere so that the exit flush is quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _main(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0
    if words[0] in {"-V", "--version"}:
        print(f"onceforall {__version__}")
        return 0
    command = _find(words[0])
    options = words[1:]
    if {"-h", "--help"} & set(options):
        print(_help(command))
        return 0
    if command.name == "train":
        from .interop.nnablanas.command_line import in_our_words

        options = in_our_words(options)
    options, print_only = _take_cfg_flag(options)

    from .configuration import compose, given_keys, to_yaml

    if command.name == "train":
        config = _load("commands.experiment_file:compose_train")(options)
    else:
        config = compose(command.name, _load(command.config), options)
    if print_only:
        if _other_process() is None:
            print(to_yaml(config), end="")
        return 0
    if command.name == "train":
        # To continue a run, what was typed must be told from what is default.
        _load(command.function)(config, given=given_keys(options))
    else:
        _load(command.function)(config)
    return 0


def _out_of_memory(error: Exception) -> bool:
    """Whether the machine or the GPU has no memory left; torch says so in a RuntimeError."""
    said = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in said or "out of memory" in said


def _other_process() -> str | None:
    """The number of this process in a run of several, unless it is the first."""
    from .commands.screen import is_main_process, rank

    return None if is_main_process() else rank()


def _load(place: str) -> Any:
    """Import what a `module:name` inside the package names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), name)


def _find(name: str) -> Command:
    for command in COMMANDS:
        if command.name == name:
            return command

    from .settings import nearest

    raise ConfigError(f"{name}: no such command; {nearest(name, [command.name for command in COMMANDS])}")


def _take_cfg_flag(options: list[str]) -> tuple[list[str], bool]:
    """Remove `--cfg job` (also `-c job`, `--cfg=job`, `--cfg`), Hydra's way to ask for the composed config."""
    rest: list[str] = []
    found = False
    for word in options:
        if word in {"--cfg", "-c", "--cfg=job", "-c=job"}:
            found = True
        elif not (found and word == "job"):
            rest.append(word)
    return rest, found


def _overview() -> str:
    width = max(len(command.name) for command in COMMANDS)
    lines = ["Train one elastic network; get a specialised network for every device and budget.", ""]
    lines += ["usage: ofa <command> key=value ...", ""]
    lines += [f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS]
    lines += ["", "ofa <command> --help     its keys with types, defaults and meaning"]
    lines += ["ofa <command> --cfg job  the composed configuration, without running"]
    return "\n".join(lines)


def _help(command: Command) -> str:
    from textwrap import wrap

    from .configuration import compose, groups_of
    from .settings import flatten, keys_of

    lines = [f"ofa {command.name}: {command.summary}", "", f"usage: ofa {command.name} {command.example}"]
    groups = groups_of(command.name)
    if groups:
        lines += ["", "presets (each sets many keys at once):"]
        for name, options in groups.items():
            lines += wrap(f"{name}={' '.join(options)}", 116, initial_indent="  ", subsequent_indent="    ")
    keys = keys_of(_load(command.config))
    keys += [inner for key in keys if key.entries for inner in keys_of(key.entries, f"{key.name}.NAME.")]
    defaults = {key.name: key.default for key in keys}
    if groups:
        defaults |= flatten(compose(command.name, _load(command.config), []))
    lines += ["", "keys:"]
    left = [f"{key.name}={_shown(defaults[key.name])}" for key in keys]
    width = min(44, max((len(text) for text in left), default=0))
    lines += [f"  {text:<{width}}  {key.type_name}: {key.help}" for text, key in zip(left, keys, strict=True)]
    return "\n".join(lines)


def _shown(default: Any) -> str:
    from dataclasses import MISSING

    if default is MISSING or default == "???":
        return "(required)"
    if isinstance(default, tuple | list):
        return "[" + ",".join(map(str, default)) + "]"
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return str(default)
