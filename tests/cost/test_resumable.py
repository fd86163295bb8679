"""Measurements are kept round by round and never mixed with those of another kind."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from onceforall.cost import Timing, resumable
from onceforall.cost.resumable import RoundStore, Task, measure_tasks
from onceforall.errors import MeasurementError

TIMING = Timing(rounds=3)


class FakeRuntime:
    """Reads the milliseconds of a network from its file; may break after some rounds."""

    def __init__(self, breaks_after: int = 10**6) -> None:
        self.breaks_after = breaks_after
        self.measured: list[list[str]] = []

    def timed_rounds(
        self, paths: Sequence[Path], timing: Timing, *, rounds: Sequence[int], seed: int
    ) -> Iterator[dict[int, list[float]]]:
        texts = [path.read_text() for path in paths]
        for number in range(max(rounds)):
            if len(self.measured) == self.breaks_after:
                raise MeasurementError("the runtime broke")
            active = [index for index in range(len(paths)) if rounds[index] > number]
            self.measured.append([texts[index] for index in active])
            yield {index: [float(texts[index]), float(texts[index]) + 1] for index in active}


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    fake = FakeRuntime()
    monkeypatch.setattr(resumable, "timed_rounds", fake.timed_rounds)
    return fake


def task(milliseconds: int) -> Task:
    def write(path: Path) -> None:
        path.write_text(str(milliseconds))

    return Task(f"key {milliseconds}", write)


def test_equal_tasks_are_measured_once(runtime: FakeRuntime, tmp_path: Path) -> None:
    store = RoundStore(tmp_path / "kept.json", TIMING)
    calls: list[tuple[int, int]] = []
    measure_tasks(
        [task(5), task(7), task(5)], TIMING, store, tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    assert runtime.measured == [["5", "7"]] * 3
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert store.latency("key 7").estimate_ms == 7.25
    assert not list(tmp_path.glob("*.onnx"))


def test_a_stopped_measurement_goes_on_where_it_was(runtime: FakeRuntime, tmp_path: Path) -> None:
    runtime.breaks_after = 2
    with pytest.raises(MeasurementError, match="broke"):
        measure_tasks([task(5), task(7)], TIMING, RoundStore(tmp_path / "kept.json", TIMING), tmp_path)
    runtime.breaks_after, runtime.measured = 10**6, []
    store = RoundStore(tmp_path / "kept.json", TIMING)
    calls: list[tuple[int, int]] = []
    measure_tasks(
        [task(5), task(7), task(9)], TIMING, store, tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    assert runtime.measured == [["5", "7", "9"], ["9"], ["9"]]
    assert {key: len(rounds) for key, rounds in store.rounds.items()} == {"key 5": 3, "key 7": 3, "key 9": 3}
    assert calls[-1] == (3, 3)


def test_a_whole_measurement_is_not_repeated(runtime: FakeRuntime, tmp_path: Path) -> None:
    for _ in range(2):
        measure_tasks([task(5)], TIMING, RoundStore(tmp_path / "kept.json", TIMING), tmp_path)
    assert len(runtime.measured) == 3


def test_more_files_than_fit_into_one_process_are_split(
    runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "_MOST_TOGETHER", 2)
    store = RoundStore(tmp_path / "kept.json", TIMING)
    calls: list[tuple[int, int]] = []
    measure_tasks(
        [task(n) for n in (1, 2, 3)], TIMING, store, tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    assert runtime.measured == [["1", "2"]] * 3 + [["3"]] * 3
    assert calls[-1] == (6, 6)


@pytest.mark.parametrize("other", [Timing(threads=2), Timing(batch=4), Timing(repeats=9)])
def test_measurements_of_another_kind_are_left_out(runtime: FakeRuntime, tmp_path: Path, other: Timing) -> None:
    measure_tasks([task(5)], TIMING, RoundStore(tmp_path / "kept.json", TIMING), tmp_path)
    assert RoundStore(tmp_path / "kept.json", other).rounds == {}
    assert list(RoundStore(tmp_path / "kept.json", Timing(rounds=50)).rounds) == ["key 5"]


def test_a_truncated_file_is_measured_anew(runtime: FakeRuntime, tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text('{"origin": {"mach')
    store = RoundStore(tmp_path / "kept.json", TIMING)
    measure_tasks([task(5)], TIMING, store, tmp_path)
    assert len(store.rounds["key 5"]) == 3
