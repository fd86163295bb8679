"""Mistakes on the command line: one clear line, exit code 2, and everything that was there is still there."""

import json
import shutil
from dataclasses import replace

import pytest

from onceforall import cli
from onceforall.errors import ConfigError
from onceforall.run import Run
from onceforall.space import create_space


def error(capsys, *words: str, code: int = 2) -> str:
    capsys.readouterr()
    assert cli.main(words) == code
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 or code == 130, printed.err
    return printed.err


def test_missing_images_leave_no_run_behind(tmp_path, capsys):
    run = tmp_path / "runs" / "photos"
    said = error(capsys, "train", "experiment=photos", f"data.root={tmp_path / 'nowhere'}", f"run={run}")
    assert "nowhere" in said
    assert not run.exists()


def test_settings_that_fail_at_the_start_do_not_stick(tmp_path, capsys):
    run = tmp_path / "digits"
    said = error(capsys, "train", "batch_size=1", f"run={run}")
    assert "batch_size=1" in said
    assert not run.exists()


def test_too_little_memory_is_one_line_and_leaves_no_run_behind(tmp_path, capsys, monkeypatch):
    from onceforall.train.trainer import TrainingState

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 51539607552 bytes.\n")

    monkeypatch.setattr(TrainingState, "step", full)
    run = tmp_path / "digits"
    said = error(capsys, "train", f"run={run}")
    assert "not enough memory" in said
    assert "batch_size" in said
    assert not run.exists()


@pytest.mark.parametrize("name", ["checkpoint", "tensorboard"])
def test_a_failed_run_leaves_the_runs_below_it(trained, name, tmp_path, capsys, monkeypatch, unchanged):
    from onceforall.train.trainer import TrainingState

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(TrainingState, "step", full)
    below = tmp_path / "group" / name / "finished"
    shutil.copytree(trained.folder, below)
    with unchanged(below):
        assert "not enough memory" in error(capsys, "train", f"run={tmp_path / 'group'}", "evaluation.at_start=true")
    assert sorted(path.name for path in (tmp_path / "group").iterdir()) == [name]


def test_another_space_in_the_folder_of_a_run(trained, capsys, unchanged):
    with unchanged(trained.folder):
        said = error(capsys, "train", f"run={trained.folder}", "space=mbv3_small")
        assert "was started with" in said
        assert "space.name=resnet_small (not mbv3_small)" in said
        assert f"ofa train run={trained.folder}" in said
        assert "epochs=2.0 (not 3.0)" in error(capsys, "train", f"run={trained.folder}", "epochs=3")


def test_a_folder_of_something_else(tmp_path, capsys, unchanged):
    (tmp_path / "holiday.txt").write_text("not a run")
    with unchanged(tmp_path):
        assert "holds files but no run" in error(capsys, "train", f"run={tmp_path}")
        assert "is a file" in error(capsys, "train", f"run={tmp_path / 'holiday.txt'}")


@pytest.mark.parametrize("command", ["evaluate", "measure", "search", "finetune", "export", "report"])
def test_no_run(command, tmp_path, capsys):
    assert "run=FOLDER is needed" in error(capsys, command)
    assert "no such folder" in error(capsys, command, f"run={tmp_path / 'missing'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["evaluate", "finetune", "export"])
def test_impossible_architectures(command, trained, capsys, unchanged):
    space = trained.space()
    kernels = space.largest.to_dict()
    kernels["stages"][1]["kernel_sizes"][0] = 9
    with unchanged(trained.folder):
        said = error(capsys, command, f"run={trained.folder}", f"arch={json.dumps(kernels)}")
        assert all(word in said for word in ("stage 2", "block 1", "9", "3"))
        wrong = replace(space.largest, resolution=11)
        said = error(capsys, command, f"run={trained.folder}", f"arch={wrong.to_json()}")
        assert "resolution 11" in said
        assert "8, 12, 16" in said
        other = create_space("mbv3_small").largest
        assert "resnet_small" in error(capsys, command, f"run={trained.folder}", f"arch={other.to_json()}")
        assert "did you mean largest?" in error(capsys, command, f"run={trained.folder}", "arch=lagest")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "part=train"], "part=train: use test or holdout"),
        (["evaluate", "latency=phone"], "no latency model of device 'phone'"),
        (["measure", "device=abacus"], "abacus"),
        (["measure", "name=../up"], "name=../up: a plain file name"),
        (["measure", "threads=0"], "threads"),
        (["measure", "resolutions=[9]"], "9"),
        (["measure", "seed=-1"], "seed=-1: must be 0 or greater"),
        (["measure", "warmup=-1"], "warmup"),
        (["measure", "calibration_networks=-1"], "calibration_networks=-1: must be 0 or greater"),
        (["predictor", "seed=-1"], "seed=-1: must be 0 or greater"),
        (["predictor", "batch_size=0"], "batch_size=0: must be 1 or greater"),
        (["search", "seed=-1"], "seed=-1: must be 0 or greater"),
        (["search", "calibration_images=-1"], "calibration_images=-1: must be 0 or greater"),
        (["search", "images=0"], "images=0: must be 1 or greater"),
        (["search", "networks_at_once=0"], "networks_at_once=0: must be 1 or greater"),
        (["search", "device=phone"], "no latency model of device 'phone'"),
        (["search", "score=guess"], "score=guess: use measured or predicted"),
        (["search", "algorithm=nsga2"], "algorithm=nsga2: only with score=predicted"),
        (["search", "algorithm=nsga9", "score=predicted"], "algorithm=nsga9: use niches, nsga2, smsemoa, spea2, ofa2_"),
        (["search", "name=a/b"], "name=a/b: a plain file name"),
        (["search", "front_cost=beauty"], "beauty"),
        (["search", "constraint.macs=5"], "feasible range"),
        (["search", "budget=0"], "budget=0"),
        (["export", "format=pickle"], "format=pickle: use onnx"),
        (["export", "batch_size=0"], "batch_size=0: must be 1 or greater"),
        (["export", "calibration_images=-1"], "calibration_images=-1: must be 0 or greater"),
        (["export", "images=-1"], "images=-1: must be 1 or greater"),
        (["export", "arch=largest,smallest", "name=x"], "2 networks cannot share one name"),
        (["export", "arch=largest", "finetuned=true"], "has not been fine-tuned"),
        (["finetune", "epochs=0"], "epochs"),
        (["finetune", "precision=fp8"], "precision=fp8"),
    ],
)
def test_values_that_make_no_sense(words, message, trained, capsys, unchanged):
    arch = ["arch=largest"] if words[0] in ("export", "finetune") and not any("arch" in word for word in words) else []
    with unchanged(trained.folder):
        assert message in error(capsys, words[0], f"run={trained.folder}", *words[1:], *arch)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quickstart", "budget=0"], "budget=0: must be 1 or greater"),
        (["quickstart", "rounds=0"], "rounds=0: must be 2 or greater"),
        (["quickstart", "latency_share=7"], "latency_share=7: must be from 0 to 1"),
        (["list", "num_classes=0"], "num_classes=0: must be 1 or greater"),
        (["list", "in_chans=0"], "in_chans=0: must be 1 or greater"),
    ],
)
def test_numbers_are_looked_at_before_anything_is_done(words, message, tmp_path, capsys):
    given = [f"run={tmp_path / 'run'}"] if words[0] == "quickstart" else []
    assert message in error(capsys, *words, *given)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_still_training(trained, tmp_path, capsys):
    run = Run(tmp_path / "half")
    run.folder.mkdir()
    shutil.copy(trained.config_path, run.config_path)
    for command in ("evaluate", "measure", "search", "export"):
        assert "training has not finished" in error(capsys, command, f"run={run.folder}")


def test_an_interrupted_export_leaves_the_earlier_file(trained, capsys, monkeypatch, unchanged):
    words = ["export", f"run={trained.folder}", "arch=smallest", "images=16", "calibration_images=50", "measure=false"]
    assert cli.main(words) == 0
    import onceforall.deploy.export as export_room

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_room, "compare", interrupt)
    with unchanged(trained.folder):
        said = error(capsys, *words, code=130)
    assert "run again: ofa export" in said
    assert not [path for path in (trained.folder / "deploy").iterdir() if path.name.startswith(".")]


def test_interrupted_training_goes_on(tmp_path, capsys, monkeypatch):
    from onceforall.train.trainer import Trainer

    run = Run(tmp_path / "digits")
    words = ["train", f"run={run.folder}", "epochs=1", "evaluation.random_subnets=0", "tensorboard=false"]
    whole = Trainer.log

    def until_the_third(self, plan, *rest):
        if plan.step == 3:
            raise KeyboardInterrupt
        return whole(self, plan, *rest)

    monkeypatch.setattr(Trainer, "log", until_the_third)
    assert "run again: ofa train" in error(capsys, *words, code=130)
    assert run.exists()
    assert not run.is_trained()
    monkeypatch.undo()
    assert cli.main(["train", f"run={run.folder}"]) == 0
    assert run.is_trained()
    assert run.read_config().epochs == 1


def test_images_that_moved_are_found_again(tmp_path, capsys, write_photos, unchanged):
    photos = write_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=20, size=(32, 32))
    run = tmp_path / "run"
    settings = ["experiment=photos", "space=resnet_small", "space.resolutions=[16]", "epochs=2", "batch_size=8"]
    assert cli.main(["train", *settings, f"data.root={photos}", f"run={run}", "evaluation.every_epochs=null"]) == 0
    moved = photos.rename(tmp_path / "elsewhere")
    assert f"ofa train run={run} data.root=NEW_PLACE" in error(capsys, "evaluate", f"run={run}")
    others = write_photos(tmp_path / "others", classes=["cat", "dog"], per_class=21, size=(32, 32))
    with unchanged(run):
        assert "nowhere does not exist" in error(capsys, "train", f"run={run}", f"data.root={tmp_path / 'nowhere'}")
        assert "images changed" in error(capsys, "train", f"run={run}", f"data.root={others}")
    assert cli.main(["train", f"run={run}", f"data.root={moved}"]) == 0
    assert cli.main(["evaluate", f"run={run}", "calibration_images=16"]) == 0


def test_a_wrong_place_of_the_images_is_not_noted_in_an_interrupted_run(tmp_path, capsys, monkeypatch, write_photos):
    from onceforall.train.trainer import Trainer

    photos = write_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=20, size=(32, 32))
    run = Run(tmp_path / "run")
    settings = ["experiment=photos", "space=resnet_small", "space.resolutions=[16]", "epochs=2", "batch_size=8"]
    monkeypatch.setattr(Trainer, "finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    words = [*settings, f"data.root={photos}", "evaluation.every_epochs=null"]
    error(capsys, "train", *words, f"run={run.folder}", code=130)
    noted = run.config_path.read_text()
    others = write_photos(tmp_path / "others", classes=["cat", "dog"], per_class=21, size=(32, 32))
    for place in (tmp_path / "nowhere", others):
        error(capsys, "train", f"run={run.folder}", f"data.root={place}")
        assert run.config_path.read_text() == noted
    moved = photos.rename(tmp_path / "elsewhere")
    error(capsys, "train", f"run={run.folder}", f"data.root={moved}", code=130)
    assert run.read_config().data.root == str(moved)


def test_limits_of_a_search_as_a_dictionary():
    from onceforall.commands.search import SearchConfig, search

    with pytest.raises(ConfigError, match=r"write ConstraintConfig\(latency_ms=4\)"):
        search(SearchConfig(run="runs/x", constraint={"latency_ms": 4}))  # pyright: ignore[reportArgumentType]
