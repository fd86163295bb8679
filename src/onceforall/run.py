"""A run is a folder: what lies where in it, and clear words when something is not there."""

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, DataError, FileFormatError, RunError
from .files import read_json, write_text

if TYPE_CHECKING:
    from .cost import LatencyModel
    from .data import DataConfig, DataSource
    from .space import SearchSpace
    from .supernets import Supernet
    from .train.config import TrainConfig

DEFAULT_PARENT = Path("runs")


@dataclass(frozen=True)
class Run:
    """The folder of one training run and of everything made from its supernet.

    `Run(folder)` only names places; `Run.open(folder)` also checks that a run is there.
    """

    folder: Path

    @classmethod
    def open(cls, folder: str | Path | None) -> "Run":
        """An existing run. Raises RunError, naming runs that exist, when `folder` is none."""
        if not folder:
            raise RunError(f"run=FOLDER is needed; {_existing(DEFAULT_PARENT)}")
        run = cls(Path(folder))
        if not run.folder.is_dir():
            raise RunError(f"run={folder}: no such folder; {_existing(run.folder.parent, run.folder.name)}")
        if not run.exists():
            raise RunError(f"run={folder}: not a run, it has no config.yaml; {_existing(run.folder.parent)}")
        return run

    def exists(self) -> bool:
        """Whether a run was ever started here."""
        return self.config_path.is_file()

    def is_trained(self) -> bool:
        """Whether training has finished; its description is written last."""
        return self.supernet_path.with_suffix(".json").is_file()

    @property
    def config_path(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def supernet_path(self) -> Path:
        """Of supernet.safetensors and supernet.json, without suffix."""
        return self.folder / "supernet"

    @property
    def report_path(self) -> Path:
        return self.folder / "report.html"

    def latency_path(self, device: str) -> Path:
        """Of the latency model of a device: .json and .csv, without suffix."""
        return self.folder / "latency" / device

    @property
    def predictor_path(self) -> Path:
        """Of the accuracy predictor: .safetensors and .json, without suffix."""
        return self.folder / "predictor" / "predictor"

    @property
    def labels_path(self) -> Path:
        """Evaluated networks, one line each."""
        return self.folder / "predictor" / "labels.jsonl"

    def devices_path(self, name: str) -> Path:
        """Of a search for several devices."""
        return self.folder / "devices" / f"{name}.json"

    def search_path(self, name: str) -> Path:
        return self.folder / "search" / f"{name}.json"

    def ensembles_path(self, name: str) -> Path:
        return self.folder / "ensembles" / f"{name}.json"

    def evaluate_path(self, name: str) -> Path:
        return self.folder / "evaluate" / f"{name}.json"

    def finetune_path(self, name: str) -> Path:
        """Of the fine-tuned sub-network: .safetensors and .json, without suffix."""
        return self.folder / "finetune" / name

    def deploy_path(self, name: str, suffix: str) -> Path:
        return self.folder / "deploy" / f"{name}{suffix}"

    def write_config(self, config: "TrainConfig") -> None:
        """Start the run: keep the composed config beside everything that comes from it."""
        from .configuration import to_yaml

        write_text(self.config_path, to_yaml(config))

    def read_config(self) -> "TrainConfig":
        """The config the run was started with. Raises FileFormatError or ConfigError when it cannot be read."""
        from .configuration import from_yaml
        from .train.config import TrainConfig

        return from_yaml(TrainConfig, self.config_path)

    def description(self) -> dict[str, Any]:
        """supernet.json: space, classes, mean, std, in_chans. Raises RunError before training has finished."""
        if not self.is_trained():
            raise RunError(
                f"run={self.folder}: training has not finished, there is no supernet.json; "
                f"continue it with: ofa train run={self.folder}"
            )
        return read_json(self.supernet_path.with_suffix(".json"))

    def space(self) -> "SearchSpace":
        """The search space of the supernet, without loading weights."""
        from .space import SearchSpace

        try:
            return SearchSpace.from_dict(self.description()["space"])
        except (KeyError, ConfigError) as error:
            raise FileFormatError(f"{self.supernet_path}.json does not describe a search space ({error})") from error

    def load_supernet(self) -> "Supernet":
        """The trained supernet in eval mode. Raises RunError before training has finished."""
        from .supernets import load_supernet

        self.description()
        return load_supernet(self.supernet_path)

    def weights_digest(self) -> str:
        """Hash of the weights file, so that what was measured with other weights is recognised."""
        path = self.supernet_path.with_suffix(".safetensors")
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror or error}; train the run again") from error

    def load_data(self, data: "DataConfig | None" = None) -> "DataSource":
        """The images the run was trained on, divided as they were then.

        Args:
            data: where they are; None: as config.yaml says.

        Raises:
            RunError: the classes or the training images are no longer those of the run.
            DataError: the images are gone.
        """
        from .data import load_data

        try:
            source = load_data(data or self.read_config().data)
        except DataError as error:
            raise DataError(f"{error}. If they moved: ofa train run={self.folder} data.root=NEW_PLACE") from error
        trained = list(self.description()["classes"])
        if list(source.classes) != trained:
            raise RunError(
                f"run={self.folder}: trained on {len(trained)} classes, but its data now has {len(source.classes)}: "
                f"{_difference(trained, source.classes)}; restore the images or train a new run"
            )
        if self.description().get("images", {}).get("train") != source.digests["train"]:
            raise RunError(
                f"run={self.folder}: its images changed since training, so that accuracy could be measured on images "
                "it was trained on; restore the images or train a new run"
            )
        return source

    def devices(self) -> list[str]:
        """Names of the devices a latency model exists for."""
        return sorted(path.stem for path in (self.folder / "latency").glob("*.json"))

    def load_latency(self, device: str) -> "LatencyModel":
        """The latency model of a device. Raises RunError when it has not been measured yet."""
        from .cost import LatencyModel
        from .cost.latency_build import DEVICES

        path = self.latency_path(device)
        if not path.with_name(path.name + ".json").is_file():
            others = f"; measured so far: {', '.join(self.devices())}" if self.devices() else ""
            name = "" if device in DEVICES else f" name={device}"
            raise RunError(
                f"run={self.folder}: no latency model of device {device!r}{others}; "
                f"make it with: ofa measure run={self.folder}{name}"
            )
        return LatencyModel.load(path)

    def newest_latency(self) -> "LatencyModel | None":
        """The latency model measured last, if any."""
        paths = list((self.folder / "latency").glob("*.json"))
        return self.load_latency(max(paths, key=lambda path: path.stat().st_mtime).stem) if paths else None

    def searches(self) -> list[str]:
        """Names of the search results, newest first."""
        return self._names("search")

    def read_search(self, name: str) -> dict[str, Any]:
        """A search result. Raises FileFormatError when the file is none."""
        found = read_json(path := self.search_path(name))
        if not isinstance(found, dict) or not {"name", "chosen", "front", "evaluated"} <= found.keys():
            raise FileFormatError(f"{path} is no result of `ofa search`; remove it, or search again")
        return found

    def ensembles(self) -> list[str]:
        """Names of the results of ensemble selection, newest first."""
        return self._names("ensembles")

    def _names(self, folder: str) -> list[str]:
        """Names of the JSON files of a folder, newest first."""
        found = (self.folder / folder).glob("*.json")
        return [path.stem for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def check_file_name(name: str) -> None:
    """Raise ConfigError unless a name given by the user names a file inside its folder of the run."""
    if Path(name).name != name or name.startswith("."):
        raise ConfigError(f"name={name}: a plain file name is needed, such as phone or below-4ms")


def _existing(parent: Path, wanted: str = "") -> str:
    """Which runs a folder holds, nearest name first."""
    names = [path.parent.name for path in parent.glob("*/config.yaml")] if parent.is_dir() else []
    if not names:
        return "start one with: ofa train experiment=photos data.root=PATH"
    names.sort(key=lambda name: (-difflib.SequenceMatcher(None, wanted, name).ratio(), name))
    return f"there is {_few([str(parent / name) for name in names])}"


def _difference(before: Sequence[str], now: Sequence[str]) -> str:
    """Which names are gone and which are new; all in another order is a difference, too."""
    gone = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    parts = [f"{word} {_few(names)}" for word, names in (("missing", gone), ("new", new)) if names]
    return ", ".join(parts) or "in another order"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
