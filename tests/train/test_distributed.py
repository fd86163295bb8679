import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from onceforall.errors import ConfigError
from onceforall.train import World, init_distributed, resolve_device
from onceforall.train.distributed import _port_of, announced_processes

SCRIPT = Path(__file__).with_name("two_processes.py")


def torchrun(folder: Path, task: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*command, str(SCRIPT), str(folder), task], capture_output=True, text=True, timeout=240, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_two_processes_are_one_on_the_joint_batch(tmp_path):
    torchrun(tmp_path, "everything")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["gradient_difference"] < 1e-10
    assert report["weight_difference"] < 1e-10
    assert report["weights_alike"]
    assert report["statistics_differ_before"]
    assert report["statistics_are_the_mean"]
    assert report["agreed"] == [5, 5]
    assert report["errors"] == ["disk full", "disk full"]


def test_a_run_of_two_processes_has_one_story_and_one_result(tmp_path):
    out = torchrun(tmp_path, "train")
    assert (tmp_path / "digest0").read_text() == (tmp_path / "digest1").read_text()
    assert out.count("phase full begins") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    keys = [(line["kind"], line["step"], line.get("label"), line.get("event")) for line in lines]
    assert len(set(keys)) == len(keys)
    assert {line["label"] for line in lines if line["kind"] == "eval"} == {"largest", "smallest", "random1"}
    assert (tmp_path / "run" / "supernet.json").exists()


def test_mpirun_and_srun_variables_join_without_a_port(tmp_path):
    processes = []
    for rank in range(2):
        launcher = {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2"}
        command = [sys.executable, str(SCRIPT), str(tmp_path), "hello"]
        processes.append(subprocess.Popen(command, env=os.environ | launcher, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert json.loads((tmp_path / "report.json").read_text())["agreed"] == [0, 1]


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        variables = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "MASTER_PORT": port}
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} .*set MASTER_PORT to a free port"):
            init_distributed("cpu", variables)


def test_a_process_that_left_is_no_traceback(monkeypatch):
    def left(*arguments, **named):
        raise RuntimeError("Connection closed by peer [127.0.0.1]:12345")

    monkeypatch.setattr(torch.distributed, "init_process_group", left)
    with pytest.raises(ConfigError, match=r"process 1 cannot meet the others on tcp://.*Connection closed by peer"):
        init_distributed("cpu", {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"})


def test_jobs_meet_on_ports_of_their_own():
    jobs = [{"PMIX_NAMESPACE": "1"}, {"PMIX_NAMESPACE": "2"}, {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}, {}]
    ports = [_port_of(job) for job in jobs]
    assert len(set(ports)) == len(ports)
    assert ports == [_port_of(job) for job in jobs]
    assert all(20_000 <= port < 30_000 for port in ports)
    assert _port_of({"MASTER_ADDR": "elsewhere", "PMIX_NAMESPACE": "1"}) == 29500


def test_how_many_processes_a_launcher_started():
    assert announced_processes({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}) == 4
    assert announced_processes({"RANK": "0", "WORLD_SIZE": "8"}) == 8
    assert announced_processes({}) == 1


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 announces several processes"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_SIZE=4"),
        ({"OMPI_COMM_WORLD_SIZE": "4", "RANK": "0", "WORLD_SIZE": "1"}, "OMPI_COMM_WORLD_SIZE=4"),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, "SLURM_NTASKS=8 .* start them with `torchrun"),
        (
            {"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
            "several machines; set MASTER_ADDR",
        ),
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"},
            "several machines; set MASTER_ADDR",
        ),
    ],
)
def test_processes_that_would_train_alone_are_refused(variables, words):
    with pytest.raises(ConfigError, match=words):
        init_distributed("cpu", variables)


@pytest.mark.parametrize(
    "variables", [{}, {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, {"RANK": "0", "WORLD_SIZE": "1"}]
)
def test_a_plain_start_is_a_world_of_one(variables):
    world = init_distributed("cpu", variables)
    assert world == World(0, 1, 0)
    assert world.is_main


def test_a_world_of_one_changes_nothing():
    world, tensor = World(), torch.ones(2)
    world.average([tensor])
    assert tensor.tolist() == [1, 1]
    assert world.agree("x") == "x"
    assert world.gather(3) == [3]
    assert world.from_main(lambda: 7) == 7
    world.close()


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named(device):
    with pytest.raises(ConfigError, match="torch sees no GPU here; use device=cpu"):
        resolve_device(device)
    assert resolve_device("auto").type == "cpu"


def test_an_unknown_device_is_named():
    with pytest.raises(ConfigError, match="device=abacus: no such device; use auto, cpu"):
        resolve_device("abacus")
