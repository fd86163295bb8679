import errno
import json
import os
import resource
import subprocess
import sys

import pytest
import torch

from onceforall.errors import RunError, StorageError
from onceforall.train.checkpoint import Checkpoint, check_same_run, load_newest_checkpoint, run_lock, save_checkpoint


def checkpoint(step: int, size: int = 10) -> Checkpoint:
    weights = torch.arange(size, dtype=torch.float32) + step
    images = torch.ones(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    return Checkpoint(step, {"supernet": {"w": weights, "c": images}, "optimizer": {"0.m": -weights}}, {"loss": 0.5})


def nothing(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


def test_the_newest_comes_back_as_it_was_and_two_are_kept(tmp_path):
    assert load_newest_checkpoint(tmp_path, nothing) is None
    for step in (3, 12, 200):
        save_checkpoint(tmp_path, checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000012", "step_00000200"]
    found = load_newest_checkpoint(tmp_path, nothing)
    assert found is not None
    assert (found.step, found.metadata) == (200, {"loss": 0.5})
    for name, tensors in checkpoint(200).parts.items():
        assert found.parts[name].keys() == tensors.keys()
        assert all(torch.equal(found.parts[name][key], tensor) for key, tensor in tensors.items())


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "no description", "foreign", "newer format"])
def test_a_damaged_newest_is_named_and_the_older_one_used(tmp_path, damage):
    save_checkpoint(tmp_path, checkpoint(1))
    folder = save_checkpoint(tmp_path, checkpoint(2))
    weights, description = folder / "supernet.safetensors", folder / "checkpoint.json"
    content = bytearray(weights.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "truncated":
        weights.write_bytes(content[:-4])
    elif damage == "missing":
        weights.unlink()
    elif damage == "no description":
        description.unlink()
    elif damage == "foreign":
        description.write_text("[]")
    else:
        description.write_text(json.dumps(json.loads(description.read_text()) | {"format": 99}))
    warnings: list[str] = []
    found = load_newest_checkpoint(tmp_path, warnings.append)
    assert found is not None
    assert found.step == 1
    assert len(warnings) == 1
    assert str(folder) in warnings[0]
    save_checkpoint(tmp_path, checkpoint(2))  # the run comes to the same step again
    again = load_newest_checkpoint(tmp_path, nothing)
    assert again is not None
    assert again.step == 2


def test_only_damaged_ones_are_an_error_with_the_remedy(tmp_path):
    (tmp_path / "step_00000004").mkdir()
    warnings: list[str] = []
    with pytest.raises(RunError, match=r"all checkpoints in .* are damaged; remove that folder"):
        load_newest_checkpoint(tmp_path, warnings.append)
    assert len(warnings) == 1


def test_a_full_disk_leaves_the_older_checkpoint_intact(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # the kernel refuses to write more, as a full disk
    try:
        with pytest.raises(StorageError, match="what was there before is unchanged") as caught:
            save_checkpoint(tmp_path, checkpoint(2, size=10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
    found = load_newest_checkpoint(tmp_path, nothing)
    assert found is not None
    assert found.step == 1


def test_one_process_at_a_time_may_train_in_a_folder(tmp_path):
    folder = tmp_path / "run" / "checkpoint"
    script = (
        "import sys; from onceforall.train.checkpoint import run_lock; from pathlib import Path\n"
        "with run_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=r"another process is training in .*run; wait"), run_lock(folder):
            pass
        other.kill()
        other.communicate()
    leftover = folder / ".step_00000007.abc"
    leftover.mkdir()
    with run_lock(folder):  # the system released the lock of the killed process
        assert not leftover.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_clear_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="choose another run folder"), run_lock(tmp_path / "checkpoint"):
        pass


def test_a_file_in_place_of_the_folder_is_one_clear_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="choose another run folder"), run_lock(tmp_path / "run" / "checkpoint"):
        pass


def test_another_run_is_refused_by_what_differs(tmp_path):
    saved = {"epochs": 10, "space.name": "resnet_small", "seed": 0, "gone": 1}
    check_same_run(tmp_path, saved, dict(saved))
    now = {"epochs": 20, "space.name": "mbv3_small", "seed": 0, "added": 2}
    with pytest.raises(RunError) as caught:
        check_same_run(tmp_path, saved, now)
    message = str(caught.value)
    assert "epochs=10 (now 20)" in message
    assert "space.name=resnet_small (now mbv3_small)" in message
    assert "gone=1 (now nothing)" in message
    assert "added=nothing (now 2)" in message
    assert "seed" not in message
    many = {f"key{number}": number for number in range(9)}
    with pytest.raises(RunError, match="and 5 more"):
        check_same_run(tmp_path, many, {})
