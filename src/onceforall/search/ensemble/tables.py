"""Prediction tables: what N networks say about M images, in one array file with a manifest beside it."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError, DataError, FileFormatError, RunError, StorageError
from ...files import atomic_path, read_json, write_text
from .blocks import Block, Integers, as_float16

_FORMAT = 1
_SUM_TOLERANCE = 0.01  # float16 probabilities of a thousand classes


@dataclass(frozen=True)
class TableNetwork:
    """One network of a table; `checksum` of its predictions, None while they are not complete."""

    name: str
    resolution: int | None = None
    latency_ms: float | None = None
    checksum: str | None = None


class PredictionTable:
    """Class probabilities of N networks on M images: `<path>.npy` and its manifest `<path>.json`.

    The array holds one network after the other, (N, M, C) float16 probabilities or, when `top` is k, (N, M) records of
    the k best `classes`, their `probabilities` and the `rest` of the mass. It is as large as it will be from the start;
    the manifest, written anew after every network, says which networks are complete. So a stopped collection goes on
    at the network it had reached.

    Attributes:
        networks: in the order of the array. aside: complete networks of an earlier choice, behind them, kept for a
            later one. labels (M,): true classes. images: what names each row in the image set.
        classes: names of the classes, in the order of the labels. top: classes kept per image, None for all.
        origin: what the predictions depend on besides networks and images, such as a digest of the weights.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a table. Raises FileFormatError when a file is missing, of another kind, or truncated."""
        self.path = Path(path)
        manifest = read_json(self._manifest_path)
        try:
            if manifest["format"] != _FORMAT:
                raise FileFormatError(f"{self._manifest_path}: format {manifest['format']}, not {_FORMAT}")
            self.networks = tuple(TableNetwork(**network) for network in manifest["networks"])
            self.aside = tuple(TableNetwork(**network) for network in manifest.get("aside", ()))
            self.labels: Integers = np.array(manifest["labels"], dtype=np.int64)
            self.images: list[Any] = manifest["images"]
            self.classes: list[str] = manifest["classes"]
            self.top: int | None = manifest["top"]
            self.origin: dict[str, Any] = manifest["origin"]
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{self._manifest_path} is not the manifest of a prediction table ({error})"
            ) from error
        self._array()

    @classmethod
    def create(
        cls,
        path: str | Path,
        networks: Sequence[TableNetwork],
        labels: ArrayLike,
        images: Sequence[Any],
        classes: Sequence[str],
        *,
        top: int | None = None,
        origin: dict[str, Any] | None = None,
    ) -> "PredictionTable":
        """Begin a table, or go on with the one at `path` if it is of the same networks, images, classes and origin.

        If only its networks are others, all predictions are kept, those of networks that are no longer asked for aside.
        Networks whose predictions are not as they were written are missing again. Another table is replaced.

        Raises:
            ConfigError: no or doubled networks, rows and labels that do not fit, `top` outside the classes.
            StorageError.
        """
        _check_description(networks, labels, images, classes, top)
        networks = [replace(network, checksum=None) for network in networks]
        manifest = {
            "format": _FORMAT,
            "networks": [asdict(network) for network in networks],
            "labels": np.asarray(labels).tolist(),
            "images": list(images),
            "classes": list(classes),
            "top": top,
            "origin": origin or {},
        }
        path = Path(path)
        try:
            there = cls(path)
        except FileFormatError:
            there = None
        wanted = json.loads(json.dumps(manifest))
        kept: dict[str, TableNetwork] = {}
        if there is not None:
            if wanted == there._manifest(finished=False) | {"networks": wanted["networks"]}:
                for name in there.damaged():
                    there._note(there._index(name), None)
                kept = there._kept(wanted["networks"])
            if wanted == there._manifest(finished=False):
                return there
        networks = [replace(kept.pop(n.name), latency_ms=n.latency_ms) if n.name in kept else n for n in networks]
        aside = list(kept.values())
        manifest |= {"networks": [asdict(network) for network in networks], "aside": [asdict(one) for one in aside]}
        rows = [*networks, *aside]
        shape, dtype = _layout(len(rows), len(images), len(classes), top)
        with atomic_path(path.with_name(path.name + ".npy")) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            )
            start, size = file.tell(), int(np.prod(shape[1:])) * dtype.itemsize
            file.truncate(start + len(rows) * size)
            for place, network in enumerate(rows):
                if there is not None and network.checksum is not None:
                    file.seek(start + place * size)
                    file.write(there._array()[there._index(network.name)].tobytes())
            try:  # last, before the array it describes is gone
                path.with_name(path.name + ".json").unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"cannot replace {path}.json: {error.strerror or error}") from error
        write_text(path.with_name(path.name + ".json"), json.dumps(manifest))
        return cls(path)

    @property
    def missing(self) -> list[str]:
        """Names of the networks whose predictions are not complete."""
        return [network.name for network in self.networks if network.checksum is None]

    @property
    def latencies_ms(self) -> NDArray[np.float64]:
        """Latency of every network. Raises DataError, naming the network, when one is missing."""
        for network in self.networks:
            if network.latency_ms is None:
                raise DataError(f"{self.path}: no latency of network {network.name}")
        return np.array([network.latency_ms for network in self.networks], dtype=np.float64)

    def write(self, name: str, batches: Iterable[NDArray[np.floating]]) -> None:
        """Write the probabilities of one network: batches (b, C) that together have a row for every image.

        The network counts as complete only when all of its rows are on the disk.

        Raises:
            ConfigError: a network the table does not have.
            DataError: not probabilities of these classes, or too few or too many rows.
            StorageError: the disk is full or not writable; the networks before stay complete.
        """
        self._write(name, (self._encode(name, batch) for batch in batches))

    def write_listed(self, name: str, classes: Integers, probabilities: NDArray[np.floating]) -> None:
        """Write one network from its `top` best classes (M, k) and their probabilities (M, k), falling.

        Raises: as `write`.
        """
        if self.top is None or classes.shape != probabilities.shape or classes.shape[1:] != (self.top,):
            raise DataError(f"network {name}: {classes.shape} listed classes, the table keeps top={self.top}")
        records = np.empty(len(classes), dtype=_layout(0, 0, len(self.classes), self.top)[1])
        records["classes"], records["probabilities"] = classes, as_float16(probabilities)
        records["rest"] = as_float16(np.clip(1 - probabilities.sum(axis=1, dtype=np.float64), 0, 1))
        self._write(name, [records])

    def _write(self, name: str, batches: Iterable[NDArray[Any]]) -> None:
        index = self._index(name)
        array = self._array()
        size = array.itemsize * int(np.prod(array.shape[1:]))
        digest, rows = hashlib.sha256(), 0
        self._note(index, None)
        try:
            # Written as a file, not through the memory map: on a full disk a map ends the process.
            with self._array_path.open("r+b") as file:
                file.seek(array.offset + index * size)
                for batch in batches:
                    rows += len(batch)
                    if rows > len(self.labels):
                        break
                    file.write(batch.tobytes())
                    digest.update(batch.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._array_path}: {error.strerror or error}") from error
        if rows != len(self.labels):
            amount = "more" if rows > len(self.labels) else f"only {rows}"
            raise DataError(f"{self.path}: {amount} rows of network {name} for {len(self.labels)} images")
        self._note(index, digest.hexdigest()[:16])

    def blocks(self, images: int = 256) -> Iterator[Block]:
        """All images, some at a time, as all networks see them. Raises RunError while networks are missing."""
        if self.missing:
            raise RunError(
                f"{self.path}: {len(self.missing)} of {len(self.networks)} networks have no predictions yet, "
                f"{self.missing[0]} is the first; run the collection again to go on with it"
            )
        for start in range(0, len(self.labels), images):
            # Mapped anew for every block, so that pages that were read do not stay.
            part = self._array()[: len(self.networks), start : start + images]
            yield self._block(part, self.labels[start : start + images])

    def probabilities(self, name: str) -> NDArray[np.floating]:
        """Probabilities of one complete network for all images and classes, (M, C).

        Raises:
            ConfigError: a network the table does not have. RunError: its predictions are not complete.
        """
        index = self._index(name)
        if name in self.missing:
            raise RunError(f"{self.path}: the predictions of network {name} are not complete")
        return self._block(self._array()[index : index + 1], self.labels).dense().probabilities[0]

    def damaged(self) -> list[str]:
        """Read everything once: names of the networks whose predictions are not as they were written."""
        array = self._array()
        return [
            network.name
            for row, network in zip(array, self._rows, strict=True)
            if network.checksum is not None and _checksum(row) != network.checksum
        ]

    @property
    def _manifest_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def _array_path(self) -> Path:
        return self.path.with_name(self.path.name + ".npy")

    def _manifest(self, finished: bool = True) -> dict[str, Any]:
        """What the file holds; not `finished`: what `create` asks for."""
        networks = self.networks if finished else [replace(network, checksum=None) for network in self.networks]
        return {
            "format": _FORMAT,
            "networks": [asdict(network) for network in networks],
            **({"aside": [asdict(network) for network in self.aside]} if finished else {}),
            "labels": self.labels.tolist(),
            "images": self.images,
            "classes": self.classes,
            "top": self.top,
            "origin": self.origin,
        }

    @property
    def _rows(self) -> tuple[TableNetwork, ...]:
        """The networks of the array."""
        return (*self.networks, *self.aside)

    def _kept(self, wanted: list[dict[str, Any]]) -> dict[str, TableNetwork]:
        """Complete networks, by name, whose predictions serve a table of the wanted networks."""
        sizes = {network["name"]: network["resolution"] for network in wanted}
        return {
            network.name: network
            for network in self._rows
            if network.checksum is not None and sizes.get(network.name, network.resolution) == network.resolution
        }

    def _note(self, index: int, checksum: str | None) -> None:
        """Keep in the manifest that a network is complete, or that it is not."""
        every = list(self._rows)
        if checksum != every[index].checksum:
            every[index] = replace(every[index], checksum=checksum)
            count = len(self.networks)
            self.networks, self.aside = tuple(every[:count]), tuple(every[count:])
            write_text(self._manifest_path, json.dumps(self._manifest()))

    def _index(self, name: str) -> int:
        for index, network in enumerate(self._rows):
            if network.name == name:
                return index
        raise ConfigError(f"{self.path}: no network {name} in this table")

    def _array(self) -> np.memmap:
        try:
            array = np.load(self._array_path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{self._array_path} is missing or truncated ({error})") from error
        shape, dtype = _layout(len(self._rows), len(self.labels), len(self.classes), self.top)
        if (array.shape, array.dtype) != (shape, dtype):
            raise FileFormatError(f"{self._array_path}: an array {array.shape}, its manifest says {shape}")
        return array

    def _block(self, part: NDArray[Any], labels: Integers) -> Block:
        if self.top is None:
            return Block(labels, np.array(part))
        probabilities, others = np.array(part["probabilities"]), len(self.classes) - self.top
        # The rest is shared out evenly, and no class of it may pass those that are listed.
        elsewhere = part["rest"].astype(np.float64) / max(others, 1)
        elsewhere = np.minimum(elsewhere, probabilities[:, :, -1])
        return Block(labels, probabilities, part["classes"].astype(np.int64), elsewhere, len(self.classes))

    def _encode(self, name: str, batch: NDArray[np.floating]) -> NDArray[Any]:
        """One batch as the array holds it. Raises DataError when it is not probabilities of the classes."""
        if batch.ndim != 2 or batch.shape[1] != len(self.classes):
            raise DataError(f"network {name}: predictions of shape {batch.shape} for {len(self.classes)} classes")
        # Written so that a NaN is refused too.
        if not ((batch >= 0).all() and (np.abs(batch.sum(axis=1, dtype=np.float64) - 1) < _SUM_TOLERANCE).all()):
            raise DataError(f"network {name}: predictions that are not probabilities (they do not sum to one)")
        values = as_float16(batch)
        if self.top is None:
            return values
        best = np.argsort(~values.view(np.uint16), axis=1, kind="stable")[:, : self.top]
        records = np.empty(len(batch), dtype=_layout(0, 0, len(self.classes), self.top)[1])
        records["classes"] = best
        records["probabilities"] = np.take_along_axis(values, best, axis=1)
        kept = np.take_along_axis(batch, best, axis=1).sum(axis=1, dtype=np.float64)
        records["rest"] = as_float16(np.clip(1 - kept, 0, 1))
        return records


def blocks_together(tables: Sequence[PredictionTable]) -> Iterator[Block]:
    """All images as the networks of several tables of them see them, those of the first table first.

    Raises:
        DataError: tables of different images, or kept in different ways. RunError: networks are missing.
    """
    return map(Block.together, zip(*(table.blocks() for table in tables), strict=True))


def _checksum(row: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest()[:16]


def _layout(networks: int, images: int, classes: int, top: int | None) -> tuple[tuple[int, ...], np.dtype]:
    if top is None:
        return (networks, images, classes), np.dtype("<f2")
    number: Literal["<u2", "<u4"] = "<u2" if classes <= 2**16 else "<u4"
    record = np.dtype([("classes", number, (top,)), ("probabilities", "<f2", (top,)), ("rest", "<f2")])
    return (networks, images), record


def _check_description(
    networks: Sequence[TableNetwork], labels: ArrayLike, images: Sequence[Any], classes: Sequence[str], top: int | None
) -> None:
    names = [network.name for network in networks]
    doubled = {name for name in names if names.count(name) > 1}
    if not names or doubled:
        raise ConfigError(f"network {min(doubled)} is in the table twice" if doubled else "a table needs a network")
    numbers = np.asarray(labels)
    if numbers.shape != (len(images),) or not len(images):
        raise ConfigError(f"{len(images)} images and labels of shape {numbers.shape}: one label per image is needed")
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 0 or numbers.max() >= len(classes):
        raise ConfigError(f"labels must be numbers of the {len(classes)} classes")
    if len(set(images)) < len(images):
        raise ConfigError("an image is in the table twice")
    if top is not None and not 1 <= top <= len(classes):
        raise ConfigError(f"top={top}: between 1 and all {len(classes)} classes can be kept")
