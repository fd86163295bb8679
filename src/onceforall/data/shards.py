"""WebDataset tar shards on disk, indexed once and then read at random: no streaming, so that a step can be repeated."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .decode import FileSlice
from .raw import RawPart, RawSource, split_name

_IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp", "ppm", "bmp", "tif", "tiff")


@dataclass(frozen=True)
class SliceEntries:
    """One slice of a tar file per image."""

    slices: list[FileSlice]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.slices)

    def payload(self, index: int) -> FileSlice:
        """Where the image lies."""
        return self.slices[index]

    def name(self, index: int) -> str:
        """Tar file and key."""
        return f"{self.slices[index].path}:{self.keys[index]}"

    def key(self, index: int) -> bytes:
        """Name of the tar file and key."""
        return f"{Path(self.slices[index].path).name}:{self.keys[index]}".encode()


def read_shards(name: str, root: Path, require_train: bool = True) -> RawSource:
    """Index tar shards whose samples are KEY.jpg (or png, webp, ...) beside KEY.cls (a number or a class name).

    A file name that starts with train, validation or test says which part a shard belongs to; `classes.txt` beside the
    shards names numbered classes, one a line.

    Raises:
        DataError: no shards, a damaged shard, an image without a label or a label that is neither number nor name.
    """
    files = [root] if root.is_file() else sorted(root.glob("*.tar"))
    if not files:
        raise DataError(f"{root} holds no .tar shards; set data.root to the folder that does")
    found: dict[str, list[tuple[str, FileSlice, str]]] = {}
    for file in files:
        found.setdefault(split_name(file.name) or "train", []).extend(_index(file))
    if "train" not in found and require_train:
        raise DataError(f"{root} has no training shards; their names start with train")
    texts = {label for samples in found.values() for _, _, label in samples}
    numbered = all(text.isdecimal() for text in texts)
    classes = _class_names(root, texts) if numbered else sorted(texts)
    number = {str(i) if numbered else text: i for i, text in enumerate(classes)}
    parts = {}
    for part, samples in found.items():
        labels = [number.get(label, int(label) if numbered else -1) for _, _, label in samples]
        entries = SliceEntries([place for _, place, _ in samples], [key for key, _, _ in samples])
        parts[part] = RawPart(entries, np.array(labels, dtype=np.int64))
    return RawSource(name, parts, classes)


def _class_names(root: Path, numbers: set[str]) -> list[str]:
    listed = (root if root.is_dir() else root.parent) / "classes.txt"
    if listed.exists():
        return listed.read_text(encoding="utf-8").splitlines()
    return [str(i) for i in range(max((int(number) for number in numbers), default=-1) + 1)]


def _index(file: Path) -> Iterator[tuple[str, FileSlice, str]]:
    """(key, place of the image, label text) of every sample of a shard, in its order."""
    images: dict[str, FileSlice] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, _, ending = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if ending.lower() in _IMAGE_ENDINGS:
                    images[key] = FileSlice(str(file), member.offset_data, member.size)
                elif ending == "cls" and (content := archive.extractfile(member)):
                    labels[key] = content.read().decode("utf-8").strip()
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); shards are plain, uncompressed tar files") from error
    for key, place in images.items():
        if key not in labels:
            raise DataError(f"{file}: {key} has no label; every image needs a file {key}.cls")
        yield key, place, labels[key]
