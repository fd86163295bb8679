import io
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from onceforall.data import DataConfig
from onceforall.errors import ConfigError, RunError, StorageError
from onceforall.supernets import load_supernet
from onceforall.train import EvaluationConfig, OptimizerConfig, RecipeConfig, SpaceConfig, evaluate_archs, train

QUIET = Console(quiet=True)
HERE = Path(__file__).parent


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_clocks(run: Path) -> list[dict]:
    clocks = ("elapsed_s", "images_per_second")
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines(run)]


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one / "supernet.safetensors"), load_file(other / "supernet.safetensors")
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_run_leaves_a_calibrated_supernet_and_its_story(tiny_config, digits, tmp_path):
    out = io.StringIO()
    config = tiny_config(epochs=12, tensorboard=True, recipe=RecipeConfig(name="sandwich"))
    config.evaluation.every_epochs = 2.0
    supernet = train(config, tmp_path, console=Console(file=out, width=150))
    assert not supernet.training
    loaded = load_supernet(tmp_path / "supernet")
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(loaded(images), supernet(images))
    description = json.loads((tmp_path / "supernet.json").read_text())
    assert description["classes"] == digits.classes
    assert (description["mean"], description["std"]) == (list(digits.mean), list(digits.std))
    assert description["in_chans"] == 1
    assert description["images"] == digits.digests
    assert description["train"]["recipe"] == "sandwich"
    found = lines(tmp_path)
    train_lines = [line for line in found if line["kind"] == "train"]
    assert [line["step"] for line in train_lines] == sorted({line["step"] for line in train_lines})
    assert train_lines[-1]["step"] == 96
    assert train_lines[-1]["loss"] < train_lines[0]["loss"]
    assert train_lines[0].keys() >= {"phase", "loss", "learning_rate", "resolution", "images_per_second", "elapsed_s"}
    events = [(line["phase"], line["event"]) for line in found if line["kind"] == "phase"]
    assert events == [("largest", "start"), ("largest", "end"), ("sandwich", "start"), ("sandwich", "end")]
    last = {line["label"]: line for line in found if line["kind"] == "eval" and line["step"] == 96}
    assert last.keys() == {"largest", "smallest", "random1"}
    assert last["largest"]["top1"] > 0.6
    assert {line["label"] for line in found if line["kind"] == "eval" and line["phase"] == "largest"} == {"largest"}
    (again,) = evaluate_archs(loaded, [loaded.space.largest], digits, calibration_images=64, seed=5)
    assert again.top1 == pytest.approx(last["largest"]["top1"], abs=1e-9)
    assert list((tmp_path / "tensorboard").iterdir())
    text = out.getvalue()
    assert "digits: " in text
    assert "sub-network passes" in text
    assert "estimated training time" in text
    assert "phase sandwich begins after step" in text
    assert "largest" in text


def test_the_final_statistics_are_those_of_the_largest_network(tiny_config, digits, tmp_path):
    from onceforall.data import calibration_batches
    from onceforall.elastic import calibrate

    supernet = train(tiny_config(), tmp_path, console=QUIET)
    network = supernet.extract(supernet.space.largest)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    options = {"mean": digits.mean, "std": digits.std, "device": "cpu", "memory_format": torch.channels_last}
    calibrate(network, calibration_batches(digits.train, resolution=8, images=64, batch_size=200, seed=5, **options))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-4, atol=1e-5)


def settings_of(recipe: str) -> dict:
    """Settings of the runs that are killed: all state a run can have, at two resolutions."""
    space = SpaceConfig(resolutions=[8, 12], dropout=0.2)
    changes = {"epochs": 6, "space": space, "ema_decay": 0.9, "recipe": RecipeConfig(name=recipe, expand_share=0.4)}
    return changes | {"checkpoint_minutes": 0.0, "log_every_steps": 3}


def kill_when(run: Path, recipe: str, reached) -> None:
    """Start training in a process of its own and kill -9 it as soon as `reached(line)` of a new line of metrics."""
    command = [sys.executable, str(HERE / "train_to_be_killed.py"), str(run), recipe]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            written = run / "metrics.jsonl"
            text = written.read_text() if written.exists() else ""
            whole = text[: text.rfind("\n") + 1].splitlines()
            if any(reached(json.loads(line)) for line in whole):
                break
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL


def step_reached(step: int):
    return lambda line: line["kind"] == "train" and line["step"] >= step


def phase_ended(line: dict) -> bool:
    return line["kind"] == "phase" and line["event"] == "end"


@pytest.mark.parametrize(
    ("recipe", "kills"),
    [
        # inside the first phase, between phases, inside a later phase
        ("progressive_shrinking", [step_reached(10), phase_ended, step_reached(36)]),
        ("sandwich", [step_reached(24)]),
    ],
)
def test_killed_inside_and_between_phases_a_run_ends_bit_identical(tiny_config, tmp_path, recipe, kills):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    config = tiny_config(**settings_of(recipe))
    train(config, whole, console=QUIET)
    for reached in kills:
        kill_when(killed, recipe, reached)
        assert not (killed / "supernet.safetensors").exists()
        assert list((killed / "checkpoint").glob("step_*"))
    train(config, killed, console=QUIET)
    assert same_weights(whole, killed)
    assert without_clocks(whole) == without_clocks(killed)


def test_a_finished_run_is_not_trained_again(tiny_config, tmp_path):
    train(tiny_config(), tmp_path, console=QUIET)
    before = (tmp_path / "metrics.jsonl").read_text(), (tmp_path / "supernet.safetensors").read_bytes()
    train(tiny_config(), tmp_path, console=QUIET)
    assert ((tmp_path / "metrics.jsonl").read_text(), (tmp_path / "supernet.safetensors").read_bytes()) == before


def test_speed_clocks_and_watching_do_not_change_weights(tiny_config, tmp_path):
    train(tiny_config(), tmp_path / "one", console=QUIET)
    config = tiny_config(checkpoint_minutes=0.0, log_every_steps=5)
    config.evaluation.every_epochs = 0.5
    config.evaluation.random_subnets = 3
    train(config, tmp_path / "other", console=QUIET)
    assert same_weights(tmp_path / "one", tmp_path / "other")
    config = tiny_config(seed=6)
    train(config, tmp_path / "seed", console=QUIET)
    assert not same_weights(tmp_path / "one", tmp_path / "seed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 4}, "epochs=3 (now 4)"),
        ({"space": SpaceConfig(resolutions=[8], depths=[2])}, "space.depths=None (now [2])"),
        ({"space": SpaceConfig("mbv3_small", resolutions=[16])}, "space.name=resnet_small (now mbv3_small)"),
        ({"data": DataConfig("digits", max_train=200, max_test=60, holdout=60)}, "data.max_train=256 (now 200)"),
        (
            {"data": DataConfig("digits", max_train=256, max_test=60, holdout=60, resident="false")},
            "data.resident=auto (now false)",
        ),
    ],
)
def test_a_folder_of_another_run_is_refused_and_stays_as_it_is(tiny_config, tmp_path, changes, words):
    train(tiny_config(), tmp_path, console=QUIET)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError) as caught:
        train(tiny_config(**changes), tmp_path, console=QUIET)
    assert words in str(caught.value)
    assert "choose another run folder" in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_checkpoint_costs_only_the_time_since_the_one_before(tiny_config, tmp_path):
    config = tiny_config(recipe=RecipeConfig(name="sandwich"))
    train(config, tmp_path / "whole", console=QUIET)
    train(config, tmp_path / "run", console=QUIET)
    newest = sorted((tmp_path / "run" / "checkpoint").glob("step_*"))[-1]
    (newest / "optimizer.safetensors").write_bytes(b"")
    (tmp_path / "run" / "supernet.safetensors").unlink()
    out = io.StringIO()
    train(config, tmp_path / "run", console=Console(file=out, width=200))
    assert str(newest) in out.getvalue()
    assert "continuing after step 7 of 24" in out.getvalue()
    assert same_weights(tmp_path / "whole", tmp_path / "run")
    assert without_clocks(tmp_path / "whole") == without_clocks(tmp_path / "run")


def test_a_disk_that_fills_up_while_checkpointing_loses_nothing(tiny_config, tmp_path):
    config = tiny_config(recipe=RecipeConfig(name="sandwich"))
    train(config, tmp_path / "whole", console=QUIET)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # logs fit, checkpoints do not
    try:
        with pytest.raises(StorageError, match="what was there before is unchanged"):
            train(config, tmp_path / "run", console=QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    train(config, tmp_path / "run", console=QUIET)
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def test_divergence_stops_with_the_remedy_before_anything_is_overwritten(tiny_config, tmp_path):
    config = tiny_config()
    config.optimizer.base_learning_rate = 1e30
    with pytest.raises(RunError, match=r"diverged before step .* lower optimizer.base_learning_rate than 1e\+30"):
        train(config, tmp_path, console=QUIET)
    assert not list((tmp_path / "checkpoint").glob("step_*"))


def test_mixed_precision_adamw_and_clipping_train(tiny_config, tmp_path):
    config = tiny_config(precision="bf16", channels_last=False, epochs=6)
    config.optimizer.name, config.optimizer.base_learning_rate = "adamw", 0.02
    config.optimizer.clip_gradient_norm = 1.0
    train(config, tmp_path, console=QUIET)
    losses = [line["loss"] for line in lines(tmp_path) if line["kind"] == "train" and line["phase"] == "full"]
    assert losses[-1] < losses[0] - 0.2


def test_without_hold_out_nothing_is_evaluated(tiny_config, tmp_path):
    config = tiny_config(data=DataConfig("digits", max_train=64, max_test=60, holdout=0.0))
    train(config, tmp_path, console=QUIET)
    assert {line["kind"] for line in lines(tmp_path)} == {"phase", "train"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "fp16"}, "precision=fp16: must be fp32 or bf16"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"epochs": 0}, "epochs=0: must be positive"),
        ({"seed": -3}, "seed=-3: must be 0 or greater"),
        ({"ema_decay": 1.0}, "ema_decay=1.0: must be at least 0 and less than 1"),
        ({"ema_decay": -0.1}, "ema_decay=-0.1: must be at least 0"),
        ({"epochs": float("inf")}, "epochs=inf: must be positive"),
        ({"log_every_steps": 0}, "log_every_steps=0: must be positive"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes=-1.0: must be 0 or greater"),
        ({"optimizer": OptimizerConfig(momentum=1.5)}, "optimizer.momentum=1.5: must be at least 0 and less than 1"),
        ({"optimizer": OptimizerConfig(weight_decay=-1.0)}, "optimizer.weight_decay=-1.0: must be 0 or greater"),
        ({"optimizer": OptimizerConfig(base_learning_rate=0.0)}, "optimizer.base_learning_rate=0.0: must be positive"),
        ({"optimizer": OptimizerConfig(clip_gradient_norm=-1.0)}, "clip_gradient_norm=-1.0: must be positive"),
        ({"optimizer": OptimizerConfig(name="adam")}, "optimizer.name=adam: no such optimiser; there are sgd, adamw"),
        ({"space": SpaceConfig(dropout=float("nan"))}, "space.dropout=nan: must be at least 0 and less than 1"),
        ({"evaluation": EvaluationConfig(random_subnets=-1)}, "evaluation.random_subnets=-1: must be 0 or greater"),
        ({"evaluation": EvaluationConfig(images=0)}, "evaluation.images=0: must be positive"),
        ({"evaluation": EvaluationConfig(batch_size=0)}, "evaluation.batch_size=0: must be positive"),
        ({"threads": 0}, "threads=0"),
        ({"device": "abacus"}, "device=abacus: no such device"),
        ({"recipe": RecipeConfig(name="x")}, "recipe.name=x"),
        ({"space": SpaceConfig("x")}, "no space named 'x'"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(tiny_config, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        train(tiny_config(**changes), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_corrupt_images_are_named_once_a_run(tiny_config, tmp_path):
    from onceforall.train.trainer import Trainer, World

    out = io.StringIO()
    for later in ("dog.jpg", "owl.jpg"):
        trainer = Trainer(tiny_config(), tmp_path, World(), Console(file=out, width=150))
        trainer.restore()
        for name in ("cat.jpg", "cat.jpg", later):
            trainer.on_corrupt(name, "truncated")
        trainer.checkpoint(1)
        trainer.metrics.close()
    corrupt = [line for line in lines(tmp_path) if line["kind"] == "corrupt_image"]
    assert [line["name"] for line in corrupt] == ["cat.jpg", "dog.jpg", "owl.jpg"]
    assert out.getvalue().count("left out cat.jpg: truncated") == 1
    assert "left out owl.jpg: truncated (3 images so far)" in out.getvalue()
