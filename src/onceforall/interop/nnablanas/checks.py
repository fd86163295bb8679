"""What an experiment of NNablaNAS must say, and what would be trained otherwise here than it says."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConfigError
from ...space import Block
from .experiments import SEARCHER, TRAINER, Experiment
from .operators import OP_CANDIDATES, parse_op_candidates

RESNET_LISTS = {"depth_list": (0, 1, 2), "expand_ratio_list": (0.2, 0.25, 0.35), "width_mult_list": (0.65, 0.8, 1)}
"""All values of `ofa_resnet50`, by the keys of its lists."""
TASKS = ("fullnet", "kernel", "depth", "expand", "width")
_RESNET_DEFAULTS = {"depth_list": 2, "expand_ratio_list": 0.25, "width_mult_list": 1.0}
# Of all biases and norms: as written since 2022-07, and the two spellings of the first version, one of them in its
# fullnet alone; that one missed the biases of layers.
_NO_DECAY = (["_b$", "/bn/_[^/]*$"], "bn#_b", "bn#bias")


def check(experiment: Experiment) -> None:
    """Raise ConfigError, naming key and value, for an experiment that cannot be followed here to the letter."""
    _check_unsupported(experiment)
    _check_numbers(experiment)
    _check_search(experiment)


def complaint(experiment: Experiment, text: str) -> ConfigError:
    """The error that names the file."""
    return ConfigError(f"{experiment.where}: {text}")


def _check_unsupported(experiment: Experiment) -> None:
    """Raise ConfigError for what would be trained otherwise here than the file says."""
    network, optimizer, hparams = experiment.network, experiment.optimizer, experiment.hparams
    train, plain = optimizer.get("train", {}), optimizer.get("train_no_decay", {})
    family = f"network.{experiment.family}"
    found: dict[str, tuple[Any, Sequence[Any]]] = {
        f"{family}.bn_param": (network.get("bn_param", [0.9, 1e-5]), ([0.9, 1e-5],)),
        f"{family}.weight_init": (network.get("weight_init", "he_fout"), ("he_fout",)),
        "optimizer.train.name": (train.get("name"), ("Nesterov", "Momentum")),
        "optimizer.train.lr_scheduler": (train.get("lr_scheduler"), ("CosineSchedulerWarmup", "CosineScheduler")),
        "optimizer.train.grad_clip": (train.get("grad_clip"), (None,)),
        "optimizer.train_no_decay.weight_decay": (plain.get("weight_decay", 0), (0,)),
        "hparams.no_decay_keys": (hparams.get("no_decay_keys", _NO_DECAY[0]), _NO_DECAY),
        "hparams.valid_ce_loss": (hparams.get("valid_ce_loss", True), (True,)),
        "hparams.loss_weights": (hparams.get("loss_weights"), (None,)),
        "dataloader.imagenet.augment_valid": (experiment.dataloader.get("augment_valid", False), (False,)),
    }
    for what, (value, possible) in found.items():
        if value not in possible:
            raise complaint(experiment, f"{what} is {value}; here it is {' or '.join(map(str, possible))}")
    for key in ("name", "lr", "momentum", "lr_scheduler"):
        if (value := plain.get(key, train.get(key))) != train.get(key):
            raise complaint(
                experiment,
                f"optimizer.train_no_decay.{key} is {value}; here it is that of optimizer.train, {train.get(key)}; "
                "set both",
            )
    needed = ["epoch", "batch_size_train", "mini_batch_train", "mini_batch_valid"]
    if experiment.algorithm == SEARCHER:
        needed += ["task", "train_image_size_list", "valid_image_size_list"]
    missing = [f"hparams has no {key}" for key in needed if key not in hparams]
    missing += [f"optimizer.train has no {key}" for key in ("lr", "weight_decay") if key not in train]
    if missing:
        raise complaint(experiment, missing[0])
    if hparams.get("task", TASKS[0]) not in TASKS:
        raise complaint(experiment, f"hparams.task is {hparams['task']}; it is one of {', '.join(TASKS)}")
    if hparams.get("lambda_kd", 0) > 0:
        _check_teacher(experiment)


def _check_teacher(experiment: Experiment) -> None:
    """The teacher is the largest network, of the same width."""
    teachers = experiment.hparams.get("teacher_network", {})
    teacher = teachers.get(experiment.family, {})
    if experiment.teacher is not None and not teacher:  # named in our words alone, in which the largest teaches
        return
    if "weights" not in teacher and experiment.teacher is None:
        raise complaint(
            experiment,
            f"hparams.lambda_kd is {experiment.hparams['lambda_kd']:g}, but hparams.teacher_network names no weights "
            f"of {experiment.family}; name them there, or behind ofa train as recipe.teacher=WEIGHTS",
        )
    if experiment.family == "ofa_mbv3":
        taught = blocks(experiment, teacher.get("op_candidates", OP_CANDIDATES))
        largest = {"kernel_size": 7, "expand_ratio": 6, "depth": 4}
        named = {
            "kernel_size": max(block.kernel_size for block in taught),
            "expand_ratio": max(block.expand_ratio for block in taught),
            "depth": max(numbers(experiment, teacher.get("depth_candidates", 4), "the teacher's depth_candidates")),
        }
        largest["width_mult"] = experiment.network.get("width_mult", 1.0)
        named["width_mult"] = teacher.get("width_mult", 1.0)
    else:
        largest = {key: max(values) for key, values in RESNET_LISTS.items()}
        named = {
            key: max(numbers(experiment, teacher.get(key, default), f"the teacher's {key}"))
            for key, default in _RESNET_DEFAULTS.items()
        }
    largest["drop_rate"] = 0
    named["drop_rate"] = teacher.get("drop_rate", 0)
    for key, value in named.items():
        if value != largest[key]:
            raise complaint(
                experiment,
                f"hparams.teacher_network.{experiment.family}: its {key} is {value:g}; here the largest network of the "
                f"same width teaches, of {key} {largest[key]:g}",
            )


def _check_numbers(experiment: Experiment) -> None:
    hparams = experiment.hparams
    positive = ("epoch", "batch_size_train", "mini_batch_train", "mini_batch_valid", "image_size_seg", "img_size")
    values = {f"hparams.{key}": [hparams[key]] for key in (*positive, "validation_frequency") if key in hparams}
    values |= {f"hparams.{key}": hparams[key] for key in hparams if key.endswith("image_size_list")}
    values["optimizer.train.lr"] = [experiment.optimizer["train"]["lr"]]
    for what, found in values.items():
        if not found:
            raise complaint(experiment, f"{what} is empty; it names at least one size")
        if min(found) <= 0:
            raise complaint(experiment, f"{what} is {min(found):g}; it has to be greater than 0")
    portion = experiment.dataloader.get("train_portion", 1)
    if not 0 < portion <= 1:
        raise complaint(
            experiment, f"dataloader.imagenet.train_portion is {portion:g}; it is greater than 0, at most 1"
        )


def _check_search(experiment: Experiment) -> None:
    """Without `search` a network stays at its largest; older files left it to the command, and only fullnet did."""
    search, task = experiment.search, experiment.hparams.get("task")
    if experiment.algorithm == TRAINER and search:
        raise complaint(experiment, f"args.search is true; {TRAINER} trains one sub-network without it")
    if experiment.algorithm == SEARCHER and search is False and task != "fullnet":
        raise complaint(
            experiment, f"args.search is false; the task {task} needs args.search true to draw sub-networks"
        )


def candidates(network: Mapping[str, Any]) -> Any:
    """What their networks take when the file names none: all for one sub-network, one for a supernet."""
    return network.get("op_candidates", OP_CANDIDATES if "genotype" in network else ("MB6 3x3",))


def blocks(experiment: Experiment, op_candidates: Any) -> tuple[Block, ...]:
    if not isinstance(op_candidates, str | Sequence):
        op_candidates = [op_candidates]
    try:
        return parse_op_candidates(op_candidates)
    except ConfigError as error:
        raise complaint(experiment, str(error)) from error


def numbers(experiment: Experiment, value: Any, what: str) -> list[float]:
    """One number or a list of them, as a list."""
    values = listed(value)
    if not values or any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        raise complaint(experiment, f"{what} is {value!r}; it is a number or a list of numbers")
    return values


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
