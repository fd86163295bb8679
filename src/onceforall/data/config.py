"""What a user can say about the data."""

from dataclasses import dataclass

from ..settings import setting


@dataclass
class DataConfig:
    """Where the labelled images come from and how they are divided.

    The three parts never overlap: `test` as given (or taken first), `holdout` the source's own validation part or taken
    from the training images, `train` the rest. Fields hold only types that structured configurations know.
    """

    source: str = setting(
        "auto",
        "auto | digits | folder | parquet | torch/NAME | hfds/NAME | wds/NAME; auto = what lies at root",
    )
    root: str | None = setting(None, "folder of the images (or of the parquet or tar files)")
    holdout: float | None = setting(
        None,
        "part of the training images kept for choosing networks: fraction < 1, or a count; null: the source's own "
        "validation part where it has one beside a test part, else 0.1",
    )
    holdout_rule: str = setting(
        "balanced",
        "balanced = every class in proportion, by data.seed | official = the Once-for-All code's random choice",
    )
    test_fraction: float = setting(0.2, "taken as test part, before the hold-out, when the source brings none")
    resolution: int | None = setting(None, "side in pixels at which photos become resident (only with resident=true)")
    test_transform: str = setting(
        "centre",
        "photos of side R when testing: centre = the middle R/ceil(R/0.875) of the short side, resized in one step | "
        "official = short side to ceil(R/0.875) pixels, the middle R cut out | mmrazor = short side to 256, the middle "
        "224 stretched to R",
    )
    mean: list[float] | None = setting(None, "mean per channel, 0 to 1; null: of the training images")
    std: list[float] | None = setting(None, "standard deviation per channel, 0 to 1; null: of the training images")
    in_chans: int | None = setting(None, "1 or 3 channels; by default 3, or what an array source has")
    seed: int = setting(0, "decides the hold-out and the limits; a test split does not depend on it")
    max_train: int | None = setting(None, "at most so many training images (class-balanced), for quick runs")
    max_test: int | None = setting(None, "at most so many test images (class-balanced), for quick runs")
    workers: int = setting(-1, "processes that decode photos; 0 = none, -1 = one per core, at most 8")
    resident: str = setting("auto", "auto | true | false: all images decoded in one tensor; auto = equal and <= 64 px")
    image_column: str | None = setting(None, "image column of parquet or hfds; by default image or img")
    label_column: str | None = setting(None, "label column of parquet or hfds; by default label")
    download: bool = setting(False, "let torchvision fetch a torch/NAME set into root")
