"""What every benchmark shares: where it ran, and its last line."""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any


def circumstances() -> dict[str, Any]:
    """Commit, machine and library versions of a measurement."""
    import torch

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "commit": commit.stdout.strip() or "unknown",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def finish(figures: dict[str, Any]) -> None:
    """Print the figures and the circumstances as one JSON object on the last line."""
    print(json.dumps({**figures, "circumstances": circumstances()}), flush=True)
