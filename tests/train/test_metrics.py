import contextlib
import json
import resource

import pytest

from onceforall.errors import RunError, StorageError
from onceforall.train.metrics import MetricsLog


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_continuing_cuts_the_log_back_to_the_checkpoint(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write("train", 1, loss=2.0)
    kept = log.sync()
    log.write("train", 2, loss=1.0)
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tr')  # killed in the middle of a line
    log = MetricsLog(tmp_path, keep_bytes=kept, step=1, tensorboard=False)
    log.write("train", 2, loss=1.5)
    assert log.sync() > kept
    log.close()
    expected = [{"kind": "train", "step": 1, "loss": 2.0}, {"kind": "train", "step": 2, "loss": 1.5}]
    assert lines(tmp_path) == expected


def test_a_log_that_lost_its_end_is_cut_at_a_whole_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n{"kind": "tra')
    MetricsLog(tmp_path, keep_bytes=1000, tensorboard=False).close()
    assert lines(tmp_path) == [{"kind": "train", "step": 1}]


def test_a_new_run_starts_an_empty_log(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n')
    MetricsLog(tmp_path, tensorboard=False).close()
    assert lines(tmp_path) == []


def test_tensorboard_gets_the_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = MetricsLog(tmp_path)
    log.write("train", 1, loss=2.0, learning_rate=0.1)
    log.write("train", 2, loss=1.0, learning_rate=0.2)
    log.write("eval", 2, label="largest", top1=0.75)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("train/loss")] == [2.0, 1.0]
    assert [(event.step, event.value) for event in events.Scalars("eval/largest/top1")] == [(2, 0.75)]


def test_processes_that_do_not_write_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = MetricsLog(None)
    log.write("train", 1, loss=1.0)
    assert log.sync() == 0
    log.close()
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def disk_of(size: int):
    """Files cannot grow beyond `size` bytes: the kernel refuses to write more, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_full_disk_says_how_to_go_on(tmp_path, tensorboard):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train"}\n')
    log = MetricsLog(tmp_path, keep_bytes=100, tensorboard=tensorboard)
    with disk_of(30):
        with pytest.raises(StorageError, match="run the command again, training continues"):
            log.write("train", 1, loss=1.0, text="x" * 100)
        with pytest.raises(StorageError, match="run the command again, training continues"):
            log.close()
    assert (tmp_path / "metrics.jsonl").read_text().startswith('{"kind": "train"}\n')


def test_a_board_that_does_not_fit_is_one_clear_error_too(tmp_path):
    log = MetricsLog(tmp_path)
    for step in range(20):
        log.write("train", step, loss=1.0)  # an event of the board is longer than a line of metrics
    (board,) = (tmp_path / "tensorboard").iterdir()
    with disk_of(board.stat().st_size), pytest.raises(StorageError, match="cannot write the logs in"):
        log.write("train", 20, loss=1.0)
    log.close()


def test_closing_on_a_full_disk_does_not_hide_an_earlier_error(tmp_path):
    def diverge():
        with MetricsLog(tmp_path, tensorboard=False) as log:
            with pytest.raises(StorageError):
                log.write("train", 1, loss=1.0, text="x" * 100)
            raise RuntimeError("diverged")

    with disk_of(30), pytest.raises(RuntimeError, match="diverged"):
        diverge()


def test_steps_that_are_done_again_replace_the_earlier_ones_on_the_board(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, loss in ((1, 2.0), (3, 1.0)):
        with MetricsLog(tmp_path, step=first - 1) as log:
            for step in range(first, 6):
                log.write("train", step, loss=loss)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert found == [(1, 2.0), (2, 2.0), (3, 1.0), (4, 1.0), (5, 1.0)]


def test_a_value_that_is_no_number_says_that_training_diverged(tmp_path):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        log.write("train", 6, loss=1.0)
        with pytest.raises(RunError, match="eval after step 7: loss is nan, training diverged"):
            log.write("eval", 7, loss=float("nan"))
    assert len(lines(tmp_path)) == 1
