"""Image folders: root/<class>/..., or root/train/<class>/... beside root/val or root/test."""

import os
from pathlib import Path

import numpy as np

from ..errors import DataError
from .images import PathEntries
from .raw import RawPart, RawSource, split_name

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_IMAGE_ENDINGS += (".pbm", ".pnm", ".avif", ".jp2", ".tga")


def read_folder(root: Path, require_train: bool = True) -> RawSource:
    """List an image folder; the class names are the names of the training folders, sorted.

    Without `require_train`, other parts may stand alone and give the class names, but a folder called train may not.

    Raises:
        DataError: no folder, no class folders, a class without images, a test class without training images.
    """
    folders = _subfolders(root)
    parts = {part: folder for folder in folders if (part := split_name(folder.name))}
    if "train" not in parts and (not folders or len(parts) < len(folders)):
        parts = {"train": root}
    if "train" not in parts and require_train:
        raise DataError(f"{root} has {', '.join(f.name for f in folders)} but no train folder; add {root}/train")
    if not require_train and parts.keys() == {"train"} and parts["train"] != root:
        raise DataError(
            f"{root} has no val or test folder; add {root}/val, or set data.root to {parts['train']} itself"
        )
    if "validation" in parts and "test" in parts and not _subfolders(parts["test"]):
        del parts["test"]  # as ImageNet comes: its test images have no labels
    for folder in parts.values():
        if not _subfolders(folder):
            raise DataError(
                f"{folder} has no class folders; put the images of each class into a folder of their own, "
                f"for example {folder}/cat and {folder}/dog"
            )
    naming = next(part for part in ("train", "validation", "test") if part in parts)
    classes = [folder.name for folder in _subfolders(parts[naming])]
    listed = {name: _list_part(folder, classes, root) for name, folder in parts.items()}
    _require_images(parts[naming], classes, listed[naming])
    return RawSource(root.resolve().name, listed, classes)


def _subfolders(folder: Path) -> list[Path]:
    """Visible folders by name; hidden ones belong to editors and notebooks."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _list_part(folder: Path, classes: list[str], root: Path) -> RawPart:
    paths: list[str] = []
    labels: list[int] = []
    for class_folder in _subfolders(folder):
        if class_folder.name not in classes:
            raise DataError(
                f"{class_folder} is a class without training images; remove it or add images of "
                f"{class_folder.name} to the training part"
            )
        found = _images_below(class_folder)
        paths += found
        labels += [classes.index(class_folder.name)] * len(found)
    return RawPart(PathEntries(paths, str(root)), np.array(labels, dtype=np.int64))


def _images_below(folder: Path) -> list[str]:
    """Paths of all image files below `folder`, in an order that does not depend on the file system."""
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(place, name)
            for name in sorted(files)
            if os.path.splitext(name)[1].lower() in _IMAGE_ENDINGS and not name.startswith(".")
        ]
    return found


def _require_images(folder: Path, classes: list[str], part: RawPart) -> None:
    if len(part.labels) == 0:
        raise DataError(f"{folder} holds no images; expected files such as {folder}/{classes[0]}/0001.jpg")
    empty = [folder / classes[i] for i in np.flatnonzero(np.bincount(part.labels, minlength=len(classes)) == 0)]
    if empty:
        raise DataError(f"{empty[0]} holds no images; add images of that class or remove the folder")
