import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onceforall.data.workers import TEST_TRANSFORMS, BatchRequest, RandomCrop, decode_batch

ENDLESS = """
import sys
import numpy as np
from onceforall.data.workers import BatchRequest, decode_ahead

def main():
    request = BatchRequest([sys.argv[1]] * 4, ["x"] * 4, np.zeros(4, dtype=np.int64), 3, 32)
    for number, batch in enumerate(decode_ahead(iter(lambda: request, None), workers=1)):
        if number == 0:
            print("decoding", flush=True)

if __name__ == "__main__":
    main()
"""


def request(paths: list[Path], **options) -> BatchRequest:
    labels = np.arange(len(paths), dtype=np.int64)
    return BatchRequest([str(path) for path in paths], [path.name for path in paths], labels, 3, 24, **options)


@pytest.fixture
def paths(tmp_path, write_photos) -> list[Path]:
    return sorted(write_photos(tmp_path).rglob("*.jpg"))


def test_a_crop_depends_on_its_own_seed_only(paths):
    crop = RandomCrop(scale=0.3, ratio=4 / 3, flip=True)
    seeds = np.arange(len(paths))
    whole = decode_batch(request(paths, seeds=seeds, crop=crop))
    back = decode_batch(request(paths[::-1], seeds=seeds[::-1], crop=crop))
    assert whole.pixels.shape == (18, 24, 24, 3)
    assert np.array_equal(whole.pixels, back.pixels[::-1])
    other = decode_batch(request(paths, seeds=seeds + 100, crop=crop))
    assert (whole.pixels != other.pixels).any((1, 2, 3)).all()


def test_half_of_the_crops_are_mirrored(paths):
    seeds = np.arange(200)
    views = [
        decode_batch(request(paths[:1] * 200, seeds=seeds, crop=RandomCrop(1.0, 1.0, flip=flip))).pixels
        for flip in (True, False)
    ]
    mirrored = (views[0] == views[1][:, :, ::-1]).all((1, 2, 3))
    plain = (views[0] == views[1]).all((1, 2, 3))
    assert (mirrored ^ plain).all()
    assert 70 < mirrored.sum() < 130


@pytest.mark.parametrize("resolution", [140, 152, 224])
@pytest.mark.parametrize("size", [(97, 301), (320, 240), (200, 200)])
def test_the_official_test_transform_is_torchvisions_pixel_for_pixel(tmp_path, resolution, size):
    from torchvision.transforms import CenterCrop, Compose, Resize

    for mode in ("RGB", "L", "CMYK"):
        noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(tmp_path / f"{mode}.jpg")
    paths = sorted(tmp_path.glob("*.jpg"))
    asked = replace(request(paths), resolution=resolution)
    for name, resize, side in (("official", math.ceil(resolution / 0.875), resolution), ("mmrazor", 256, 224)):
        decoded = decode_batch(replace(asked, test_transform=name))
        transform = Compose([Resize(resize), CenterCrop(side)])
        expected = [np.asarray(transform(Image.open(path).convert("RGB"))) for path in paths]
        assert np.array_equal(decoded.pixels, np.stack(expected))


def test_the_test_transforms_show_the_same_part_and_training_crops_do_not_care(paths):
    centre, official, mmrazor = (decode_batch(request(paths, test_transform=name)) for name in TEST_TRANSFORMS)
    assert np.abs(centre.pixels.astype(int) - official.pixels).mean() < 6
    assert (centre.pixels.shape, mmrazor.pixels.shape) == ((18, 24, 24, 3), (18, 224, 224, 3))
    crop, seeds = RandomCrop(0.5, 4 / 3, flip=True), np.arange(len(paths))
    trained = [decode_batch(request(paths, crop=crop, seeds=seeds, test_transform=name)) for name in TEST_TRANSFORMS]
    assert all(np.array_equal(trained[0].pixels, other.pixels) for other in trained)


def test_broken_images_are_named_and_the_positions_of_the_others_kept(paths):
    paths[2].write_bytes(b"")
    batch = decode_batch(request(paths[:5]))
    assert batch.kept.tolist() == batch.labels.tolist() == [0, 1, 3, 4]
    assert len(batch.pixels) == 4
    assert [image.name for image in batch.corrupt] == [paths[2].name]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_no_worker_outlives_a_killed_run(tmp_path, paths):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen([sys.executable, str(script), str(paths[0])], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "decoding\n"
        started = _descendants(run.pid)
        run.send_signal(signal.SIGKILL)
    assert len(started) >= 2  # the fork server and a worker
    deadline = time.monotonic() + 20
    while (left := [pid for pid in started if _is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = children.get(pid, [])
    return found + [grandchild for child in found for grandchild in children.get(child, [])]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
