"""Command lines of NNablaNAS: the flags of its older one, and keys of its composed experiments, as words of ours."""

import re
from collections.abc import Sequence

from ...errors import ConfigError
from .experiments import check_algorithm

# Places of files and folders; other keys change a whole experiment, see commands/nnablanas_words.py.
_PLACES = {
    r"network\.\w+\.weights": "weights",
    r"hparams\.teacher_network\.\w+\.weights": "recipe.teacher",
    r"dataloader\.imagenet\.datapath": "data.root",
    r"hydra\.run\.dir": "run",
}
_SHORT = {"f": "config-file", "o": "output-path", "a": "algorithm", "c": "context", "d": "device-id"} | {
    "t": "type-config",
    "s": "search",
}
_SWITCHES = ("search", "save-nnp", "no-visualize")


def in_our_words(words: Sequence[str]) -> list[str]:
    """`key=value` words for `ofa train`; what is ours already stays as it is.

    `-f FILE` becomes `file=FILE`, `-o FOLDER` becomes `run=FOLDER`, and so on; `-c job`, Hydra's, stays.

    Raises:
        ConfigError: a flag without its value, or one that has no meaning here; says what there is instead.
    """
    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, _, value = word.partition("=")
        name = _SHORT.get(flag[1:]) if len(flag) == 2 and flag[0] == "-" else flag.removeprefix("--")
        known = flag.startswith("-") and name in (*_SHORT.values(), *_SWITCHES)
        if not known or (flag == "-c" and (value or (rest or [""])[0]) in ("job", "hydra", "all")):
            found += _composed(flag, value, word)
            continue
        assert name is not None
        if name not in _SWITCHES and not value:
            if not rest:
                raise ConfigError(f"{word} needs a value")
            value = rest.pop(0)
        found += _translated(name, value)
    return found


def _composed(flag: str, value: str, word: str) -> list[str]:
    """The words for a composed key."""
    key = flag.lstrip("+~")
    for pattern, ours in _PLACES.items():
        if re.fullmatch(pattern, key):
            return [f"{ours}={'null' if flag[0] == '~' else value}"]
    name = key.removeprefix("args.").replace("_", "-")
    if not key.startswith("args.") or name in ("search", "algorithm", "print-frequency"):
        return [word]
    if name == "no-visualize":  # in spite of its name, true draws
        return [f"tensorboard={value}"]
    if name == "save-nnp" and value.lower() == "false":
        return []
    return _translated(name, value) if name in (*_SHORT.values(), *_SWITCHES) else [word]


def _translated(name: str, value: str) -> list[str]:
    """The words for one flag."""
    if name == "algorithm":
        check_algorithm(value, f"--{name}")
    direct = {"config-file": f"file={value}", "output-path": f"run={value}", "algorithm": f"algorithm={value}"}
    direct |= {"search": "search=true", "no-visualize": "tensorboard=false"}
    if name in direct:
        return [direct[name]]
    if name == "save-nnp":
        raise ConfigError(
            "--save-nnp: no NNP files are written here; export a sub-network with: ofa export format=onnx"
        )
    if name == "context" and re.fullmatch(r"cpu|cuda\S*|cudnn\S*", value):
        return ["device=cpu"] if value == "cpu" else []
    if name == "device-id" and re.fullmatch(r"-1|\d+", value):
        return [] if value == "-1" else [f"device=cuda:{value}"]
    if name == "type-config" and value == "float":
        return []
    instead = {
        "context": "use device=cpu or device=cuda",
        "device-id": "set CUDA_VISIBLE_DEVICES to choose several, or device=cuda:NUMBER",
        "type-config": "weights are float; for mixed precision use precision=bf16",
    }
    raise ConfigError(f"--{name} {value} has no meaning here; {instead[name]}")
