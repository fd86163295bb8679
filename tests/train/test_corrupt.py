"""Images that only another rank could not read are reported all the same."""

from types import SimpleNamespace
from typing import Any

from onceforall.train import World
from onceforall.train.trainer import Trainer


class FirstOfTwo(World):
    """Rank 0 of two; the other one could not read `other.jpg`."""

    def gather(self, value: Any) -> list[Any]:
        return [value, [("other.jpg", "cut off")]]


def test_rank_0_reports_what_any_rank_met_once_a_run():
    written, said = [], []
    trainer: Any = SimpleNamespace(
        world=FirstOfTwo(0, 2),
        metrics=SimpleNamespace(write=lambda kind, step, **values: written.append(values["name"])),
        say=said.append,
        _corrupt={"before.jpg"},
        _met_corrupt=[],
    )
    trainer.report_corrupt = lambda: Trainer.report_corrupt(trainer)
    Trainer.on_corrupt(trainer, "own.jpg", "empty")
    Trainer.on_corrupt(trainer, "before.jpg", "empty")
    assert written == []  # ranks talk to each other only where all of them are
    for _ in range(2):
        trainer.report_corrupt()
    assert written == ["own.jpg", "other.jpg"]
    assert said == ["left out own.jpg: empty (2 images so far)", "left out other.jpg: cut off (3 images so far)"]


def test_one_process_reports_at_once():
    written = []
    trainer: Any = SimpleNamespace(
        world=World(),
        metrics=SimpleNamespace(write=lambda kind, step, **values: written.append(values["name"])),
        say=lambda text: None,
        _corrupt=set(),
        _met_corrupt=[],
    )
    trainer.report_corrupt = lambda: Trainer.report_corrupt(trainer)
    Trainer.on_corrupt(trainer, "own.jpg", "empty")
    assert written == ["own.jpg"]
