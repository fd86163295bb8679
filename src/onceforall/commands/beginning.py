"""What `weights=`, `recipe.teacher=` and `genotype=` of `ofa train` stand for."""

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..configuration import CONF_MODULE, groups_of
from ..errors import FileFormatError, RunError
from ..run import DEFAULT_PARENT, Run
from ..train.config import TrainConfig

if TYPE_CHECKING:
    from torch import nn

    from ..space import Arch
    from ..supernets import Supernet
    from ..train import Start

# Where NNablaNAS leaves weights: log/<name>/checkpoint/weights.h5, before its Hydra days log/<name>/weights.h5.
_LOGGED = re.compile(r"(?:.*/)?log/(classification/ofa/.+?)(?:/checkpoint)?/weights\.h5")


def start_of(config: TrainConfig, check: bool = True) -> "Start":
    """How to read what a run begins from.

    Args:
        check: look now whether the files are there; a run that continues needs none.

    Raises:
        RunError: weights that are not there; names the command that makes them. InvalidArch, ConfigError: a genotype
            that names no network of the space.
    """
    from ..pretrained import load_pretrained
    from ..train import Start

    weights, teacher = config.weights, config.recipe.teacher
    if check:
        for path in (weights, teacher):
            if path is not None:
                find_weights(path)
    return Start(
        load=None if weights is None else lambda supernet: load_pretrained(supernet, find_weights(weights)),
        teacher=None if teacher is None else lambda supernet: _largest_of(find_weights(teacher), supernet),
        arch=None if config.genotype is None else _arch_of(config),
    )


def find_weights(text: str) -> Path:
    """The file (ours without suffix) that weights are read from: a run's supernet, or the file itself.

    A path in NNablaNAS's log folder is looked for in both forms it has had, then as a run of ours, there or in runs/.

    Raises:
        RunError: there is no such file, or the run has not been trained to its end.
    """
    for candidate in _candidates(text):
        run = Run(candidate)
        if run.exists():
            run.description()
            return run.supernet_path
        if candidate.is_file() or candidate.with_name(candidate.name + ".safetensors").is_file():
            return candidate
    raise RunError(f"{_missing_file(text)} does not exist; {_remedy(text)}")


def _candidates(text: str) -> list[Path]:
    match = _LOGGED.fullmatch(text)
    if match is None:
        return [Path(text)]
    log = text[: match.start(1)]
    older, newer = "classification/ofa/imagenet/", "classification/ofa/ofa_mbv3/imagenet/"
    names = [match[1], match[1].replace(older, newer), match[1].replace(newer, older)]
    files = [Path(log, name, middle, "weights.h5") for name in names for middle in ("checkpoint", "")]
    runs = [Path(parent, name) for parent in (log, DEFAULT_PARENT) for name in names]
    return list(dict.fromkeys([Path(text), *files, *runs]))


def _missing_file(text: str) -> str:
    """What should be there: of a run its supernet."""
    is_file = Path(text).suffix in {".h5", ".hdf5", ".pth", ".pt", ".safetensors"}
    return text if is_file else f"{text}/supernet.safetensors"


def _remedy(text: str) -> str:
    """The experiment that makes these weights, where there is one."""
    places = {str(path) for path in _candidates(text)}
    for experiment in groups_of("train")["experiment"]:
        if str(DEFAULT_PARENT / _name_of(experiment)) in places:
            return f"make it with: ofa train experiment={experiment}, or name other weights"
    return "name a run or a file of weights"


def _name_of(experiment: str) -> str:
    """The name under which an experiment runs."""
    text = (resources.files(CONF_MODULE) / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    match = re.search(r"^name: (\S+)$", text, re.MULTILINE)
    return match[1] if match else ""


def _largest_of(path: Path, pupil: "Supernet") -> "nn.Module":
    """The largest network of some weights; a file that does not describe itself is one of the pupil's family."""
    from ..pretrained import create_supernet, load_pretrained
    from ..supernets import load_supernet

    layout = pupil.space.layout
    whole = path.with_suffix("") if path.suffix == ".safetensors" else path
    if whole.with_name(whole.name + ".json").is_file():
        supernet = load_supernet(whole)
    else:
        # CompOFA's fixed kernels are those of pupils; their teacher is the full network.
        name = re.sub(r"^compound(_elastic)?_", "mbv3_", pupil.space.name)
        supernet = create_supernet(name, layout.num_classes, layout.in_chans)
        if any("classifier" in kept for kept in load_pretrained(supernet, path)):
            raise FileFormatError(f"recipe.teacher={path}: it was trained on another number of classes")
    classes = supernet.space.layout.num_classes
    if classes != layout.num_classes:
        raise FileFormatError(f"recipe.teacher={path}: it knows {classes} classes, this run {layout.num_classes}")
    return supernet.extract(supernet.space.largest)


def _arch_of(config: TrainConfig) -> "Arch":
    from ..interop.nnablanas import arch_from_genotype
    from ..space import create_space

    space = create_space(config.space.name, resolutions=config.space.resolutions)
    return arch_from_genotype(space, config.genotype, config.op_candidates)
