"""`ofa ensemble holdout_csv=FOLDER`: ensembles of networks that are known by their published predictions only."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files import write_json
from .ensemble_screen import print_ensembles
from .screen import console

if TYPE_CHECKING:
    from .ensemble import Blocks, EnsembleConfig


def ensemble_of_csv(config: "EnsembleConfig") -> dict[str, Any]:
    """Choose on the files of one folder, count on those of another; writes the result to `out`.

    Raises:
        FileFormatError, DataError: files or latencies that do not fit each other.
    """
    from ..search.ensemble.published_csv import read_published
    from .ensemble import select
    from .prediction_tables import read_latencies

    with tempfile.TemporaryDirectory() as scratch:
        assert config.holdout_csv is not None
        assert config.latencies is not None
        assert config.out is not None
        latencies = read_latencies(Path(config.latencies))
        holdout = read_published(config.holdout_csv, Path(scratch) / "holdout", latencies_ms=latencies)

        def test() -> "Blocks | None":
            if config.test_csv is None:
                return None
            table = read_published(config.test_csv, Path(scratch) / "test", class_count=len(holdout.classes))
            if len(table.networks) != len(holdout.networks):
                counts = f"{len(table.networks)} networks, {config.holdout_csv} has {len(holdout.networks)}"
                raise DataError(f"{config.test_csv}: {counts}")
            return table.blocks

        members = [{"name": network.name, "latency_ms": network.latency_ms} for network in holdout.networks]
        found = {"name": config.name, "search": None, "device": None, "weights_digest": None}
        found["classes"] = len(holdout.classes)
        with console().status("choosing") as status:
            found |= select(config, holdout.blocks, members, test, status.update)
    write_json(config.out, found)
    print_ensembles(found, config.holdout_csv)
    console().print(f"written: {config.out}")
    return found
