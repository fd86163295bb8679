"""Command lines of NNablaNAS: the flags of its older one, and keys of its composed experiments, as words of ours."""

import re
from collections.abc import Sequence

from ...errors import ConfigError
from .experiments import check_algorithm

_KEYS = {
    "hparams.epoch": "epochs",
    "hparams.batch_size_train": "batch_size",
    "hparams.mini_batch_train": "micro_batch_size",
    "hparams.mini_batch_valid": "evaluation.batch_size",
    "hparams.train_image_size_list": "space.resolutions",
    "hparams.valid_image_size_list": "evaluation.resolutions",
    "hparams.validation_frequency": "evaluation.every_epochs",
    "hparams.lambda_kd": "recipe.kd_ratio",
    "network.weights": "weights",
    "network.genotype": "genotype",
    "network.op_candidates": "op_candidates",
    "network.drop_rate": "space.dropout",
    "optimizer.train.weight_decay": "optimizer.weight_decay",
    "optimizer.train.momentum": "optimizer.momentum",
    "dataloader.imagenet.datapath": "data.root",
    "args.output_path": "run",
    "hydra.run.dir": "run",
}
_NETWORK = re.compile(r"^network\.(ofa|ofa_mbv3|ofa_resnet50)\.")
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
            key = _NETWORK.sub("network.", flag.lstrip("+"))
            found.append(f"{_KEYS[key]}={value}" if key in _KEYS else word)
            continue
        assert name is not None
        if name not in _SWITCHES and not value:
            if not rest:
                raise ConfigError(f"{word} needs a value")
            value = rest.pop(0)
        found += _translated(name, value)
    return found


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
