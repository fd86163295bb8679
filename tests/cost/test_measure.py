"""Measuring ONNX files in a process of its own, and what happens when that process fails."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import onnx
import pytest

from onceforall.cost import (
    Latency,
    Timing,
    describe_machine,
    measure,
    measure_latencies,
    measure_latency,
    measure_together,
    structure,
)
from onceforall.cost.onnx_graph import write_onnx
from onceforall.cost.worker import side_by_side, timed
from onceforall.errors import ConfigError, MeasurementError
from onceforall.space import create_space

QUICK = Timing(rounds=3, repeats=3, seconds_per_round=0.0)
LAYOUT = create_space("resnet_small").layout


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same block on 4x4 and on 32x32 pixels."""
    folder = tmp_path_factory.mktemp("blocks")
    for side in (4, 32):
        write_onnx(folder / f"{side}.onnx", [structure.block(LAYOUT, 1, 1, 3, 1)], side)
    return [folder / "4.onnx", folder / "32.onnx"]


@pytest.fixture(scope="module")
def open_batch(files: list[Path]) -> Path:
    """The small block with a batch size that the file leaves open."""
    model = onnx.load(str(files[0]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    path = files[0].with_name("open.onnx")
    onnx.save_model(model, str(path))
    return path


def test_the_estimate_is_the_quietest_round() -> None:
    latency = Latency.from_rounds([[5.0, 1.0, 9.0], [2.0, 3.0, 4.0], [6.0, 6.0]])
    assert (latency.estimate_ms, latency.median_ms, latency.minimum_ms, latency.runs) == (2.5, 4.5, 1.0, 8)
    assert latency.p10_ms == pytest.approx(1.7)
    assert latency.p90_ms == pytest.approx(6.9)


def test_files_measured_side_by_side(files: list[Path]) -> None:
    small, large = measure_latencies(files, QUICK)
    assert small.runs == large.runs == 9
    assert 0 < small.minimum_ms <= small.estimate_ms <= large.estimate_ms / 4  # 64 times the MACs
    assert large.p10_ms <= large.median_ms <= large.p90_ms


def test_one_file_with_more_images_and_threads(open_batch: Path) -> None:
    one, many = (
        measure_latency(open_batch, threads=2, batch=batch, rounds=3, repeats=3, seconds_per_round=0.002)
        for batch in (1, 64)
    )
    assert many.estimate_ms > 4 * one.estimate_ms


def test_a_turn_lasts_as_long_as_asked(files: list[Path]) -> None:
    long = measure_latencies(files[:1], Timing(rounds=1, repeats=2, seconds_per_round=1.0))[0]
    assert long.runs == 50


def test_timed_runs_leave_the_first_out() -> None:
    calls: list[int] = []
    assert len(timed(lambda: calls.append(1), 4)) == 4
    assert len(calls) == 5


def two_inputs(path: Path) -> Path:
    """A file that adds the means of images of two sizes."""
    shapes = {"images_4": ["batch", 1, 4, 4], "images_8": ["batch", 1, 8, 8]}
    given = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    made = onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, ["batch", 1, 1, 1])
    nodes = [onnx.helper.make_node("GlobalAveragePool", [name], [f"mean_{name}"]) for name in shapes]
    nodes.append(onnx.helper.make_node("Add", [f"mean_{name}" for name in shapes], ["sum"]))
    graph = onnx.helper.make_graph(nodes, "two", given, [made])
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save_model(onnx.helper.make_model(graph, ir_version=10, opset_imports=[opset]), str(path))
    return path


def test_a_file_with_several_inputs(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "two.onnx")
    assert measure_latencies([path], QUICK)[0].runs == 9
    assert measure_together([path], QUICK).minimum_ms > 0
    with pytest.raises(MeasurementError, match="input_shape states one input, but it has 2"):
        measure_latency(path, input_shape=[1, 1, 4, 4])


def test_files_that_start_together_take_as_long_as_the_slowest(files: list[Path]) -> None:
    alone = measure_latencies(files, QUICK)
    together = measure_together(files, QUICK)
    assert together.runs == 9
    assert together.estimate_ms > 0.8 * alone[1].minimum_ms
    assert measure_together([files[0], files[0]], Timing(threads=2, rounds=2, repeats=2)).runs >= 4


def test_runs_side_by_side_overlap_and_the_last_one_ends_the_sample() -> None:
    meeting = threading.Barrier(3, timeout=10)  # passes only when all three are inside at the same time

    def slow() -> None:
        meeting.wait()
        time.sleep(0.05)

    assert min(timed(side_by_side([meeting.wait, slow, meeting.wait]), 3)) >= 50


def test_a_failure_of_one_run_side_by_side_is_raised() -> None:
    def broken() -> None:
        raise ValueError("out of luck")

    run = side_by_side([lambda: None, broken])
    for _ in range(2):
        with pytest.raises(ValueError, match="out of luck"):
            run()


def test_files_that_cannot_start_together_are_named(tmp_path: Path, files: list[Path]) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_text("not a network")
    with pytest.raises(MeasurementError, match=r"ONNX Runtime cannot run .*bad\.onnx"):
        measure_together([files[0], bad], QUICK)
    with pytest.raises(MeasurementError, match=r"gone\.onnx does not exist"):
        measure_together([tmp_path / "gone.onnx"], QUICK)
    with pytest.raises(ConfigError, match="nothing to measure"):
        measure_together([], QUICK)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"gone\.onnx does not exist; export the network first"):
        measure_latency(tmp_path / "gone.onnx")


def test_a_file_of_another_kind_is_named(tmp_path: Path, files: list[Path]) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_text("not a network")
    with pytest.raises(MeasurementError, match=r"ONNX Runtime cannot run .*bad\.onnx"):
        measure_latencies([files[0], bad], QUICK)


def test_a_batch_the_file_does_not_take_is_refused(files: list[Path]) -> None:
    with pytest.raises(MeasurementError, match=r"leaves batch 3 open; state input_shape"):
        measure_latency(files[0], batch=3)


def test_a_silent_process_is_stopped(files: list[Path]) -> None:
    with pytest.raises(MeasurementError, match=r"no answer for 0\.001 s and was stopped"):
        measure_latency(files[0], patience_s=0.001)


def test_a_crash_is_reported_with_its_last_words(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\ncat > /dev/null\necho the runtime ran out of luck >&2\nexit 3\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(measure.sys, "executable", str(crashing))
    with pytest.raises(MeasurementError, match="stopped with code 3: the runtime ran out of luck"):
        measure_latency(files[0])


def test_the_process_is_gone_when_the_caller_stops_early(files: list[Path]) -> None:
    rounds = measure.timed_rounds(files, Timing(rounds=10**6))
    next(rounds)
    rounds.close()
    assert "worker.py" not in _children()


def _children() -> str:
    return subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(measure.os.getpid())], capture_output=True, text=True
    ).stdout


def test_the_process_imports_neither_torch_nor_this_package(files: list[Path]) -> None:
    request = {"networks": [{"file": str(files[0]), "rounds": 1, "input_shape": None}], "threads": 1, "batch": 1}
    request |= {"warmup": 1, "repeats": 1, "seconds_per_round": 0, "seed": 0}
    listing = (
        "import io, runpy, sys; script, request = sys.argv[1:]; sys.stdin = io.StringIO(request); "
        "runpy.run_path(script, run_name='__main__'); print([m for m in ('torch', 'onceforall') if m in sys.modules])"
    )
    script = Path(measure.__file__).with_name("worker.py")
    command = [sys.executable, "-P", "-c", listing, str(script), json.dumps(request)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert json.loads(lines[0]) == {"ready": 1}
    assert len(json.loads(lines[1])["samples_ms"]["0"]) == 1
    assert lines[2:] == ["[]"]


@pytest.mark.parametrize("field", ["threads", "batch", "rounds", "repeats"])
def test_nothing_is_measured_zero_times(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"{field} is 0; a latency measurement needs at least 1"):
        Timing(**{field: 0})


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine["usable_cores"] <= machine["cores"]
    assert machine["processor"]
    assert machine["onnxruntime"][0].isdigit()
    json.dumps(machine)
