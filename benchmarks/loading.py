"""Images per second that one core can prepare for training, beside the usual torchvision pipelines.

    python benchmarks/loading.py [--quick] [--photos FOLDER]

CPU time of one process with one thread, so that other load on the machine hardly matters; ours and theirs take turns
and the median of the rounds counts. Both sides end with a normalised float32 batch. The last line is one JSON object.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reporting import finish
from torchvision import transforms

from onceforall.data import AugmentConfig, DataConfig, EncodedImages, ImageSet, ResidentImages, load_data, train_batches
from onceforall.data.decode import open_image

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
BATCH = 128
WORKERS = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds, under a minute")
    parser.add_argument("--photos", type=Path, help="image folder or parquet folder; by default photos are made up")
    parser.add_argument("--resolution", type=int, default=128, help="side of the photo crops in pixels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 3 if options.quick else 7
    small_steps, photo_steps = (40, 2) if options.quick else (200, 6)
    with tempfile.TemporaryDirectory() as folder:
        root = options.photos or make_photos(Path(folder), 64 if options.quick else 256)
        photos = load_data(DataConfig(root=str(root), holdout=0, test_fraction=0, resident="false")).train
        small = ResidentImages(torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8), np.zeros(10_000, int))
        side = options.resolution
        figures = {
            "resident": take_turns(
                rounds,
                lambda: run(ours(small, small_steps, 32)),
                lambda: run(small_peer(small, max(1, small_steps // 10))),
            ),
            "files": take_turns(
                rounds, lambda: run(ours(photos, photo_steps, side)), lambda: run(photo_peer(photos, photo_steps, side))
            ),
        }
        with_workers = wall_time(ours(photos, 2 + 8 * photo_steps, side, WORKERS))
    for name, (mine, peer) in figures.items():
        print(f"{name:<10} {mine:>9,.0f} images/s per core; torchvision {peer:>7,.0f}; ratio {mine / peer:.1f}")
    print(f"files with {WORKERS} workers: {with_workers:,.0f} images/s of wall time, whatever else the machine does")
    result = {
        "resident_images_per_second_per_core": round(figures["resident"][0]),
        "resident_over_torchvision": round(figures["resident"][0] / figures["resident"][1], 2),
        "files_images_per_second_per_core": round(figures["files"][0]),
        "files_over_torchvision": round(figures["files"][0] / figures["files"][1], 2),
        "files_images_per_second_two_workers_wall": round(with_workers),
        "photos": str(options.photos.name if options.photos else "made up, 500x375 JPEG"),
        "resolution": options.resolution,
        "batch_size": BATCH,
    }
    finish(result)


def ours(images: ImageSet, steps: int, resolution: int, workers: int = 0) -> Iterator[torch.Tensor]:
    """Our training batches."""
    batches = train_batches(
        images,
        batch_size=BATCH,
        seed=0,
        start_step=0,
        stop_step=steps,
        resolution_of=lambda _: resolution,
        augment=AugmentConfig(),
        mean=MEAN,
        std=STD,
        device="cpu",
        workers=workers,
    )
    return (batch for batch, _ in batches)


def small_peer(images: ResidentImages, steps: int) -> Iterator[torch.Tensor]:
    """Per-image pad-and-crop, flip, ToTensor, Normalize, as most CIFAR scripts have it."""
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    pixels = images.images.permute(0, 2, 3, 1).contiguous().numpy()
    for step in range(steps):
        yield torch.stack([transform(Image.fromarray(image)) for image in pixels[step * BATCH : (step + 1) * BATCH]])


def photo_peer(images: ImageSet, steps: int, resolution: int) -> Iterator[torch.Tensor]:
    """Per-image decode, random resized crop, flip, ToTensor, Normalize, as most ImageNet scripts have it."""
    assert isinstance(images, EncodedImages)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(resolution, scale=(AugmentConfig().crop_scale, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    order = np.resize(np.random.default_rng(0).permutation(len(images)), steps * BATCH)
    for step in range(steps):
        chosen = order[step * BATCH : (step + 1) * BATCH]
        yield torch.stack([transform(open_image(images.payload(int(i))).convert("RGB")) for i in chosen])


def run(batches: Iterator[torch.Tensor]) -> float:
    """Images per second of CPU time."""
    started = time.process_time()
    count = sum(len(batch) for batch in batches)
    return count / (time.process_time() - started)


def wall_time(batches: Iterator[torch.Tensor]) -> float:
    """Images per second of wall time, from the second batch on: starting the workers is not their speed."""
    next(batches), next(batches)
    started = time.perf_counter()
    count = sum(len(batch) for batch in batches)
    return count / (time.perf_counter() - started)


def take_turns(rounds: int, *sides: Callable[[], float]) -> list[float]:
    """The median of each side, measured in turns after one round to warm up."""
    measured = [[side() for side in sides] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*measured, strict=True)]


def make_photos(root: Path, count: int) -> Path:
    """Write photo-like JPEG files of 500x375 pixels in two class folders: smooth shapes plus fine grain."""
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = np.clip(smooth + generator.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
        path = root / f"class{index % 2}" / f"{index:04d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    return root


if __name__ == "__main__":
    main()
