"""What every benchmark shares: where it ran, and its last line."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any


def circumstances() -> dict[str, Any]:
    """Commit, machine and library versions of a measurement."""
    import torch

    from onceforall.cost import describe_machine

    machine = describe_machine()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "commit": commit.stdout.strip() or "unknown",
        "processor": machine["processor"],
        "cores": machine["cores"],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": machine["python"],
        "load_average": round(os.getloadavg()[0], 2),
    }


def finish(figures: dict[str, Any]) -> None:
    """Print the figures and the circumstances as one JSON object on the last line."""
    print(json.dumps({**figures, "circumstances": circumstances()}), flush=True)
