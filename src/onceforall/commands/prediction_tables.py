"""Prediction tables for `ofa ensemble`: of the networks of a run's search, or read from published files."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..data.views import PLAIN, VIEWS
from ..errors import ConfigError, DataError, FileFormatError, RunError
from ..files import read_json
from ..run import Run
from ..search.ensemble.ensembles import largest_subset
from ..search.ensemble.tables import PredictionTable, TableNetwork
from ..search.front import non_dominated
from ..space import Arch

if TYPE_CHECKING:
    from ..data import DataSource, ImageSet
    from ..train.calibrated import CalibratedNetworks

ALL_CLASSES_UP_TO = 256
_KEPT_CLASSES = 32
Member = dict[str, Any]


@dataclass(frozen=True)
class Candidates:
    """The networks that may vote, as members of search results by rising latency, and the search they come from."""

    search: str
    device: str | None
    members: list[Member]


def candidates_of(run: Run, search: str | None, networks: int) -> Candidates:
    """The front of a search; then, up to `networks` in all, what is left of its evaluated networks, front by front.

    Of a front that is too large the part of largest hypervolume is taken, both ends among it. A network just behind the
    front may err on other images than those on it.

    Raises:
        RunError: no such search. DataError: a network without latency. ConfigError: fewer than two networks.
        FileFormatError: the search's file is something else.
    """
    names = run.searches()
    if search is not None and search not in names:
        raise RunError(f"run={run.folder}: no search {search!r}; there is {', '.join(names) or 'none yet'}")
    if not names:
        raise RunError(f"run={run.folder}: no search result yet; make one with: ofa search run={run.folder}")
    found = run.read_search(name := search or names[0])
    known = {member["name"]: member for member in [*found["evaluated"], *found["front"]]}
    left = sorted(known.values(), key=lambda member: member["name"])
    for member in left:
        if (latency := member.get("latency_ms")) is None:
            raise DataError(
                f"{run.search_path(name)}: network {member['name']} has no latency; measure this machine "
                f"(ofa measure run={run.folder}) and search again"
            )
        if not isinstance(latency, int | float) or not 0 < latency < math.inf:
            raise FileFormatError(
                f"{run.search_path(name)}: the latency of network {member['name']} is {latency!r}, not milliseconds; "
                f"search again: ofa search run={run.folder}"
            )
    left.sort(key=lambda member: member["latency_ms"])
    points = np.array([(member["latency_ms"], 100 - 100 * member["top1"]) for member in left])
    reference = (float(points[:, 0].max()), float(points[:, 1].max()))
    rest, chosen = np.arange(len(left)), np.zeros(0, dtype=np.int64)
    while len(rest) and len(chosen) < networks:
        best = non_dominated(points[rest])
        layer, rest = rest[best], rest[~best]
        if len(layer) > networks - len(chosen):
            layer = layer[largest_subset(points[layer], reference, networks - len(chosen))]
        chosen = np.concatenate([chosen, layer])
    if len(chosen) < 2:
        raise ConfigError(f"search {name} has one network only; an ensemble needs two")
    return Candidates(name, found.get("device"), [left[place] for place in np.sort(chosen)])


def predictions_path(run: Run, part: str, view: str = PLAIN) -> Path:
    """Of a prediction table, without suffix."""
    return run.folder / "ensembles" / "predictions" / in_view(part, view)


def in_view(name: str, view: str) -> str:
    """What something that is shown a view is called."""
    return name if view == PLAIN else f"{name}-{view}"


def voters(members: Sequence[Member], views: Sequence[str]) -> list[Member]:
    """Every network as a voter for every view, in the order of the tables of `collect_tables`.

    One that is shown another view is told by its name, as its latency and everything else are the same.
    """
    return [member | {"name": in_view(member["name"], view), "view": view} for view in views for member in members]


def calibrated_networks(
    run: Run, source: "DataSource", compute: str, *, calibration_images: int, batch_size: int
) -> "CalibratedNetworks":
    """Networks of a run with statistics that are kept in its folder; `compute`: the device, or auto."""
    from ..train import resolve_device
    from ..train.calibrated import CalibratedNetworks

    return CalibratedNetworks(
        run.load_supernet().to(resolve_device(compute)),
        source,
        run.folder / "ensembles" / "statistics",
        weights=run.weights_digest(),
        calibration_images=calibration_images,
        batch_size=batch_size,
        workers=run.read_config().data.workers,
    )


def collect_tables(
    run: Run,
    part: Literal["holdout", "test"],
    candidates: Candidates,
    source: "DataSource",
    networks: "CalibratedNetworks",
    *,
    views: Sequence[str],
    top: int | None,
    limit: int | None = None,
    per_class: int | None = None,
    networks_at_once: int = 16,
    progress: Callable[[int, int], None],
) -> list[PredictionTable]:
    """The tables of one part, its images in the order of their keys; goes on with the networks that are missing.

    `views`: names of `VIEWS`, for each of them a table. `limit`: at most so many
    images, classes in proportion. `per_class`: the first of each class only.

    Raises:
        DataError: no images, or one that cannot be read. StorageError: the networks before stay complete.
    """
    from ..data.split import first_of_each_class
    from ..train.evaluate import part_of
    from ..train.predictions import predict_each

    images = part_of(source, part, limit)
    images = images.subset(np.argsort(images.keys, kind="stable"))
    if per_class is not None:
        images = images.subset(first_of_each_class(images.labels, images.keys, per_class))
    archs = {member["name"]: Arch.from_dict(member["arch"]) for member in candidates.members}
    tables = [
        PredictionTable.create(
            predictions_path(run, part, view),
            [TableNetwork(m["name"], archs[m["name"]].resolution, m["latency_ms"]) for m in candidates.members],
            images.labels,
            _row_names(images),
            source.classes,
            top=_KEPT_CLASSES if top is None and len(source.classes) > ALL_CLASSES_UP_TO else top,
            origin=networks.origin | {"part": part} | ({} if view == PLAIN else {"view": view}),
        )
        for view in views
    ]
    lacking = {name: tuple(k for k, table in enumerate(tables) if name in table.missing) for name in archs}
    todo = sum(bool(places) for places in lacking.values())
    for places in sorted(set(lacking.values()) - {()}):
        of_these = [arch for name, arch in archs.items() if lacking[name] == places]
        seen = [VIEWS[views[k]] for k in places]
        found = predict_each(networks, of_these, source, images, views=seen, networks_at_once=networks_at_once)
        for arch, probabilities in found:
            for k, values in zip(places, probabilities, strict=True):
                tables[k].write(arch.name, [values])
            todo -= 1
            progress(len(archs) - todo, len(archs))
    return tables


def _row_names(images: "ImageSet") -> list[str]:
    """The key of every image in hexadecimal; a copy of an image gets a number."""
    seen: dict[int, int] = {}
    names = []
    for key in images.keys.tolist():
        seen[key] = seen.get(key, 0) + 1
        names.append(f"{key:016x}" + (f"-{seen[key]}" if seen[key] > 1 else ""))
    return names


def read_latencies(path: Path) -> list[float]:
    """Latencies in ms: a JSON list, or one number per line. Raises FileFormatError."""
    try:
        content = path.read_text(encoding="utf-8")
        values = read_json(path) if content.lstrip().startswith("[") else content.split()
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path}: a JSON list of milliseconds, or one number per line, is needed ({error})"
        ) from error
    found = []
    for network, value in enumerate(values):
        try:
            found.append(float(value))
        except (ValueError, TypeError) as error:
            raise FileFormatError(f"{path}: the latency of network {network} is {value!r}, not milliseconds") from error
    return found
