"""Experiment files of NNablaNAS: the older JSON ones, and those its Hydra tree composes."""

import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ...configuration import from_values
from ...errors import ConfigError, FileFormatError
from ...settings import members
from .schema import ExperimentValues

NETWORKS = {"ofa": "ofa_mbv3", "ofa_mbv3": "ofa_mbv3", "ofa_resnet50": "ofa_resnet50"}
"""Network keys, of which the first is the oldest name of the second, and the families they stand for."""
_SECTIONS = ("args", "dataloader")  # those that may be null
SEARCHER, TRAINER = "OFASearcher", "OFATrainer"


@dataclass(frozen=True)
class Experiment:
    """What an experiment file says; `onceforall.interop.nnablanas.train_settings` puts it into our words.

    Attributes:
        name: of the run; that of the file where it has none.
        family: the key of the network, `ofa_mbv3` for its older name too.
        network, hparams, optimizer, dataloader: the sections with the keys that the file gives a value; of a network
            and of a loader what stands under their name. The optimizer by the name of its part, `train` and
            `train_no_decay`.
        algorithm: OFASearcher, or OFATrainer for one sub-network; what the older files leave to the command line
            follows from whether there is a genotype.
        batch_is_global: whether batch sizes are those of all processes together, as in composed files, or of each.
        search: the `search` of args, or of the older command line; None where neither says it.
        where: begins every complaint: the file.
        teacher: weights of the teacher that are named elsewhere, for an experiment that names none.
    """

    name: str
    family: str
    network: Mapping[str, Any]
    hparams: Mapping[str, Any]
    optimizer: Mapping[str, Mapping[str, Any]]
    dataloader: Mapping[str, Any]
    algorithm: str
    batch_is_global: bool
    search: bool | None = None
    where: str = "experiment"
    teacher: str | None = None


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment: JSON as used before August 2022, or the composed YAML (`--cfg job`, or config.yaml of a run).

    Args:
        overrides: `key=value` in the keys of the file, such as hparams.epoch=1; `~key` removes one.

    Raises:
        FileFormatError: missing, damaged, or no experiment; names the section that is missing.
        ConfigError: an algorithm other than those for Once-for-All networks, an unknown key, a value of a wrong type.
    """
    path = Path(path)
    values = _read(path)
    for section in ("network", "hparams", "optimizer"):
        if not isinstance(values.get(section), dict) or not values[section]:
            raise FileFormatError(f"{path} is no experiment of NNablaNAS: it has no section {section!r}")
    return experiment_of(values, str(path), path.stem, overrides)


def experiment_of(values: Mapping[str, Any], where: str, name: str, overrides: Sequence[str] = ()) -> Experiment:
    """An experiment of nested values; see `load_experiment`. Complaints begin with `where`."""
    arguments = values.get("args") or {}
    is_composed = "args" in values
    if isinstance(arguments, Mapping) and arguments.get("algorithm"):
        check_algorithm(str(arguments["algorithm"]), where)
    family, network = _only(values["network"], "network", where)
    family = NETWORKS.get(family, family)
    if family in NETWORKS.values():
        for word in overrides:
            if (other := re.match(r"[+~]*network\.(\w+)", word)) and NETWORKS.get(other[1]) != family:
                raise ConfigError(f"{word}: the network of {where} is {family}, not {other[1]}")
        values = _typed(_with_newer_names(values), where, [_newer_name(word) for word in overrides])
        family, network = _only(values["network"], "network", where)
        arguments = values["args"]
    algorithm = arguments.get("algorithm") or (TRAINER if "genotype" in network else SEARCHER)
    check_algorithm(algorithm, where)
    loader = values.get("dataloader") or {}
    return Experiment(
        name=str(values.get("name") or name).strip("/"),
        family=family,
        network=network,
        hparams=values["hparams"],
        optimizer=values["optimizer"],
        dataloader=_only(loader, "dataloader", where)[1] if loader else {},
        algorithm=algorithm,
        batch_is_global=is_composed,
        search=arguments.get("search"),
        where=where,
    )


def check_algorithm(algorithm: str, where: str) -> None:
    """Raise ConfigError for an algorithm this package has not."""
    if algorithm not in (SEARCHER, TRAINER):
        raise ConfigError(
            f"{where}: algorithm {algorithm} is not known here; there are {SEARCHER}, which trains supernets, and "
            f"{TRAINER}, which trains one sub-network"
        )


def _typed(values: Mapping[str, Any], where: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The values after the overrides, checked against the schema; what has none is left out."""
    _check_sections(ExperimentValues, values, where)
    kept = copy.deepcopy(dict(values))
    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if word.startswith("~"):
            _remove(kept, key)
        else:
            _make_room(kept, key)
    kept = {key: {} if key in _SECTIONS and value is None else value for key, value in kept.items()}
    given = [word for word in overrides if not word.startswith("~")]
    return _without_none(dataclasses.asdict(from_values(ExperimentValues, kept, given, f"{where}: ")))


def _check_sections(schema: type, values: Mapping[str, Any], where: str, prefix: str = "") -> None:
    """Raise ConfigError for a section that is no mapping, or a network whose candidates are null."""
    for key in dataclasses.fields(schema):
        inner = next(
            (kind for kind in members(get_type_hints(schema)[key.name]) if dataclasses.is_dataclass(kind)), None
        )
        value = values.get(key.name)
        if isinstance(inner, type) and value is not None:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {prefix}{key.name} is {value!r}, not a mapping {{key: value}}")
            _check_sections(inner, value, where, f"{prefix}{key.name}.")
        elif key.name in values and value is None and key.name.endswith(("_candidates", "_list")):
            raise ConfigError(f"{where}: {prefix}{key.name} is null; it needs a value, or leave it out")


def _with_newer_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the newer name of the network, also of the one that teaches."""
    changed = dict(values)
    changed["network"] = {NETWORKS.get(key, key): value for key, value in values["network"].items()}
    hparams = values["hparams"]
    if isinstance(teacher := hparams.get("teacher_network"), Mapping):
        renamed = {NETWORKS.get(key, key): value for key, value in teacher.items()}
        changed["hparams"] = {**hparams, "teacher_network": renamed}
    return changed


def _newer_name(word: str) -> str:
    return re.sub(r"^([+~]*(?:hparams\.teacher_)?network\.)ofa\.", r"\1ofa_mbv3.", word)


def _remove(values: dict[str, Any], key: str) -> None:
    *outer, last = key.split(".")
    for part in outer:
        values = values[part] if isinstance(values.get(part), dict) else {}
    values.pop(last, None)


def _make_room(values: dict[str, Any], key: str) -> None:
    """Sections for a dotted key, where there are none."""
    for part in key.split(".")[:-1]:
        if values.get(part) is None:
            values[part] = {}
        if not isinstance(values[part], dict):
            return
        values = values[part]


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value


def _only(section: Any, what: str, where: str) -> tuple[str, Mapping[str, Any]]:
    """The one entry of a section and its name."""
    if not isinstance(section, Mapping):
        raise FileFormatError(f"{where} is no experiment of NNablaNAS: {what} is {section!r}, not a mapping")
    if len(section) != 1 or not isinstance(next(iter(section.values())), Mapping):
        raise FileFormatError(
            f"{where} is no experiment of NNablaNAS: {what} holds {len(section)} entries, not one by name"
        )
    return next(iter(section.items()))


def _read(path: Path) -> dict[str, Any]:
    """JSON is YAML; OmegaConf also reads numbers such as 3e-5, which other YAML readers take for text."""
    import yaml
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        loaded = OmegaConf.load(path)
        values = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else None
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise FileFormatError(f"{path} is neither JSON nor YAML; it may be truncated") from error
    if not isinstance(values, dict):
        raise FileFormatError(f"{path} is no experiment of NNablaNAS: it holds no `key: value` lines")
    return {str(key): value for key, value in values.items()}
