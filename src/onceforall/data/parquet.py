"""Tables with an image and a label column: parquet files, and the tables of the `datasets` package."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .decode import Payload
from .raw import RawPart, RawSource, split_name

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "target")


def parquet_files(root: Path) -> list[Path]:
    """The parquet files of a folder (or of its `data` folder, as on the Hugging Face hub), or the one file `root`."""
    if root.is_file():
        return [root] if root.suffix == ".parquet" else []
    return sorted(root.glob("*.parquet")) or sorted((root / "data").glob("*.parquet"))


def read_parquet(
    root: Path, image_column: str | None = None, label_column: str | None = None, require_train: bool = True
) -> RawSource:
    """Read parquet files; a name that starts with train, validation or test says which part a file belongs to.

    The encoded images stay in memory as they are; class names come from the file's ClassLabel metadata.

    Raises:
        DataError: no files, damaged files, files larger than memory, missing columns, labels that are no classes.
    """
    import pyarrow
    import pyarrow.parquet

    files = parquet_files(root)
    if not files:
        raise DataError(f"{root} holds no .parquet files; set data.root to the folder that does")
    named = {file: split_name(file.name) for file in files}
    unnamed = [file for file, part in named.items() if part is None]
    if unnamed and len(unnamed) < len(files):
        raise DataError(f"{unnamed[0]} belongs to no part; rename it to train-..., validation-... or test-...")
    total, memory = sum(file.stat().st_size for file in files), _physical_memory()
    if total > memory // 2:
        raise DataError(
            f"the parquet files below {root} need {total / 2**30:.1f} GiB, more than half of this machine's memory; "
            "write them out as an image folder (root/train/<class>/...) and set data.root to that"
        )
    tables: dict[str, list[Any]] = {}
    for file in files:
        try:
            table = pyarrow.parquet.ParquetFile(file)
            columns = _columns(table.schema_arrow.names, image_column, label_column, str(file))
            tables.setdefault(named[file] or "train", []).append(table.read(columns=list(columns)))
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{file} cannot be read ({error}); copy it again or remove it") from error
    try:
        joined = {part: pyarrow.concat_tables(pieces) for part, pieces in tables.items()}
    except pyarrow.ArrowException as error:
        raise DataError(f"the parquet files below {root} do not have the same columns: {error}") from error
    folder = root if root.is_dir() else root.parent
    return source_from_tables(
        root.resolve().stem, joined, image_column, label_column, folder, require_train=require_train
    )


def _physical_memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def source_from_tables(
    name: str,
    tables: dict[str, Any],
    image_column: str | None,
    label_column: str | None,
    folder: Path,
    class_names: list[str] | None = None,
    require_train: bool = True,
) -> RawSource:
    """Make a source from one Arrow table per part.

    Args:
        name: of the source.
        tables: pyarrow tables by part name.
        image_column: struct{bytes, path} or binary; None = the first usual name.
        label_column: whole numbers or texts; None = the first usual name.
        folder: what relative image paths start from.
        class_names: when known; otherwise from the metadata, the label texts, or "0".."n-1".
        require_train: whether a training part must be there.
    """
    if "train" not in tables and require_train:
        raise DataError(f"{name} has no training part, only {', '.join(sorted(tables))}; add a train file")
    columns = {part: _columns(t.column_names, image_column, label_column, name) for part, t in tables.items()}
    labels = {part: table.column(columns[part][1]) for part, table in tables.items()}
    for part, column in labels.items():
        if column.null_count:
            raise DataError(f"{name} {part}: {column.null_count} images have no label; remove those rows")
    if class_names is None:
        naming = "train" if "train" in tables else min(tables)
        class_names = _class_names(tables[naming].schema.metadata, columns[naming][1], labels)
    parts = {
        part: RawPart(
            TableEntries(table.column(columns[part][0]), folder, f"{name} {part}"),
            _label_numbers(labels[part], class_names, f"{name} {part}"),
        )
        for part, table in tables.items()
    }
    return RawSource(name, parts, class_names)


def _columns(names: list[str], image: str | None, label: str | None, where: str) -> tuple[str, str]:
    """The image and the label column."""
    chosen = []
    for kind, wanted, usual in (("image", image, _IMAGE_COLUMNS), ("label", label, _LABEL_COLUMNS)):
        column = next((name for name in ((wanted,) if wanted else usual) if name in names), None)
        if column is None:
            raise ConfigError(
                f"{where} has no column {wanted or ' or '.join(usual)}, only {', '.join(names)}; "
                f"set data.{kind}_column to one of them"
            )
        chosen.append(column)
    return chosen[0], chosen[1]


def _class_names(metadata: dict[bytes, bytes] | None, label_column: str, labels: dict[str, Any]) -> list[str]:
    import pyarrow

    features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names = (features.get(label_column) or {}).get("names")
    if names:
        return list(names)
    if pyarrow.types.is_integer(next(iter(labels.values())).type):
        return [str(i) for i in range(max(max(column.to_pylist(), default=-1) for column in labels.values()) + 1)]
    return sorted({str(label) for column in labels.values() for label in column.unique().to_pylist()})


def _label_numbers(column: Any, class_names: list[str], where: str) -> np.ndarray:
    import pyarrow

    if pyarrow.types.is_integer(column.type):
        return column.to_numpy().astype(np.int64)
    if not (pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)):
        raise DataError(f"{where}: labels are of type {column.type}; use whole numbers or class names")
    number = {name: i for i, name in enumerate(class_names)}
    return np.array([number[label] for label in column.to_pylist()], dtype=np.int64)


class TableEntries:
    """Images in a column of bytes, or of struct{bytes, path} where path stands in for missing bytes."""

    def __init__(self, column: Any, folder: Path, where: str):
        import pyarrow
        import pyarrow.compute

        struct = pyarrow.types.is_struct(column.type)
        self._bytes = pyarrow.compute.struct_field(column, "bytes") if struct else column  # pyright: ignore
        with_path = struct and any(field.name == "path" for field in column.type)
        self._paths = pyarrow.compute.struct_field(column, "path").to_pylist() if with_path else None  # pyright: ignore
        self._folder, self._where = folder, where

    def __len__(self) -> int:
        return len(self._bytes)

    def payload(self, index: int) -> Payload:
        """The bytes, or the path where the row has only that; empty bytes where it has neither."""
        content = self._bytes[index]
        if content.is_valid:
            return content.as_buffer().to_pybytes()
        path = self._paths[index] if self._paths else None
        return str(self._folder / path) if path else b""

    def name(self, index: int) -> str:
        """The path the table gives, or the row."""
        return (self._paths[index] if self._paths else None) or f"{self._where} row {index}"

    def key(self, index: int) -> bytes:
        """The bytes, because rows have no name that must differ; the path where the row has only that."""
        content = self._bytes[index]
        return content.as_buffer().to_pybytes() if content.is_valid else self.name(index).encode()
