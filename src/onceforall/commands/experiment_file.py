"""`ofa train` with a file of settings: an experiment of NNablaNAS, or a config.yaml of ours."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configuration import compose, from_values, from_yaml, groups_of, to_yaml
from ..errors import ConfigError
from ..files import write_text
from ..train.config import TrainConfig
from .nnablanas_words import check_idle, is_theirs, with_their_words

if TYPE_CHECKING:
    from .convert import ConvertConfig

_SUFFIXES = (".json", ".yaml", ".yml")


def compose_train(words: Sequence[str]) -> TrainConfig:
    """The settings of `ofa train`; `experiment=` may name a file, too.

    Args:
        words: `key=value`, in our keys or in those of NNablaNAS's experiments; `file=FILE`, `algorithm=NAME` and
            `search=true` stand for NNablaNAS's flags.

    Raises:
        ConfigError, FileFormatError: a word that is no setting, or a file that is no experiment.
    """
    given = {key: value for key, _, value in (word.partition("=") for word in words)}
    theirs = [word for word in words if is_theirs(word)]
    ours = [word for word in words if not is_theirs(word)]
    check_idle(theirs)
    teacher = given.get("recipe.teacher")
    teacher = None if teacher == "null" else teacher
    file = given.get("file")
    if file is None and given.get("experiment", "").endswith(_SUFFIXES):
        file = given["experiment"]
    if file is not None:
        rest = [word for word in ours if word.partition("=")[0] not in ("file", "experiment", "algorithm", "search")]
        settings = settings_of(file, given.get("algorithm"), "search" in given, overrides=theirs, teacher=teacher)
        return from_values(TrainConfig, settings, rest, f"{file}: ")
    if flags := {"algorithm", "search"} & set(given):
        raise ConfigError(f"{flags.pop()} goes with an experiment file; a preset says itself what it trains")
    if not theirs:
        return compose("train", TrainConfig, ours)
    groups = groups_of("train")
    presets = [word for word in ours if word.partition("=")[0] in groups]
    rest = [word for word in ours if word not in presets]
    preset = compose("train", TrainConfig, presets)
    return from_values(TrainConfig, with_their_words(preset, given.get("experiment"), theirs, teacher), rest)


def settings_of(
    file: str,
    algorithm: str | None = None,
    search: bool = False,
    processes: int | None = None,
    overrides: Sequence[str] = (),
    teacher: str | None = None,
) -> dict[str, Any]:
    """The nested settings a file stands for.

    Args:
        algorithm: OFASearcher or OFATrainer, where the file leaves it open.
        search: a supernet is trained.
        processes: of the run; None: as many as a launcher started.
        overrides: `key=value` in the keys of NNablaNAS's file.
        teacher: weights of the teacher, for a file that names none.
    """
    from ..interop.nnablanas import load_experiment, train_settings
    from ..interop.nnablanas.experiments import SEARCHER

    if _is_ours(Path(file)):
        if overrides:
            raise ConfigError(f"{overrides[0]}: {file} has no such key; its keys are those of ofa train --help")
        return dataclasses.asdict(from_yaml(TrainConfig, file))
    experiment = dataclasses.replace(load_experiment(file, overrides), teacher=teacher)
    if search and algorithm not in (None, SEARCHER):
        raise ConfigError(f"--search is for {SEARCHER}; leave it out for {algorithm}")
    if search or algorithm:
        experiment = dataclasses.replace(
            experiment, algorithm=algorithm or SEARCHER, search=True if search else experiment.search
        )
    if processes is None:
        from ..train.distributed import announced_processes

        processes = announced_processes()
    return train_settings(experiment, processes)


def to_config(config: "ConvertConfig", out: Path) -> str:
    """Write the settings of an experiment file as YAML; the `to=config` of `ofa convert`."""
    read = from_values(
        TrainConfig, settings_of(str(config.source), processes=config.processes), where=f"{config.source}: "
    )
    write_text(out, to_yaml(read))
    return f"experiment {read.name}, {read.batch_size} images per step"


def _is_ours(file: Path) -> bool:
    """Whether a file is a config.yaml of a run: it has sections that NNablaNAS's files do not have."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return {"space:", "recipe:"} <= set(lines)
