"""Keys of NNablaNAS's composed experiments, typed behind one of its experiments: what they change in ours."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..interop.nnablanas import genotype_from_arch, op_name, train_settings
from ..interop.nnablanas.checks import RESNET_LISTS
from ..interop.nnablanas.experiments import SEARCHER, TRAINER, experiment_of
from ..space import Block, create_space
from ..train.config import PhaseConfig, TrainConfig
from ..train.watched import arch_from_words

_THEIRS = re.compile(r"[+~]*(network|hparams|dataloader|optimizer\.train(_no_decay)?|args)(\.|$)")
_STAGE = re.compile(r"classification/ofa/(ofa_mbv3|ofa_resnet50)/imagenet_(search_\w+|train_subnet)")
_CHOICES = ("kernel_sizes", "expand_ratios", "depths")
_SIZES = "the sizes of images are those of hparams.train_image_size_list"
_IMAGES = "data.root names the folder of images, with train and val"
_IDLE = {
    "hparams.batch_size_valid": "as many images pass at once as hparams.mini_batch_valid says",
    "hparams.print_frequency": "write log_every_steps=N",
    "args.print_frequency": "write log_every_steps=N",
    "hparams.input_shapes": _SIZES,
    "hparams.target_shapes": "there are as many outputs as the images have classes",
    "num_classes": "there are as many outputs as the images have classes",
    "base_stage_width": "NNablaNAS does not read it; widths follow from width_mult",
    "regularizer": "OFASearcher does not read it",
    **{f"dataloader.imagenet.{split}_{what}": _IMAGES for split in ("train", "valid") for what in ("path", "file")},
    **{f"dataloader.imagenet.{what}": "images are read as data=... says" for what in ("transform", "channel_last")},
    "dataloader.imagenet.type_config": "images are read as data=... says",
}


def is_theirs(word: str) -> bool:
    """Whether a `key=value` word has a key of NNablaNAS's composed experiments."""
    return _THEIRS.match(word) is not None


def check_idle(words: Sequence[str]) -> None:
    """Raise ConfigError for a key that has no effect here; says what has."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        for idle in (key, key.rpartition(".")[2]):
            if idle in _IDLE:
                raise ConfigError(f"{key} changes nothing here; {_IDLE[idle]}")


def with_their_words(
    config: TrainConfig, preset: str | None, words: Sequence[str], teacher: str | None = None
) -> dict[str, Any]:
    """The nested settings of one of NNablaNAS's experiments after words in its own keys.

    The words are set in the experiment as NNablaNAS composes it. What they change in its translation is changed in
    `config`, everything else stays.

    Args:
        config: our preset of that name.
        teacher: weights of the teacher that are named in our words.

    Raises:
        ConfigError: another preset, recipe or network, an unknown key, a value of a wrong type or without counterpart.
    """
    if preset is None or not _STAGE.fullmatch(preset):
        raise ConfigError(
            f"{words[0]}: keys of NNablaNAS go with one of its experiments, "
            "experiment=classification/ofa/ofa_mbv3/imagenet_search_kernel; see ofa train --help for those of others"
        )
    _check_stage(config, preset)
    values = composed(config)
    where = f"experiment={preset}"
    before = train_settings(experiment_of(values, where, config.name))
    changed_experiment = experiment_of(values, where, config.name, words)
    after = train_settings(dataclasses.replace(changed_experiment, teacher=teacher))
    (phase,) = config.recipe.phases
    for settings in (before, after):  # ours are called by stage, not by task
        settings["recipe"]["phases"] = {phase: next(iter(settings["recipe"]["phases"].values()))}
    changed = dataclasses.asdict(config)
    _change(changed, before, after)
    earlier, later = (settings["recipe"]["phases"][phase] for settings in (before, after))
    narrowed = any(before["space"].get(choice) != after["space"].get(choice) for choice in (*_CHOICES, "compound"))
    if narrowed or earlier["sampling"] != later["sampling"]:
        # Presets count what is open in the phase, the largest network alone not even that; experiments list what
        # there is.
        changed["space"] |= {choice: after["space"].get(choice) for choice in _CHOICES if choice in before["space"]}
        changed["recipe"]["phases"][phase] |= {choice: later.get(choice) for choice in (*_CHOICES, "width_mults")}
    return changed


def _check_stage(config: TrainConfig, preset: str) -> None:
    """Raise ConfigError where recipe= or space= have put another recipe or network in place of the preset's."""
    space = r"mbv3_w[\d.]+" if "/ofa_mbv3/" in preset else "resnet50"
    if config.recipe.name != "phases" or len(config.recipe.phases) != 1:
        raise ConfigError(f"keys of NNablaNAS go with the one stage of experiment={preset}; leave out recipe=")
    if not re.fullmatch(space, config.space.name):
        raise ConfigError(
            f"keys of NNablaNAS go with the network of experiment={preset}, not {config.space.name}; leave out space="
        )


def _change(target: dict[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Set in `target` what differs."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old != new and isinstance(old, Mapping) and isinstance(new, Mapping) and key != "genotype":
            _change(target[key], old, new)
        elif old != new:
            target[key] = new


def composed(config: TrainConfig) -> dict[str, Any]:
    """A preset of ours for one stage, as NNablaNAS composes the experiment of that name."""
    ((name, phase),) = config.recipe.phases.items()
    alone = config.genotype is not None
    space = create_space(config.space.name)
    mobile = not space.widths
    network: dict[str, Any] = {"drop_rate": config.space.dropout, "bn_param": [0.9, 1e-5]}
    candidates = config.op_candidates
    if mobile:
        kernels, ratios, depths = (_opened(phase, choice, getattr(space.stages[0], choice)) for choice in _CHOICES)
        if not alone:
            candidates = _candidates(kernels, ratios)
            network |= {"depth_candidates": depths, "compound": config.space.compound}
        network |= {"op_candidates": candidates, "width_mult": float(config.space.name.rpartition("_w")[2])}
    else:
        choices = zip(RESNET_LISTS.items(), ("depths", "expand_ratios", "width_mults"), strict=True)
        network |= {key: list(values) if alone else _opened(phase, choice, values) for (key, values), choice in choices}
    network |= {"genotype": config.genotype} if alone else {}
    network |= {"weights": config.weights} if config.weights else {}
    family = "ofa_mbv3" if mobile else "ofa_resnet50"
    archs = [arch_from_words(space, words) for words in phase.archs or ()]
    rate = {"name": "Nesterov", "lr": phase.learning_rate, "momentum": config.optimizer.momentum}
    rate["lr_scheduler"] = "CosineSchedulerWarmup"
    hparams: dict[str, Any] = {
        "lambda_kd": config.recipe.kd_ratio if phase.distill == "teacher" else 0,
        "epoch": phase.epochs,
        "cosine_warmup_epoch": phase.warmup_epochs,
        "warmup_lr": phase.warmup_learning_rate,
        "batch_size_train": phase.batch_size,
        "mini_batch_train": phase.micro_batch_size,
        "mini_batch_valid": config.evaluation.batch_size,
        "validation_frequency": config.evaluation.every_epochs,
    }
    assert config.space.resolutions is not None
    if alone:
        hparams["img_size"] = config.space.resolutions[0]
    else:
        hparams |= {
            "task": {"comp": "expand"}.get(task := name.partition("_")[0], task),
            "train_image_size_list": config.space.resolutions,
            "image_size_seg": config.space.resolution_step,
            "valid_image_size_list": config.evaluation.resolutions,
            "valid_genotypes": [genotype_from_arch(arch, candidates) for arch in archs],
        }
    if phase.distill == "teacher":
        largest: dict[str, Any] = {key: [values[-1]] for key, values in RESNET_LISTS.items()}
        if mobile:
            largest = {"op_candidates": ["MB6 7x7"], "depth_candidates": [4], "width_mult": network["width_mult"]}
        hparams["teacher_network"] = {family: {**largest, "drop_rate": 0, "weights": config.recipe.teacher}}
    return {
        "args": {"search": not alone, "algorithm": TRAINER if alone else SEARCHER},
        "dataloader": {"imagenet": {"train_portion": 0.99, "augment_valid": False, "colortwist": True}},
        "network": {family: network},
        "optimizer": {
            "train": {**rate, "weight_decay": config.optimizer.weight_decay},
            "train_no_decay": {**rate, "weight_decay": 0},
        },
        "hparams": hparams,
    }


def _opened(phase: PhaseConfig, choice: str, values: Sequence[Any]) -> list[Any]:
    """The values of a choice that a phase trains, counted from the largest."""
    count = 1 if phase.sampling == "largest" else getattr(phase, choice)
    return list(values if count is None else values[-count:])


def _candidates(kernels: Sequence[int], ratios: Sequence[float]) -> list[str]:
    """In the order of NNablaNAS's files: of one ratio from the largest kernel on, else from the smallest."""
    ordered = sorted(kernels, reverse=len(ratios) == 1)
    return [op_name(Block(kernel, ratio)) for ratio in sorted(ratios) for kernel in ordered]
