"""What a user can say about the data."""

from dataclasses import dataclass, field
from typing import Any


def option(default: Any, help: str) -> Any:
    """A dataclass field whose explanation travels with it, for `--help` and the documentation."""
    return field(default=default, metadata={"help": help})


@dataclass
class DataConfig:
    """Where the labelled images come from and how they are divided.

    The three parts never overlap: `test` as given (or taken first), `holdout` taken from the training images, `train`
    the rest. Fields hold only types that structured configurations know.
    """

    source: str = option(
        "auto",
        "auto | digits | folder | parquet | torch/NAME | hfds/NAME | wds/NAME; auto = what lies at root",
    )
    root: str | None = option(None, "folder of the images (or of the parquet or tar files)")
    holdout: float = option(0.1, "part of the training images kept for choosing networks: fraction < 1, or a count")
    test_fraction: float = option(0.2, "taken as test part, before the hold-out, when the source brings none")
    resolution: int | None = option(None, "side in pixels at which photos become resident (only with resident=true)")
    in_chans: int | None = option(None, "1 or 3 channels; by default 3, or what an array source has")
    seed: int = option(0, "decides the hold-out and the limits; a test split does not depend on it")
    max_train: int | None = option(None, "at most so many training images (class-balanced), for quick runs")
    max_test: int | None = option(None, "at most so many test images (class-balanced), for quick runs")
    workers: int = option(-1, "processes that decode photos; 0 = none, -1 = one per core, at most 8")
    resident: str = option("auto", "auto | true | false: all images decoded in one tensor; auto = equal and <= 64 px")
    image_column: str | None = option(None, "image column of parquet or hfds; by default image or img")
    label_column: str | None = option(None, "label column of parquet or hfds; by default label")
    download: bool = option(False, "let torchvision fetch a torch/NAME set into root")
