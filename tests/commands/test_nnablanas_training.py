"""NNablaNAS's stages for real, small: each begins from the weights of the one before, wherever those lie."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from onceforall.cli import main
from onceforall.commands.beginning import find_weights
from onceforall.errors import RunError
from onceforall.interop.nnablanas import save_h5
from onceforall.supernets import create_supernet, load_supernet

STAGES = "experiment=classification/ofa/ofa_mbv3/imagenet_"
SEARCH = "runs/classification/ofa/ofa_mbv3/imagenet/search"
SMALL = [
    *("data=digits", "data.max_train=48", "data.max_test=20", "data.holdout=20", "space.name=mbv3_w0.25"),
    *("space.resolutions=[32]", "evaluation.resolutions=[32]", "evaluation.images=10", "epochs=0.5", "batch_size=16"),
    *("evaluation.calibration_images=8", "micro_batch_size=8", "tensorboard=false", "threads=1", "device=cpu"),
]


def ofa(*words):
    return main(["train", *words])


def stage(name, *words):
    return ofa(STAGES + name, *SMALL, *words)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the full network has been trained."""
    folder = tmp_path_factory.mktemp("trained")
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert stage("search_fullnet") == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def after_fullnet(here, trained):
    shutil.copytree(trained / "runs", here / "runs")
    return here


def test_a_stage_without_the_one_before_names_the_file_and_the_command(here, capsys):
    assert stage("search_kernel") == 2
    assert capsys.readouterr().err == (
        f"error: {SEARCH}/K7_E6_D4/supernet.safetensors does not exist; make it with: ofa train "
        "experiment=classification/ofa/ofa_mbv3/imagenet_search_fullnet, or name other weights\n"
    )
    assert list(here.iterdir()) == []
    assert ofa(*SMALL, "weights=nowhere.h5") == 2
    assert "nowhere.h5 does not exist; name a run or a file of weights" in capsys.readouterr().err


def test_a_stage_that_has_not_finished_is_no_beginning(after_fullnet, capsys):
    (after_fullnet / SEARCH / "K7_E6_D4" / "supernet.json").unlink()
    assert stage("search_kernel") == 2
    assert "training has not finished" in capsys.readouterr().err


def test_the_chain_hands_on_its_weights(after_fullnet, capsys):
    assert stage("search_kernel", "recipe.phases.kernel.learning_rate=1e-12") == 0
    full, kernel = (load_supernet(after_fullnet / SEARCH / name / "supernet") for name in ("K7_E6_D4", "K357_E6_D4"))
    assert full.space.size_per_resolution == 1
    assert kernel.space.size_per_resolution == 3**20
    for (name, one), other in zip(full.named_parameters(), kernel.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name
    for name in ("depth_phase1", "depth_phase2", "expand_phase1", "expand_phase2"):
        assert stage(f"search_{name}", "evaluation.at_start=false") == 0
    last = load_supernet(after_fullnet / SEARCH / "K357_E346_D234" / "supernet")
    assert last.space.size_per_resolution == 7371**5
    lines = (after_fullnet / SEARCH / "K357_E346_D234" / "metrics.jsonl").read_text().splitlines()
    labels = [line["label"] for line in map(json.loads, lines) if line["kind"] == "eval"]
    assert len(labels) == len(set(labels)) == 12
    assert {"k3-e3-d22223@32", "k7-e6-d44444@32"} <= set(labels)

    capsys.readouterr()
    genotype = "[0,0,9,9,1,1,9,9,0,0,0,9,8,8,9,9,3,3,9,9]"
    small = [word for word in SMALL if "evaluation.resolutions" not in word and "holdout" not in word]
    assert ofa(STAGES + "train_subnet", *small, f"genotype={genotype}") == 0
    (record,) = (after_fullnet / "runs/classification/ofa/ofa_mbv3/imagenet/train_subnet/finetune").glob("*.json")
    assert [len(s["kernel_sizes"]) for s in json.loads(record.read_text())["arch"]["stages"]] == [2, 2, 3, 2, 2]
    said = capsys.readouterr().out
    export = next(line for line in said.splitlines() if line.startswith("next: ")).removeprefix("next: ofa ")
    assert main([*export.split(), "images=4"]) == 0
    assert list((record.parent.parent / "deploy").glob("*-finetuned.onnx"))


def test_compound_phases_lie_inside_the_folder_of_another_run(after_fullnet, capsys):
    shutil.copytree(after_fullnet / SEARCH / "K7_E6_D4", after_fullnet / SEARCH / "K357_E46_D234")
    assert stage("search_comp_phase1", "evaluation.at_start=false") == 0
    inner = after_fullnet / SEARCH / "K357_E346_D234" / "phase1" / "supernet"
    space = load_supernet(inner).space
    assert space.size_per_resolution == (3**2 + 3**3 + 3**4) ** 5
    assert stage("search_expand_phase2", "batch_size=15", "micro_batch_size=4") == 2  # refused after its config
    assert "must divide" in capsys.readouterr().err
    assert inner.with_suffix(".json").is_file()
    assert stage("search_expand_phase2", "evaluation.at_start=false") == 0
    assert stage("search_comp_phase2", "evaluation.at_start=false") == 0
    assert load_supernet(after_fullnet / SEARCH / "K357_E346_D234" / "phase2" / "supernet").space == space


def test_widths_of_resnet50_open(here):
    """Only its last stage, from fresh weights and its own largest network: it is a large supernet for a test."""
    words = [word for word in SMALL if not word.startswith(("space.name", "batch_size", "epochs", "data.max_train"))]
    words += ["data.max_train=16", "batch_size=4", "epochs=0.5", "weights=null", "recipe.teacher=null", "run=wide"]
    small = "{expand_ratio: 0.2, depth: [0, 2, 2, 4, 2], width_mult: 0.65}"
    words += [f"recipe.phases.width_phase2.archs=[{small}]"]
    assert ofa("experiment=classification/ofa/ofa_resnet50/imagenet_search_width_phase2", *words) == 0
    space = load_supernet(here / "wide" / "supernet").space
    assert space.widths == ((0.65, 0.8, 1),) * 6
    lines = [json.loads(line) for line in (here / "wide" / "metrics.jsonl").read_text().splitlines()]
    assert {line["label"] for line in lines if line["kind"] == "eval"} == {"k3-e0.2-d02242-w0.65@32"}
    assert [line["arch"]["width_mults"] for line in lines if line["kind"] == "eval"] == [[0.65] * 6] * 2


def test_a_wrong_genotype_is_named_before_anything_is_written(after_fullnet, capsys):
    os.rename(after_fullnet / SEARCH / "K7_E6_D4", after_fullnet / SEARCH / "K357_E346_D234")
    for genotype, words in (
        ("[0,0,9,9]", "a genotype has 20 numbers"),
        ("[0,9,0,9,0,0,9,9,0,0,9,9,0,0,9,9,0,0,9,9]", "stage 1 of the genotype"),
    ):
        assert ofa(STAGES + "train_subnet", *SMALL, f"genotype={genotype}") == 2
        assert words in capsys.readouterr().err
    assert ofa(STAGES + "train_subnet", *SMALL, "op_candidates=[MB9 3x3]") == 2
    assert "unknown operator 'MB9 3x3'; it is written MB<expand ratio>" in capsys.readouterr().err
    assert not (after_fullnet / "runs/classification/ofa/ofa_mbv3/imagenet/train_subnet").exists()


def test_a_teacher_of_other_classes_is_refused(here, capsys):
    create_supernet("mbv3_w0.25", num_classes=3, in_chans=1).save("other")
    assert stage("search_kernel", "weights=null", "recipe.teacher=other") == 2
    assert "recipe.teacher=other: it knows 3 classes, this run 10" in capsys.readouterr().err
    save_h5(create_supernet("mbv3_w0.25", num_classes=3, in_chans=1), here / "other.h5")
    assert stage("search_kernel", "weights=null", "recipe.teacher=other.h5") == 2
    assert "recipe.teacher=other.h5: it was trained on another number of classes" in capsys.readouterr().err


def test_an_older_file_begins_from_weights_in_either_log_folder(here, shared, capsys):
    """Its weights path is that of 2022; the file lies where the later version put it."""
    golden = json.loads((shared / "golden/nnablanas/legacy_json_v0.12.0.json").read_text())["experiments"]
    experiment = golden["ofa/ofa_imagenet_search_kernel.json"]
    (here / "kernel.json").write_text(json.dumps(experiment))
    words = ["-s", "-f", "kernel.json", "-a", "OFASearcher", "-o", "log/mine", *SMALL[4:]]
    words += ["data.source=digits", "data.mean=null", "data.std=null", "data.max_train=48", "data.holdout=20"]
    assert ofa(*words) == 2
    missing = "log/classification/ofa/imagenet/search/K7_E6_D4/weights.h5 does not exist; make it with: ofa train "
    assert missing + "experiment=classification/ofa/ofa_mbv3/imagenet_search_fullnet" in capsys.readouterr().err
    weights = here / "log/classification/ofa/ofa_mbv3/imagenet/search/K7_E6_D4/checkpoint/weights.h5"
    supernet = create_supernet("mbv3_w0.25", num_classes=10, in_chans=1)
    save_h5(supernet, weights)
    assert ofa(*words, "recipe.phases.kernel.learning_rate=1e-12", "recipe.phases.kernel.warmup_learning_rate=0") == 0
    trained = load_supernet(here / "log/mine/supernet")
    assert trained.space.stages[0].kernel_sizes == (5, 7)
    assert all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(supernet.parameters(), trained.parameters(), strict=True)
    )


def test_where_weights_are_looked_for(here):
    with pytest.raises(RunError, match=r"^a/b/supernet\.safetensors does not exist"):
        find_weights("a/b")
    for place in ("log/classification/ofa/ofa_mbv3/imagenet/search/K7_E6_D4", f"{SEARCH}/K7_E6_D4"):
        folder = here / place
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("name: full\n")
        (folder / "supernet.json").write_text("{}")
        found = find_weights("log/classification/ofa/imagenet/search/K7_E6_D4/weights.h5")
        assert found.resolve() == folder / "supernet"
        shutil.rmtree(folder)
    (here / "file.pth").touch()
    assert find_weights("file.pth").name == "file.pth"


def launched(launcher, here, *words):
    """`ofa train` on two processes; with what mpirun needs in a container, as root, on a single core."""
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_plm_rsh_agent": "",
        "OMP_NUM_THREADS": "1",
    }
    command = [*launcher, "train", *words]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False)


TWO = ["experiment=digits", "epochs=1", "evaluation.every_epochs=null", "tensorboard=false", "threads=1", "device=cpu"]


@pytest.fixture(params=["mpirun", "torchrun"])
def launcher(request):
    if request.param == "torchrun":
        return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "onceforall"]
    if shutil.which("mpirun") is None:
        assert not os.environ.get("CI") or os.environ.get("WITHOUT_MPIRUN"), "continuous integration installs mpirun"
        pytest.skip("there is no mpirun here; install the package openmpi-bin")
    return ["mpirun", "-n", "2", sys.executable, "-m", "onceforall"]


def test_two_processes_are_started_without_more_words(launcher, here):
    finished = launched(launcher, here, *TWO, "run=two")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("phase largest begins") == 1
    assert finished.stdout.count("8 steps done") == 1
    assert (here / "two" / "supernet.json").is_file()
    lines = [json.loads(line) for line in (here / "two" / "metrics.jsonl").read_text().splitlines()]
    assert len({(line["kind"], line["step"], line.get("label"), line.get("event")) for line in lines}) == len(lines)


def test_a_mistake_is_said_once(launcher, here):
    finished = launched(launcher, here, *TWO, "batch_size=1")
    assert finished.returncode != 0
    shown = finished.stderr + finished.stdout
    said = [line for line in shown.splitlines() if "must be 4 or more" in line]
    assert said == ["error: batch_size=1: must be 4 or more, a multiple of 2 processes"], shown
