"""The table of the CIFAR-10 re-implementation: every (k, d, w), before and after fine-tuning."""

import json
from pathlib import Path

import pytest
import torch

from onceforall import cli
from onceforall.commands.finetune_each import settings_of_run
from onceforall.cost import count_macs
from onceforall.run import Run
from onceforall.space import Arch
from onceforall.train.finetune import finetune, load_finetuned

CONFIGS = [(k, d, w) for k in (5, 7) for d in (2, 3) for w in (2, 4)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "kdw"
    words = ["data.source=digits", "space.resolutions=[8]", "epochs=0.5", "batch_size=32", "tensorboard=false"]
    assert cli.main(["train", "experiment=cifar10/kdw", f"run={folder}", *words, "evaluation.every_epochs=null"]) == 0
    return Run(folder)


def test_every_network_with_what_fine_tuning_gains(run, capsys):
    words = ["all=true", "finetune_epochs=0.1", "images=100", "calibration_images=100"]
    assert cli.main(["evaluate", f"run={run.folder}", *words]) == 0
    shown = capsys.readouterr().out
    assert all(f"({k},{d},{w})" in shown for k, d, w in CONFIGS)
    assert "fine-tuned for 0.1 epochs each" in shown
    results = [json.loads(path.read_text()) for path in (run.folder / "evaluate").glob("*-test-100.json")]
    archs = [Arch.from_dict(result["arch"]) for result in results]
    found = {(a.stages[0][0].kernel_size, len(a.stages[0]), a.stages[0][0].expand_ratio) for a in archs}
    assert found == set(CONFIGS)
    assert [result["macs"] for result in results] == count_macs(run.space(), archs).tolist()
    source = run.load_data()
    for result in results:
        assert f"{result['macs'] / 1e6:.2f} M" in shown
        network, arch, description = load_finetuned(run.finetune_path(result["name"]))
        assert arch.to_dict() == result["arch"]
        assert description["finetune"]["epochs"] == result["finetune_epochs"] == 0.1
        assert result["finetuned_top1"] == pytest.approx(accuracy(network, source, 100))
    assert any(result["finetuned_top1"] != result["top1"] for result in results)


def accuracy(network: torch.nn.Module, source, count: int) -> float:
    from onceforall.data import eval_batches
    from onceforall.train.evaluate import part_of

    device = torch.device("cpu")
    part = part_of(source, "test", count, 0)
    batches = eval_batches(part, resolution=8, batch_size=7, mean=source.mean, std=source.std, device=device)
    with torch.inference_mode():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in batches)
    return right / count


def test_the_published_fine_tuning(run, shared, monkeypatch):
    """At its own rate, whatever the batch of the run, without warm-up and with the optimiser of the run."""
    published = json.loads((shared / "golden" / "seed003.json").read_text())["phases"][4]
    assert (published["name"], published["epochs"]) == ("subnet_finetune", 25)
    rates = []
    monkeypatch.setitem(finetune.__globals__, "set_learning_rate", lambda _, rate: rates.append(rate))
    settings = settings_of_run(run, 0.1, published["lr"])
    finetune(run.load_supernet(), run.space().smallest, run.load_data(), settings)
    assert rates[0] == max(rates) == pytest.approx(published["lr"], rel=0.1)
    assert rates == sorted(rates, reverse=True)
    trained = run.read_config().optimizer
    assert (settings.optimizer.nesterov, settings.optimizer.weight_decay) == (trained.nesterov, trained.weight_decay)
    rates.clear()
    finetune(run.load_supernet(), run.space().smallest, run.load_data(), settings_of_run(run, 0.1))
    assert max(rates) == pytest.approx(0.1 * 0.4 * 32 / 256, rel=0.1)


def test_without_the_flag_nothing_is_fine_tuned(run, capsys):
    arch = json.dumps(run.space().smallest.to_dict())
    assert cli.main(["evaluate", f"run={run.folder}", f"arch={arch}", "part=holdout", "calibration_images=50"]) == 0
    assert "fine-tuned" not in capsys.readouterr().out
    (written,) = Path(run.folder, "evaluate").glob("*-holdout.json")
    assert "finetuned_top1" not in json.loads(written.read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune_epochs=0"], "finetune_epochs=0: must be positive"),
        (["finetune_epochs=-1"], "finetune_epochs=-1: must be positive"),
        (["finetune_learning_rate=0.1"], "finetune_learning_rate needs finetune_epochs="),
        (["finetune_epochs=1", "finetune_learning_rate=0"], "finetune_learning_rate=0: must be positive"),
        (["finetune_epochs=many"], "finetune_epochs: the value 'many' is not a number or null"),
    ],
)
def test_impossible_lengths_are_one_clear_line(run, words, message, capsys):
    capsys.readouterr()
    assert cli.main(["evaluate", f"run={run.folder}", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_checkpoint_has_no_images_to_train_on(run, capsys):
    words = [f"checkpoint={run.supernet_path}.safetensors", "data.source=digits", "finetune_epochs=1"]
    assert cli.main(["evaluate", *words]) == 2
    assert "finetune_epochs needs the training images of a run" in capsys.readouterr().err
