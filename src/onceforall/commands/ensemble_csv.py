"""`ofa ensemble holdout_csv=FOLDER`: ensembles of networks that are known by their published predictions only."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files import write_json
from .ensemble_screen import print_ensembles
from .screen import console

if TYPE_CHECKING:
    from ..search.ensemble.tables import PredictionTable
    from .ensemble import EnsembleConfig


def ensemble_of_csv(config: "EnsembleConfig") -> dict[str, Any]:
    """Choose on the files of one folder, count on those of another; writes the result to `out`.

    All files are read and checked first, those of the test images too; these are counted at the end.

    Raises:
        FileFormatError, DataError: files or latencies that do not fit each other.
    """
    from ..data.views import PLAIN
    from .ensemble import select

    assert config.holdout_csv is not None
    assert config.out is not None
    with tempfile.TemporaryDirectory() as scratch:
        holdout, test = _tables(config, Path(scratch))
        networks = holdout.networks
        members = [{"name": one.name, "latency_ms": one.latency_ms, "view": PLAIN} for one in networks]
        found = {"name": config.name, "search": None, "device": None, "weights_digest": None}
        found["classes"] = len(holdout.classes)
        with console().status("choosing") as status:
            test_blocks = None if test is None else test.blocks
            found |= select(config, holdout.blocks, members, lambda: test_blocks, status.update)
    write_json(config.out, found)
    print_ensembles(found, config.holdout_csv)
    console().print(f"written: {config.out}")
    return found


def _tables(config: "EnsembleConfig", scratch: Path) -> "tuple[PredictionTable, PredictionTable | None]":
    """The tables of the hold-out and of the test files, with all classes that either of them names."""
    from ..search.ensemble.published_csv import read_files
    from .prediction_tables import read_latencies

    assert config.holdout_csv is not None
    assert config.latencies is not None
    latencies = read_latencies(Path(config.latencies))
    holdout = read_files(config.holdout_csv, images=config.holdout_images)
    if config.test_csv is None:
        return holdout.table(scratch / "holdout", latencies_ms=latencies), None
    test = read_files(config.test_csv, images=config.test_images)
    if len(test.names) != len(holdout.names):
        counts = f"{len(test.names)} networks, {config.holdout_csv} has {len(holdout.names)}"
        raise DataError(f"{config.test_csv}: {counts}")
    if test.has_images_of(holdout):
        raise DataError(
            f"{config.test_csv}: the images of {config.holdout_csv}, which ensembles are chosen on; "
            "accuracy on them is no test"
        )
    classes = max(holdout.class_count, test.class_count)
    return (
        holdout.table(scratch / "holdout", class_count=classes, latencies_ms=latencies),
        test.table(scratch / "test", class_count=classes),
    )
