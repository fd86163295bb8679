"""`ofa evaluate` without a run: any checkpoint, any images, one process or two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from onceforall import cli
from onceforall.interop.mmrazor import arch_to_yaml, subnet_tensors, to_mmrazor
from onceforall.interop.nnablanas import save_h5
from onceforall.interop.official import arch_from_dict, to_official
from onceforall.space import Arch, create_space
from onceforall.supernets import Supernet, create_supernet

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
QUICK = ["data.workers=0", "batch_size=4", "device=cpu"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_photos) -> Path:
    """Three classes, train and val."""
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=5, parts=("train", "val"))


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    supernet = create_supernet("mbv3_w1.0", 3)
    supernet.reset_parameters(1)
    return supernet


@pytest.fixture(scope="module")
def files(tmp_path_factory, supernet) -> Path:
    """A sub-network's YAML, and the checkpoints that can go with it."""
    folder = tmp_path_factory.mktemp("files")
    arch = Arch(64, supernet.space.uniform(5, 4, 3).stages)
    shown = Arch(128, arch.stages)
    (folder / "subnet.yaml").write_text(arch_to_yaml(shown))
    (folder / "arch.json").write_text(json.dumps(arch.to_dict()))
    official, static = to_official(supernet), subnet_tensors(supernet, arch)
    torch.save({"state_dict": official}, folder / "official.pth")
    torch.save({"state_dict": to_mmrazor(official)}, folder / "razor.pth")
    torch.save({"state_dict": static}, folder / "static.pth")
    torch.save({"state_dict": to_mmrazor(static)}, folder / "razor_static.pth")
    supernet.save(folder / "ours", {"classes": ["apple", "banana", "cherry"], **IMAGENET})
    supernet.save(folder / "fruit", {"classes": ["apple", "banana", "quince"]})
    save_h5(supernet, folder / "nnabla.h5")
    save_h5(supernet.extract(arch), folder / "nnabla_static.h5")
    return folder


def evaluate(*words: str) -> None:
    assert cli.main(["evaluate", *words, *QUICK]) == 0


def error(capsys, *words: str) -> str:
    capsys.readouterr()
    assert cli.main(["evaluate", *QUICK, *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("name", ["note8_lat22", "note8_lat31"])
def test_the_published_sub_networks_on_real_images(name, shared, tmp_path, capsys):
    described = json.loads((shared / "golden" / "mmrazor" / f"{name}.json").read_text())
    arch = arch_from_dict(create_space("mbv3_w1.0"), described["ofa_arch"])
    (tmp_path / "subnet.yaml").write_text(arch_to_yaml(arch))
    root = shared / "data" / "imagenet_samples"
    evaluate(f"arch={tmp_path}/subnet.yaml", "checkpoint=none", "data=imagenet", f"data.root={root}", "images=8",
             "calibration_images=8", f"out={tmp_path}/result.json")  # fmt: skip
    printed = capsys.readouterr().out
    recomputed = described["recomputed"]
    assert "8 images of imagenet_samples" in printed
    assert f"{described['input_size']} px" in printed
    for count in (recomputed["params"], recomputed["macs_conv_linear"], recomputed["mmrazor_rule_flops_M"] * 1e6):
        assert f"{count / 1e6:.2f} M" in printed
    (result,) = json.loads((tmp_path / "result.json").read_text())
    assert (result["params"], result["macs"]) == (recomputed["params"], recomputed["macs_conv_linear"])
    assert result["images"] == 8


def test_every_kind_of_checkpoint_is_the_same_network(files, photos, tmp_path):
    common = [f"arch={files}/arch.json", "data=imagenet", f"data.root={photos}", "calibration_images=6"]
    results = {}
    for name in (
        "official.pth",
        "razor.pth",
        "static.pth",
        "razor_static.pth",
        "ours",
        "ours.safetensors",
        "nnabla.h5",
        "nnabla_static.h5",
    ):
        evaluate(*common, f"checkpoint={files / name}", f"out={tmp_path}/result.json")
        results[name] = (tmp_path / "result.json").read_text()
    assert len(set(results.values())) == 1
    plain = [*common[:1], *common[2:], "data.test_transform=official", f"checkpoint={files}/ours"]
    evaluate(*plain, f"out={tmp_path}/result.json")
    assert (tmp_path / "result.json").read_text() in results.values()  # our own file knows how images are normalised
    evaluate(*common, "checkpoint=none", f"out={tmp_path}/result.json")
    assert (tmp_path / "result.json").read_text() not in results.values()


def test_two_processes_are_one(files, photos, tmp_path):
    words = [f"arch={files}/arch.json", f"checkpoint={files}/razor.pth", "data=imagenet", f"data.root={photos}"]
    words += ["calibration_images=6", *QUICK]
    evaluate(*words, f"out={tmp_path}/one.json")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*command, "-m", "onceforall", "evaluate", *words, f"out={tmp_path}/two.json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("15 images of") == 1
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_images_without_a_training_part(files, photos, tmp_path, capsys):
    (tmp_path / "val").symlink_to(photos / "val")
    words = [f"arch={files}/arch.json", f"checkpoint={files}/razor.pth", f"data.root={tmp_path}", "data=imagenet"]
    evaluate(*words, "calibration_images=0")
    printed = capsys.readouterr().out
    assert "15 images" in printed
    assert "batch norm as the weights have it" in printed
    assert "has no training images to calibrate" in error(capsys, *words)
    assert "training images" not in printed


def test_images_without_a_test_part_are_evaluated_all(files, photos, capsys):
    evaluate(f"arch={files}/arch.json", f"checkpoint={files}/razor.pth", f"data.root={photos / 'train'}",
             "calibration_images=20")  # fmt: skip
    printed = capsys.readouterr().out
    assert "15 images of train" in printed
    assert "calibrated on 15 training images" in printed
    assert "without a test part these are the training images" in printed


def test_another_size_and_several_networks(files, photos, tmp_path, capsys):
    evaluate("arch=largest,smallest", "resolution=32", f"checkpoint={files}/official.pth", f"data.root={photos}",
             "calibration_images=6", f"out={tmp_path}/result.json")  # fmt: skip
    results = json.loads((tmp_path / "result.json").read_text())
    assert [result["arch"]["resolution"] for result in results] == [32, 32]
    assert results[0]["macs"] > results[1]["macs"]
    printed = capsys.readouterr().out
    assert "largest" in printed
    assert "smallest" in printed


def test_every_network_of_a_space(photos, tmp_path):
    evaluate("all=true", "space=cifar_kdw", "checkpoint=none", f"data.root={photos}", "calibration_images=6",
             f"out={tmp_path}/result.json")  # fmt: skip
    results = json.loads((tmp_path / "result.json").read_text())
    assert len({result["name"] for result in results}) == create_space("cifar_kdw").size == 8


def test_the_configuration_is_shown(capsys):
    assert (
        cli.main(["evaluate", "arch=a.yaml", "checkpoint=b.pth", "data=imagenet", "data.root=/x", "--cfg", "job"]) == 0
    )
    printed = capsys.readouterr().out
    for line in ("checkpoint: b.pth", "  holdout_rule: official", "  root: /x", "  test_transform: official"):
        assert line in printed.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=0"], "batch_size=0: must be 1 or greater"),
        (["images=0"], "images=0: must be 1 or greater"),
        (["calibration_images=-1"], "calibration_images=-1: must be 0 or greater"),
        (["resolution=4"], "resolution=4"),
        (["part=holdout"], "without a run: leave out run, latency and part"),
        (["run=runs/x"], "without a run"),
        (["checkpoint={files}/none.pth"], "none.pth does not exist"),
        (["checkpoint={files}/none.safetensors"], "none.json does not exist"),
        (["checkpoint={files}/short.pth"], "short.pth is not a whole torch file"),
        (["checkpoint={files}/razor_static.pth", "arch=largest"], "the checkpoint has 16 blocks"),
        (["checkpoint={files}/razor_static.pth", "arch={files}/other.json"], "not a checkpoint of the sub-network r64"),
        (["checkpoint={files}/fruit"], "tells other classes apart"),
        (["checkpoint={files}/ours", "data.in_chans=1"], "is for 3 channels"),
        (["checkpoint={files}/razor_static.pth", "arch={files}/arch.json,smallest"], "it cannot be evaluated as 2"),
        (["checkpoint={files}/nnabla_static.h5", "arch=largest"], "name the sub-network of the file with arch="),
        (["checkpoint={files}/nnabla_static.h5", "arch={files}/arch.json,smallest"], "it cannot be evaluated as 2"),
        (["space=mbv3_w1.2"], "not a checkpoint of mbv3_w1.2"),
        (["space=mbv4"], "no space named 'mbv4'"),
        (["data.root={files}/nowhere"], "nowhere does not exist"),
        (["data.root={photos}/val/apple"], "has no class folders"),
        (["data=digits", "data.root=null"], "3 classes apart, digits has 10"),
        (["arch={files}/missing.yaml"], "missing.yaml: no such file"),
        (["arch={files}/short.yaml"], "short.yaml: backbone.layers.6.2.expand_ratio_se"),
        (["all=true"], "networks; at most 1,000"),
        (["data.test_transform=squash"], "squash"),
    ],
)
def test_bad_input_is_one_clear_line(words, message, files, photos, capsys):
    (files / "short.pth").write_bytes((files / "official.pth").read_bytes()[:-5000])
    lines = (files / "subnet.yaml").read_text().splitlines(keepends=True)
    (files / "short.yaml").write_text("".join(line for line in lines if "layers.6.2.expand_ratio_se" not in line))
    other = Arch(64, create_space("mbv3_w1.0").uniform(7, 4, 3).stages)
    (files / "other.json").write_text(other.to_json())
    given = [f"arch={files}/arch.json", f"checkpoint={files}/razor.pth", f"data.root={photos}"]
    given += [word.format(files=files, photos=photos) for word in words]
    assert message in error(capsys, *given)


def test_a_run_keeps_its_own_images(capsys):
    assert "a run has its own images" in error(capsys, "run=runs/x", "data=imagenet")
    assert "leave data, space and resolution out" in error(capsys, "run=runs/x", "space=resnet50")
    assert "run=FOLDER is needed" in error(capsys)
