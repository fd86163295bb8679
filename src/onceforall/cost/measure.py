"""Latency of ONNX files on this machine, each runtime in a process of its own."""

import contextlib
import importlib.metadata
import json
import os
import platform
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, MeasurementError

ESTIMATOR = "smallest over rounds of the lower quartile within a round"


@dataclass(frozen=True)
class Timing:
    """How latency is measured.

    All networks of one call live in one process and take turns: in every round each runs once uncounted and then
    `repeats` times or for `seconds_per_round`, whichever is longer (50 runs at most), in an order drawn anew.

    Attributes:
        threads: of the runtime.
        batch: images at a time.
        warmup: runs after loading that do not count.
        rounds: how often every network has its turn.
        repeats: least number of timed runs in a turn.
        seconds_per_round: least length of a turn.
        patience_s: seconds without an answer (loading, or one round) after which the process counts as hung.
    """

    threads: int = 1
    batch: int = 1
    warmup: int = 3
    rounds: int = 10
    repeats: int = 5
    seconds_per_round: float = 0.005
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("threads", "batch", "rounds", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; a latency measurement needs at least 1")
        if self.warmup < 0:
            raise ConfigError(f"warmup is {self.warmup}; use 0 or more")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one network.

    `estimate_ms` is what everything else uses: the smallest over rounds of the lower quartile within a round. The
    quartile drops interruptions, the smallest round drops spells in which other programs had the machine; on a quiet
    machine it is close to the plain median. (With two cores shared by five busy programs, measuring networks of 4 ms
    twice differed by 5 %; with the median in place of the quartile, by 18 %.) The others describe all timed runs.
    """

    estimate_ms: float
    median_ms: float
    p10_ms: float
    p90_ms: float
    minimum_ms: float
    runs: int

    @classmethod
    def from_rounds(cls, rounds: Sequence[Sequence[float]]) -> "Latency":
        """From the milliseconds of every run, per round."""
        p10, median, p90 = np.percentile(np.concatenate([np.asarray(samples) for samples in rounds]), [10, 50, 90])
        return cls(
            estimate_ms=float(min(np.percentile(samples, 25) for samples in rounds)),
            median_ms=float(median),
            p10_ms=float(p10),
            p90_ms=float(p90),
            minimum_ms=float(min(min(samples) for samples in rounds)),
            runs=sum(len(samples) for samples in rounds),
        )


def measure_latency(
    path: str | Path,
    *,
    threads: int = 1,
    batch: int = 1,
    warmup: int = 3,
    rounds: int = 10,
    repeats: int = 5,
    seconds_per_round: float = 0.05,
    input_shape: Sequence[int] | None = None,
    patience_s: float = 300.0,
) -> Latency:
    """Latency of one exported ONNX file under ONNX Runtime; see `Timing` for the parameters.

    Args:
        input_shape: only for a file that leaves more open than the batch.

    Raises:
        MeasurementError: the file cannot be loaded or run, or the process crashed or hung.
    """
    timing = Timing(threads, batch, warmup, rounds, repeats, seconds_per_round, patience_s)
    return measure_latencies([path], timing, input_shapes=[input_shape])[0]


def measure_latencies(
    paths: Sequence[str | Path], timing: Timing, *, input_shapes: Sequence[Sequence[int] | None] | None = None
) -> list[Latency]:
    """Latencies of several ONNX files, measured side by side in one process. Raises MeasurementError."""
    rounds: list[list[list[float]]] = [[] for _ in paths]
    for samples in timed_rounds(paths, timing, input_shapes=input_shapes):
        for index, milliseconds in samples.items():
            rounds[index].append(milliseconds)
    return [Latency.from_rounds(samples) for samples in rounds]


def measure_together(paths: Sequence[str | Path], timing: Timing) -> Latency:
    """Latency of ONNX files that start at the same time, until the last has finished.

    Each runs in a thread of its own with a runtime session of `timing.threads` threads; with fewer free cores than
    files times threads they wait for each other, and the latency says so.

    Raises:
        ConfigError: no files. MeasurementError: as `measure_latency`.
    """
    if not paths:
        raise ConfigError("nothing to measure: no files were given")
    return Latency.from_rounds([samples[0] for samples in timed_rounds(paths, timing, together=True)])


def timed_rounds(
    paths: Sequence[str | Path],
    timing: Timing,
    *,
    rounds: Sequence[int] | None = None,
    input_shapes: Sequence[Sequence[int] | None] | None = None,
    seed: int = 0,
    together: bool = False,
) -> Generator[dict[int, list[float]]]:
    """Measure round after round and yield, for each, milliseconds of the timed runs by index of the file.

    Args:
        rounds: per file; default `timing.rounds` for all.
        seed: of the order inside the rounds.
        together: all files count as one, index 0, whose time is that from their common start to the end of the last.

    Raises:
        MeasurementError: a file that cannot be loaded or run; a process that crashed, or was silent for too long.
    """
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise MeasurementError(f"{missing[0]} does not exist; export the network first")
    networks = [
        {
            "file": str(path),
            "rounds": rounds[index] if rounds else timing.rounds,
            "input_shape": list(shape) if input_shapes and (shape := input_shapes[index]) else None,
        }
        for index, path in enumerate(paths)
    ]
    request = {"networks": networks, "seed": seed, "together": together, **asdict(timing)}
    for answer in _ask_worker(request, timing.patience_s):
        if "error" in answer:
            raise MeasurementError(f"ONNX Runtime cannot run {answer['file']}: {answer['error']}")
        if "samples_ms" in answer:
            yield {int(index): samples for index, samples in answer["samples_ms"].items()}


def _ask_worker(request: dict[str, Any], patience_s: float) -> Iterator[dict[str, Any]]:
    """Answers of a worker process to one request, as they come; the process is gone afterwards, whatever happens."""
    script = Path(__file__).with_name("worker.py")
    with tempfile.TemporaryFile() as complaints:
        # -P: the folder of the script holds modules of this package that must not shadow others
        process = subprocess.Popen(
            [sys.executable, "-P", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        )
        lines, reader = _read_lines(process, json.dumps(request).encode())
        try:
            while True:
                try:
                    line = lines.get(timeout=patience_s)
                except queue.Empty:
                    raise MeasurementError(
                        f"the latency process gave no answer for {patience_s:g} s and was stopped; "
                        "raise patience_s if the networks are that slow"
                    ) from None
                if line is None:
                    break
                yield json.loads(line)
            if process.wait() != 0:
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise MeasurementError(f"the latency process stopped with code {process.returncode}: {said[-1]}")
        finally:
            process.kill()
            process.wait()
            reader.join()


def _read_lines(
    process: subprocess.Popen[bytes], request: bytes
) -> tuple["queue.Queue[bytes | None]", threading.Thread]:
    """Send the request; a thread collects the answering lines in a queue that ends with None."""
    lines: queue.Queue[bytes | None] = queue.Queue()
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, process.stdout

    def pump() -> None:
        with contextlib.suppress(OSError), stdin:  # a process that died early is reported by its exit code
            stdin.write(request)
        with stdout:
            for line in stdout:
                lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=pump, daemon=True)
    reader.start()
    return lines, reader


def describe_machine() -> dict[str, Any]:
    """What a latency depends on: processor, cores (all, and those this process may use), system, versions."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": importlib.metadata.version("onnxruntime"),
    }


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
