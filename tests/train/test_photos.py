"""Training on photos that stay encoded: decoded in this process or by workers, broken and continued on the way."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from onceforall.data import DataConfig, load_data
from onceforall.train import EvaluationConfig, SpaceConfig, TrainConfig, train
from onceforall.train.trainer import Trainer


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_photos) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=20, size=(96, 80))


def config_of(root: Path, workers: int = 0) -> TrainConfig:
    return TrainConfig(
        epochs=3,
        batch_size=12,
        seed=5,
        threads=1,
        log_every_steps=1,
        checkpoint_minutes=0.0,
        tensorboard=False,
        space=SpaceConfig(resolutions=[16, 24]),
        data=DataConfig(root=str(root), resident="false", workers=workers),
        evaluation=EvaluationConfig(every_epochs=1.0, calibration_images=24, random_subnets=0),
    )


def run_of(config: TrainConfig, folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Final weights, and what was printed."""
    out = io.StringIO()
    train(config, folder, console=Console(file=out, width=200))
    return load_file(folder / "supernet.safetensors"), out.getvalue()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory) -> dict[str, torch.Tensor]:
    return run_of(config_of(root), tmp_path_factory.mktemp("whole"))[0]


def test_workers_do_not_change_the_weights(root, whole, tmp_path):
    assert same(run_of(config_of(root, workers=2), tmp_path)[0], whole)


def test_an_interrupted_run_ends_bit_identical(root, whole, tmp_path, monkeypatch):
    log = Trainer.log

    def interrupted(self, plan, losses):
        if plan.step == 5:
            raise KeyboardInterrupt
        return log(self, plan, losses)

    monkeypatch.setattr(Trainer, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_of(config_of(root), tmp_path)
    monkeypatch.undo()
    weights, printed = run_of(config_of(root, workers=2), tmp_path)
    assert "continuing after step 5" in printed
    assert same(weights, whole)


def test_a_photo_that_breaks_after_the_start_is_named_once_and_the_run_goes_on(root, whole, tmp_path, monkeypatch):
    victim = Path(load_data(config_of(root).data).train.name(0))
    content = victim.read_bytes()
    restore = Trainer.restore

    def break_one(self):
        restore(self)
        victim.write_bytes(content[:100])

    monkeypatch.setattr(Trainer, "restore", break_one)
    try:
        weights, printed = run_of(config_of(root), tmp_path)
    finally:
        victim.write_bytes(content)
    assert printed.count(f"left out {victim}") == 1
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["name"] for line in found if line["kind"] == "corrupt_image"] == [str(victim)]
    assert not same(weights, whole)
