"""Experiment files of NNablaNAS: the older JSON ones, and those its Hydra tree composes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, FileFormatError

NETWORKS = {"ofa": "ofa_mbv3", "ofa_mbv3": "ofa_mbv3", "ofa_resnet50": "ofa_resnet50"}
"""Network keys, of which the first is the oldest name of the second, and the families they stand for."""
SEARCHER, TRAINER = "OFASearcher", "OFATrainer"


@dataclass(frozen=True)
class Experiment:
    """What an experiment file says; `onceforall.interop.nnablanas.train_settings` puts it into our words.

    Attributes:
        name: of the run; that of the file where it has none.
        family: the key of the network, `ofa_mbv3` for its older name too.
        network, hparams, optimizer, dataloader: the sections, as they are in the file; of a network and of a loader
            what stands under their name. The optimizer by the name of its part, `train` and `train_no_decay`.
        algorithm: OFASearcher, or OFATrainer for one sub-network; what the older files leave to the command line
            follows from whether there is a genotype.
        batch_is_global: whether batch sizes are those of all processes together, as in composed files, or of each.
    """

    name: str
    family: str
    network: Mapping[str, Any]
    hparams: Mapping[str, Any]
    optimizer: Mapping[str, Mapping[str, Any]]
    dataloader: Mapping[str, Any]
    algorithm: str
    batch_is_global: bool


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment: JSON as used before August 2022, or the composed YAML (`--cfg job`, or config.yaml of a run).

    Raises:
        FileFormatError: missing, damaged, or no experiment; names the section that is missing.
        ConfigError: an algorithm other than those for Once-for-All networks.
    """
    path = Path(path)
    values = _read(path)
    for section in ("network", "hparams", "optimizer"):
        if not isinstance(values.get(section), dict) or not values[section]:
            raise FileFormatError(f"{path} is no experiment of NNablaNAS: it has no section {section!r}")
    family, network = _only(values["network"], "network", path)
    loader = values.get("dataloader") or {}
    algorithm = (values.get("args") or {}).get("algorithm") or (TRAINER if "genotype" in network else SEARCHER)
    check_algorithm(algorithm, str(path))
    return Experiment(
        name=str(values.get("name") or path.stem).strip("/"),
        family=NETWORKS.get(family, family),
        network=network,
        hparams=values["hparams"],
        optimizer=values["optimizer"],
        dataloader=_only(loader, "dataloader", path)[1] if loader else {},
        algorithm=algorithm,
        batch_is_global="args" in values,
    )


def check_algorithm(algorithm: str, where: str) -> None:
    """Raise ConfigError for an algorithm this package has not."""
    if algorithm not in (SEARCHER, TRAINER):
        raise ConfigError(
            f"{where}: algorithm {algorithm} is not known here; there are {SEARCHER}, which trains supernets, and "
            f"{TRAINER}, which trains one sub-network"
        )


def _only(section: Mapping[str, Any], what: str, path: Path) -> tuple[str, Mapping[str, Any]]:
    """The one entry of a section and its name."""
    if len(section) != 1 or not isinstance(next(iter(section.values())), dict):
        raise FileFormatError(
            f"{path} is no experiment of NNablaNAS: {what} holds {len(section)} entries, not one by name"
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
