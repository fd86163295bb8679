"""An experiment of NNablaNAS in the words of our training settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConfigError
from ...space import Arch, SearchSpace, create_space
from .experiments import SEARCHER, TRAINER, Experiment
from .genotypes import arch_from_genotype
from .operators import OP_CANDIDATES, parse_op_candidates

_RESNET = {"depth_list": (0, 1, 2), "expand_ratio_list": (0.2, 0.25, 0.35), "width_mult_list": (0.65, 0.8, 1)}


def train_settings(experiment: Experiment, processes: int = 1) -> dict[str, Any]:
    """The settings of `ofa train` that do what an experiment says, nested as in its config.yaml.

    Channels are sorted where the official Once-for-All sorts them: before ratios or widths open, inside the groups that
    earlier phases trained.

    Args:
        processes: of the run; older files give batch sizes per process.

    Raises:
        ConfigError: an experiment for another network or with a value that has no counterpart here; names it.
        InvalidArch: a genotype that names no network.
    """
    if experiment.family not in ("ofa_mbv3", "ofa_resnet50"):
        raise ConfigError(
            f"{experiment.name}: there is no network {experiment.family} here; there are ofa_mbv3 and ofa_resnet50"
        )
    alone = experiment.algorithm == TRAINER
    network, hparams = experiment.network, experiment.hparams
    each = 1 if experiment.batch_is_global else processes
    if alone and "genotype" not in network:
        raise ConfigError(f"{experiment.name}: {TRAINER} trains one sub-network, and the file names no genotype")
    if not alone and "genotype" in network:
        raise ConfigError(
            f"{experiment.name}: {SEARCHER} trains a supernet, but the file names the genotype of one network"
        )
    _check_unsupported(experiment)
    space = _mobile_space(network) if experiment.family == "ofa_mbv3" else {"name": "resnet50"}
    family = create_space(space["name"])
    task = str(hparams.get("task", "train_subnet"))
    phase = {**_phase(experiment, task), **({} if alone else _opened(experiment, family))}
    phase["archs"] = _validated(experiment, family)
    sizes = [hparams.get("img_size", 224)] if alone else list(hparams["train_image_size_list"])
    step = hparams.get("image_size_seg", 4) if hparams.get("image_size_continuous", True) and not alone else None
    settings: dict[str, Any] = {
        "name": experiment.name,
        "weights": network.get("weights"),
        "genotype": network.get("genotype"),
        "epochs": hparams["epoch"],
        "batch_size": hparams["batch_size_train"] * each,
        "micro_batch_size": hparams["mini_batch_train"],
        "space": {**space, "resolutions": sizes, "resolution_step": step, "dropout": network.get("drop_rate", 0.1)},
        "data": _data(experiment, alone),
        "augment": {"crop_scale": 0.08, **_colour(experiment.dataloader)},
        "recipe": {
            "name": "phases",
            "phases": {task: phase},
            "teacher": _teacher(hparams),
            "teacher_statistics": "batch",
            "label_smoothing": 0.1,
            "kd_ratio": float(hparams.get("lambda_kd", 0)) or 1.0,
            "loss_reduction": "sum",
        },
        "optimizer": {
            "name": "sgd",
            "momentum": experiment.optimizer["train"].get("momentum", 0.9),
            "nesterov": experiment.optimizer["train"]["name"] == "Nesterov",
            "weight_decay": float(experiment.optimizer["train"]["weight_decay"]),
        },
        "evaluation": {
            "every_epochs": hparams.get("validation_frequency", 1),
            "at_start": alone or task != "fullnet",
            "part": "test" if alone else "holdout",
            "images": None,
            "resolutions": None if alone else list(hparams["valid_image_size_list"]),
            "calibration_images": 2000,
            "batch_size": hparams["mini_batch_valid"],
        },
    }
    if "op_candidates" in network:
        settings["op_candidates"] = _listed(network["op_candidates"])
    return settings


def _check_unsupported(experiment: Experiment) -> None:
    """Raise ConfigError for what would be trained otherwise here than the file says."""
    network, optimizer = experiment.network, experiment.optimizer
    train, plain = optimizer.get("train", {}), optimizer.get("train_no_decay", {})
    found: dict[str, tuple[Any, Sequence[Any]]] = {
        "network bn_param": (list(network.get("bn_param", (0.9, 1e-5))), ([0.9, 1e-5],)),
        "network weight_init": (network.get("weight_init", "he_fout"), ("he_fout",)),
        "optimizer.train.name": (train.get("name"), ("Nesterov", "Momentum")),
        "optimizer.train.lr_scheduler": (train.get("lr_scheduler"), ("CosineSchedulerWarmup", "CosineScheduler")),
        "optimizer.train_no_decay.weight_decay": (plain.get("weight_decay", 0), (0,)),
        "optimizer.train_no_decay.lr": (plain.get("lr", train.get("lr")), (train.get("lr"),)),
        "optimizer.train.grad_clip": (train.get("grad_clip"), (None,)),
    }
    for what, (value, possible) in found.items():
        if value not in possible:
            raise ConfigError(f"{experiment.name}: {what} is {value}; here it is {' or '.join(map(str, possible))}")
    needed = ["epoch", "batch_size_train", "mini_batch_train", "mini_batch_valid"]
    needed += [] if experiment.algorithm == TRAINER else ["train_image_size_list", "valid_image_size_list"]
    missing = [f"hparams has no {key}" for key in needed if key not in experiment.hparams]
    missing += [f"optimizer.train has no {key}" for key in ("lr", "weight_decay") if key not in train]
    if missing:
        raise ConfigError(f"{experiment.name}: {missing[0]}")


def _phase(experiment: Experiment, task: str) -> dict[str, Any]:
    """How long and how fast."""
    hparams = experiment.hparams
    peak = float(experiment.optimizer["train"]["lr"])
    first = float(hparams.get("warmup_lr", -1))
    return {
        "epochs": hparams["epoch"],
        "learning_rate": peak,
        "warmup_epochs": hparams.get("cosine_warmup_epoch", 0),
        "warmup_learning_rate": peak if first < 0 else first,
        "sampling": "largest" if task in ("fullnet", "train_subnet") else "random",
        "distill": "teacher" if float(hparams.get("lambda_kd", 0)) > 0 else "none",
    }


def _mobile_space(network: Mapping[str, Any]) -> dict[str, Any]:
    blocks = parse_op_candidates(network.get("op_candidates", _default_candidates(network)))
    width = float(network.get("width_mult", 1.0))
    fixed = bool(network.get("fixed_kernel", False))
    depths = network.get("depth_candidates", [2, 3, 4] if "genotype" in network else [4])
    space: dict[str, Any] = {"name": f"{'compound' if fixed else 'mbv3'}_w{width}", "depths": sorted(_listed(depths))}
    if not fixed:
        space["kernel_sizes"] = sorted({block.kernel_size for block in blocks})
    if network.get("compound"):
        space["compound"] = not fixed
    else:
        space["expand_ratios"] = sorted({block.expand_ratio for block in blocks})
    return space


def _default_candidates(network: Mapping[str, Any]) -> Sequence[str]:
    """What their networks take when the file names none: all for one sub-network, one for a supernet."""
    return OP_CANDIDATES if "genotype" in network else ("MB6 3x3",)


def _opened(experiment: Experiment, family: SearchSpace) -> dict[str, Any]:
    """What the stage opens, counted from the largest where the space itself does not say it, and when it sorts."""
    network, hparams = experiment.network, experiment.hparams
    opened: dict[str, Any] = {}
    if experiment.family == "ofa_resnet50":
        for key, choice in zip(_RESNET, ("depths", "expand_ratios", "width_mults"), strict=True):
            values = sorted(map(float, _listed(network.get(key, _RESNET[key][-1:]))))
            if values != list(_RESNET[key][-len(values) :]):
                raise ConfigError(
                    f"{experiment.name}: {key} is {values}; here the largest of {list(_RESNET[key])} open first"
                )
            opened[choice] = len(values)
        ratios = opened["expand_ratios"]
    else:
        blocks = parse_op_candidates(network.get("op_candidates", _default_candidates(network)))
        ratios = len({block.expand_ratio for block in blocks})
    task = hparams.get("task")
    if network.get("compound"):
        # Begun from the teacher itself, no smaller ratio has been trained yet; later all have.
        opened["sort_channels"] = 0 if network.get("weights") == _teacher(hparams) else ratios - 1
    elif task == "expand":
        opened["sort_channels"] = max(0, ratios - 2)
    elif task == "width":
        opened["sort_channels"] = ratios - 1
    return opened


def _validated(experiment: Experiment, family: SearchSpace) -> list[dict[str, Any]] | None:
    """The networks that are evaluated, in the JSON form of architectures without its resolution."""
    genotypes = experiment.hparams.get("valid_genotypes")
    if not genotypes:
        return None
    candidates = experiment.network.get("op_candidates", _default_candidates(experiment.network))
    return [_without_resolution(arch_from_genotype(family, genotype, candidates)) for genotype in genotypes]


def _without_resolution(arch: Arch) -> dict[str, Any]:
    return {key: value for key, value in arch.to_dict().items() if key != "resolution"}


def _teacher(hparams: Mapping[str, Any]) -> str | None:
    if float(hparams.get("lambda_kd", 0)) <= 0 or not hparams.get("teacher_network"):
        return None
    return next(iter(hparams["teacher_network"].values())).get("weights")


def _data(experiment: Experiment, alone: bool) -> dict[str, Any]:
    loader = experiment.dataloader
    data: dict[str, Any] = {
        "source": "auto",
        "holdout": 0.0 if alone else round(1 - float(loader.get("train_portion", 1)), 9),
        "test_transform": "official",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    return data | ({"root": loader["datapath"]} if loader.get("datapath") else {})


def _colour(loader: Mapping[str, Any]) -> dict[str, float]:
    """Older files write true as a text."""
    twisted = str(loader.get("colortwist", False)).lower() == "true"
    return {"brightness": 0.12549, "saturation": 0.5} if twisted else {"brightness": 0.0, "saturation": 0.0}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
