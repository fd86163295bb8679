"""The process in which a runtime runs alone: reads one JSON request, times networks, answers JSON lines.

Run as a script, so that nothing but numpy and the runtime is imported: the thread pools of two runtimes (torch has one
too) disturb each other, and a process that crashes takes nothing with it.

Request, one object on standard input:
    {"networks": [{"file", "rounds", "input_shape": [...] | null}, ...],
     "threads", "batch", "warmup", "repeats", "seconds_per_round", "seed"}
Answers, one object a line: {"ready": n} when all networks are loaded; {"samples_ms": {index: [...]}} after each round;
{"error": text, "file"} instead, when a network cannot be loaded or run.
"""

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

MOST_REPEATS = 50


def prepare(network: dict[str, Any], batch: int) -> Callable[[], Any]:
    """A call without arguments that runs the network once, on fixed random input."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False  # all networks share one pool: idle pools spin and take the cores
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(network["file"], options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    shape = network["input_shape"] or [given.shape[0], *given.shape[1:]]
    if not isinstance(shape[0], int):
        shape[0] = batch
    if shape[0] != batch or not all(isinstance(size, int) for size in shape):
        raise ValueError(f"its input shape is {given.shape}, which leaves batch {batch} open; state input_shape")
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return lambda: session.run(None, {given.name: images})


def timed(run: Callable[[], Any], repeats: int) -> list[float]:
    """Milliseconds of `repeats` runs in a row, after one that does not count (caches hold the network before)."""
    run()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        run()
        samples.append((time.perf_counter_ns() - start) / 1e6)
    return samples


def serve(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Load all networks, then time them in interleaved rounds; yields the answers."""
    import onnxruntime

    onnxruntime.set_global_thread_pool_sizes(request["threads"], 1)
    networks = request["networks"]
    runs: list[Callable[[], Any]] = []
    repeats: list[int] = []
    for network in networks:
        try:
            run = prepare(network, request["batch"])
            fastest = min(timed(run, max(1, request["warmup"])))
        except Exception as error:
            yield {"error": str(error), "file": network["file"]}
            return
        runs.append(run)
        wanted = int(request["seconds_per_round"] * 1e3 / fastest)
        repeats.append(max(request["repeats"], min(wanted, MOST_REPEATS)))
    yield {"ready": len(runs)}
    order = random.Random(request["seed"])
    gc.disable()
    for number in range(max((network["rounds"] for network in networks), default=0)):
        active = [index for index, network in enumerate(networks) if network["rounds"] > number]
        order.shuffle(active)
        yield {"samples_ms": {index: timed(runs[index], repeats[index]) for index in active}}


def main() -> None:
    """Answer the request on standard input."""
    for answer in serve(json.loads(sys.stdin.read())):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
