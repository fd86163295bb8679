"""The process in which a runtime runs alone: reads one JSON request, times networks, answers JSON lines.

Run as a script, so that nothing but numpy and the runtime is imported: the thread pools of two runtimes (torch has one
too) disturb each other, and a process that crashes takes nothing with it.

Request, one object on standard input:
    {"networks": [{"file", "rounds", "input_shape": [...] | null}, ...],
     "threads", "batch", "warmup", "repeats", "seconds_per_round", "seed", "together": true | false or left out}
With "together" all networks count as one, number 0: they start at the same time, each in a thread and a session of its
own with so many "threads", and a sample lasts until the last of them has finished.
Answers, one object a line: {"ready": n} when all networks are loaded; {"samples_ms": {index: [...]}} after each round;
{"error": text, "file"} instead, when a network cannot be loaded or run.
"""

import gc
import json
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

MOST_REPEATS = 50


def prepare(network: dict[str, Any], batch: int, own_threads: int | None = None) -> Callable[[], Any]:
    """A call that runs the network once on fixed random input; `own_threads`: how many, in place of the shared ones."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if own_threads is None:
        options.use_per_session_threads = False  # all networks share one pool: idle pools spin and take the cores
    else:
        options.intra_op_num_threads = own_threads
    session = onnxruntime.InferenceSession(network["file"], options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    stated = network["input_shape"]
    if stated and len(inputs) > 1:
        raise ValueError(f"input_shape states one input, but it has {len(inputs)}")
    images = {
        given.name: np.random.default_rng(0).standard_normal(_shape(given.shape, stated, batch), dtype=np.float32)
        for given in inputs
    }
    return lambda: session.run(None, images)


def _shape(given: list[Any], stated: list[int] | None, batch: int) -> list[int]:
    """The shape of an input in numbers. Raises ValueError where the file leaves more open than the batch."""
    shape = list(stated or given)
    if not isinstance(shape[0], int):
        shape[0] = batch
    if shape[0] != batch or not all(isinstance(size, int) for size in shape):
        raise ValueError(f"its input shape is {given}, which leaves batch {batch} open; state input_shape")
    return shape


def side_by_side(runs: list[Callable[[], Any]]) -> Callable[[], None]:
    """A call that starts all runs at once, each in a thread of its own, and returns when the last has finished."""
    finished: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def work(run: Callable[[], Any], orders: queue.SimpleQueue[None]) -> None:
        while True:
            orders.get()
            try:
                run()
                finished.put(None)
            except Exception as error:
                finished.put(error)

    # The threads wait all the time and queues wake them: starting threads anew would take longer than small networks.
    waiting: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in runs]
    for run, orders in zip(runs, waiting, strict=True):
        threading.Thread(target=work, args=(run, orders), daemon=True).start()

    def together() -> None:
        for orders in waiting:
            orders.put(None)
        errors = [finished.get() for _ in waiting]
        for error in errors:
            if error is not None:
                raise error

    return together


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

    together = request.get("together", False)
    if not together:  # the runtime refuses threads of a session's own once there is a shared pool
        onnxruntime.set_global_thread_pool_sizes(request["threads"], 1)
    networks = request["networks"]
    runs: list[Callable[[], Any]] = []
    for network in networks:
        try:
            run = prepare(network, request["batch"], request["threads"] if together else None)
            run()
        except Exception as error:
            yield {"error": str(error), "file": network["file"]}
            return
        runs.append(run)
    if together:
        networks, runs = networks[:1], [side_by_side(runs)]
    repeats: list[int] = []
    for run in runs:
        fastest = min(timed(run, max(1, request["warmup"])))
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
