"""An experiment of NNablaNAS in the words of our training settings."""

from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError, InvalidArch
from ...space import Arch, SearchSpace, create_space
from ...space.families import EXPAND_OF_DEPTH
from .checks import RESNET_LISTS, blocks, candidates, check, complaint, listed, numbers
from .experiments import SEARCHER, TRAINER, Experiment
from .genotypes import arch_from_genotype


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
        raise complaint(
            experiment, f"there is no network {experiment.family} here; there are ofa_mbv3 and ofa_resnet50"
        )
    alone = experiment.algorithm == TRAINER
    network, hparams = experiment.network, experiment.hparams
    each = 1 if experiment.batch_is_global else processes
    if alone and "genotype" not in network:
        raise complaint(experiment, f"{TRAINER} trains one sub-network, and the file names no genotype")
    if not alone and "genotype" in network:
        raise complaint(experiment, f"{SEARCHER} trains a supernet, but the file names the genotype of one network")
    check(experiment)
    space = _mobile_space(experiment) if experiment.family == "ofa_mbv3" else {"name": "resnet50"}
    try:
        family = create_space(space["name"])
        options: dict[str, Any] = {key: value for key, value in space.items() if key != "name"}
        create_space(space["name"], **options)
    except ConfigError as error:
        raise complaint(experiment, f"network.{experiment.family}: {error}") from error
    task = str(hparams.get("task", "train_subnet"))
    phase = {**_phase(experiment, task), **({} if alone else _opened(experiment))}
    phase["archs"] = _validated(experiment, family)
    if alone:
        _arch(experiment, family, network["genotype"], f"network.{experiment.family}.genotype")
    whole = alone or _trains_on_all(experiment)
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
        "data": _data(experiment, whole),
        "augment": {"crop_scale": 0.08, **_colour(experiment.dataloader)},
        "recipe": {
            "name": "phases",
            "phases": {task: phase},
            "teacher": _teacher(experiment),
            "teacher_statistics": "batch",
            "label_smoothing": 0.1,
            "kd_ratio": hparams.get("lambda_kd", 0.0) or 1.0,
            "loss_reduction": "sum",
        },
        "optimizer": {
            "name": "sgd",
            "momentum": experiment.optimizer["train"].get("momentum", 0.9),
            "nesterov": experiment.optimizer["train"]["name"] == "Nesterov",
            "weight_decay": experiment.optimizer["train"]["weight_decay"],
        },
        "evaluation": {
            "every_epochs": hparams.get("validation_frequency", 1),
            "at_start": alone or task != "fullnet",
            "part": "test" if whole else "holdout",
            "images": None,
            "resolutions": None if alone else list(hparams["valid_image_size_list"]),
            "calibration_images": 2000,
            "batch_size": hparams["mini_batch_valid"],
        },
    }
    if experiment.family == "ofa_mbv3":
        settings["op_candidates"] = listed(candidates(network))
    return settings


def _trains_on_all(experiment: Experiment) -> bool:
    """Only a search holds images out; the full network of older files was trained without."""
    return experiment.hparams.get("task") == "fullnet" and not experiment.search


def _phase(experiment: Experiment, task: str) -> dict[str, Any]:
    """How long and how fast."""
    hparams = experiment.hparams
    epochs, warmup = hparams["epoch"], hparams.get("cosine_warmup_epoch", 0)
    peak = experiment.optimizer["train"]["lr"]
    first = hparams.get("warmup_lr", -1)
    first = peak if first < 0 else first
    if warmup > epochs:  # the rate is still rising when training ends
        peak, warmup = first + (peak - first) * epochs / warmup, epochs
    return {
        "epochs": epochs,
        "learning_rate": peak,
        "warmup_epochs": warmup,
        "warmup_learning_rate": first,
        "sampling": "largest" if task in ("fullnet", "train_subnet") else "random",
        "distill": "teacher" if hparams.get("lambda_kd", 0) > 0 else "none",
    }


def _mobile_space(experiment: Experiment) -> dict[str, Any]:
    network = experiment.network
    named = blocks(experiment, candidates(network))
    fixed = network.get("fixed_kernel", False)
    depths = network.get("depth_candidates", [2, 3, 4] if "genotype" in network else [4])
    depths = numbers(experiment, depths, "network.ofa_mbv3.depth_candidates")
    space: dict[str, Any] = {
        "name": f"{'compound' if fixed else 'mbv3'}_w{network.get('width_mult', 1.0)}",
        "depths": sorted(depths),
        "compound": bool(network.get("compound")) and not fixed,
    }
    ratios = sorted({block.expand_ratio for block in named})
    if not fixed:
        space |= {"kernel_sizes": sorted({block.kernel_size for block in named}), "expand_ratios": ratios}
    elif ratios[0] > min(EXPAND_OF_DEPTH.get(depth, 0) for depth in depths):
        raise complaint(
            experiment, f"with fixed_kernel the ratios here are 3, 4 and 6; op_candidates begin at {ratios[0]}"
        )
    return space


def _opened(experiment: Experiment) -> dict[str, Any]:
    """What the stage opens, counted from the largest where the space itself does not say it, and when it sorts."""
    network, hparams = experiment.network, experiment.hparams
    opened: dict[str, Any] = {}
    if experiment.family == "ofa_resnet50":
        for (key, all_values), choice in zip(
            RESNET_LISTS.items(), ("depths", "expand_ratios", "width_mults"), strict=True
        ):
            values = sorted(numbers(experiment, network.get(key, all_values[-1:]), f"network.ofa_resnet50.{key}"))
            if values != list(all_values[-len(values) :]):
                raise complaint(experiment, f"{key} is {values}; here the largest of {list(all_values)} open first")
            opened[choice] = len(values)
        ratios = opened["expand_ratios"]
    else:
        ratios = len({block.expand_ratio for block in blocks(experiment, candidates(network))})
    task = hparams["task"]
    if network.get("compound"):
        # Begun from the teacher itself, no smaller ratio has been trained yet; later all have.
        opened["sort_channels"] = 0 if network.get("weights") == _teacher(experiment) else ratios - 1
    elif task == "expand":
        opened["sort_channels"] = max(0, ratios - 2)
    elif task == "width":
        opened["sort_channels"] = ratios - 1
    return opened


def _validated(experiment: Experiment, family: SearchSpace) -> list[dict[str, Any]] | None:
    """The networks that are evaluated, in the JSON form of architectures without its resolution."""
    instead = "; name others, or none ([]) for the largest, the smallest and random ones"
    genotypes = experiment.hparams.get("valid_genotypes")
    if not genotypes:
        return None
    read = [
        _arch(experiment, family, genotype, f"hparams.valid_genotypes[{index}]", instead)
        for index, genotype in enumerate(genotypes)
    ]
    return [{key: value for key, value in arch.to_dict().items() if key != "resolution"} for arch in read]


def _arch(experiment: Experiment, family: SearchSpace, genotype: Any, what: str, instead: str = "") -> Arch:
    try:
        return arch_from_genotype(family, genotype, candidates(experiment.network))
    except InvalidArch as error:
        raise InvalidArch(f"{experiment.where}: {what}: {error}{instead}") from error


def _teacher(experiment: Experiment) -> str | None:
    if experiment.hparams.get("lambda_kd", 0) <= 0:
        return None
    teacher = experiment.hparams.get("teacher_network", {}).get(experiment.family, {})
    return teacher.get("weights", experiment.teacher)


def _data(experiment: Experiment, whole: bool) -> dict[str, Any]:
    loader = experiment.dataloader
    data: dict[str, Any] = {
        "source": "auto",
        "holdout": 0.0 if whole else round(1 - loader.get("train_portion", 1), 9),
        "test_transform": "official",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    return data | ({"root": loader["datapath"]} if loader.get("datapath") else {})


def _colour(loader: Mapping[str, Any]) -> dict[str, float]:
    twisted = loader.get("colortwist", False)
    return {"brightness": 0.12549, "saturation": 0.5} if twisted else {"brightness": 0.0, "saturation": 0.0}
