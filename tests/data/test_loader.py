import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.data import (
    AugmentConfig,
    DataConfig,
    EncodedImages,
    ResidentImages,
    calibration_batches,
    eval_batches,
    load_data,
    steps_per_epoch,
    train_batches,
    worker_count,
)
from onceforall.data.decode import read_centre
from onceforall.data.images import ImageSet, PathEntries
from onceforall.errors import ConfigError, DataError

UNITS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "device": "cpu"}
GENERATOR = np.random.default_rng(0)
SMALL = ResidentImages(
    torch.from_numpy(GENERATOR.integers(0, 256, (50, 3, 16, 16), dtype=np.uint8)), np.arange(50, dtype=np.int64)
)
EVERYTHING = AugmentConfig(cutout=0.3, brightness=0.2, saturation=0.5)


@pytest.fixture
def photos(tmp_path, write_photos) -> EncodedImages:
    paths = sorted(str(path) for path in write_photos(tmp_path, per_class=10).rglob("*.jpg"))
    return EncodedImages(PathEntries(paths), np.arange(30, dtype=np.int64))


def train(images: ImageSet, start: int = 0, stop: int = 8, **options) -> list:
    given = {"batch_size": 12, "seed": 3, "resolution_of": lambda step: (16, 24, 12)[step % 3], "augment": EVERYTHING}
    return list(train_batches(images, start_step=start, stop_step=stop, **UNITS | given | options))


def same(first: list, second: list) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("kind", ["resident", "encoded"])
def test_a_run_that_starts_later_sees_the_same_batches(kind, photos):
    images = SMALL if kind == "resident" else photos
    whole = train(images)
    assert same(whole[5:], train(images, start=5))
    assert not same(whole[:1], train(images, stop=1, seed=4))


@pytest.mark.parametrize("kind", ["resident", "encoded"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_see_together_what_one_process_sees(kind, photos, world_size):
    images = SMALL if kind == "resident" else photos
    ranks = [train(images, rank=rank, world_size=world_size) for rank in range(world_size)]
    joint = [tuple(torch.cat(parts) for parts in zip(*step, strict=True)) for step in zip(*ranks, strict=True)]
    assert same(train(images), joint)


def test_batches_are_float_labels_are_whole_and_the_resolution_is_the_steps():
    for step, (images, labels) in enumerate(train(SMALL, memory_format=torch.channels_last)):
        side = (16, 24, 12)[step % 3]
        assert images.shape == (12, 3, side, side)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


def test_the_callers_random_state_is_left_alone(photos):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    train(photos, stop=2)
    train(SMALL, stop=2)
    assert torch.equal(before, torch.get_rng_state())


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 5))
def test_an_epoch_shows_every_image_at_most_once_and_a_small_set_repeats(count, batch_size, seed):
    images = SMALL.subset(np.arange(count))
    steps = steps_per_epoch(count, batch_size)
    batches = train(images, stop=2 * steps, batch_size=batch_size, seed=seed, augment=None)
    assert all(len(labels) == batch_size for _, labels in batches)
    for epoch in (batches[:steps], batches[steps:]):
        times = np.bincount(torch.cat([labels for _, labels in epoch]), minlength=count)
        if batch_size <= count:
            assert times.max() == 1
            assert times.sum() == steps * batch_size
        else:
            assert times.max() - times.min() <= 1


def test_epochs_have_different_orders():
    first, second = (torch.cat([labels for _, labels in train(SMALL, start, start + 4)]) for start in (0, 4))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", ["resident", "encoded"])
def test_an_image_looks_different_in_every_epoch(kind, photos):
    images = (SMALL if kind == "resident" else photos).subset(np.arange(12))
    epochs = train(images, stop=4, resolution_of=lambda _: 16)  # a batch is the whole set
    shown = torch.stack([batch[torch.argsort(labels)] for batch, labels in epochs])
    for first in range(4):
        for second in range(first):
            assert (shown[first] != shown[second]).flatten(1).any(1).sum() >= 11


def test_without_augmentation_a_batch_is_the_images_themselves():
    ((images, labels),) = train(SMALL, stop=1, augment=None)
    expected = (SMALL.images[labels].float() / 255 - 0.5) / 0.25
    assert torch.allclose(images, expected, atol=1e-5)


def test_mirroring_follows_the_source_unless_it_is_said():
    asymmetric = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    asymmetric[..., :8] = 255

    def mirrored(mirror: bool, flip: bool | None) -> int:
        images = ResidentImages(asymmetric, np.zeros(8, dtype=np.int64), mirror=mirror)
        batches = train(images, stop=6, resolution_of=lambda _: 16, augment=AugmentConfig(shift=0, flip=flip))
        return sum(int((batch[:, 0, 0, 0] < 0).sum()) for batch, _ in batches)

    assert mirrored(False, None) == mirrored(True, False) == 0
    assert 20 < mirrored(True, None) == mirrored(False, True) < 52


def test_digits_are_shifted_by_at_most_a_pixel_onto_black(digits_source):
    source = digits_source
    units = {"mean": (0.0,), "std": (1.0,), "device": "cpu"}
    options = {"batch_size": 64, "seed": 0, "start_step": 0, "stop_step": 1, "resolution_of": lambda _: 8}
    ((plain, _),) = train_batches(source.train, augment=None, **options, **units)
    ((shifted, _),) = train_batches(source.train, augment=AugmentConfig(), **options, **units)
    around = torch.nn.functional.pad(plain, (1, 1, 1, 1))
    windows = around.unfold(2, 8, 1).unfold(3, 8, 1).reshape(64, 9, 8, 8)
    assert (windows == shifted).all(-1).all(-1).any(1).all()
    assert not torch.equal(plain, shifted)


def test_evaluation_shows_every_image_once_in_order(photos):
    for images in (SMALL, photos):
        batches = list(eval_batches(images, resolution=20, batch_size=8, **UNITS))
        assert torch.cat([labels for _, labels in batches]).tolist() == list(range(len(images)))
        assert {tuple(batch.shape[1:]) for batch, _ in batches} == {(3, 20, 20)}
        assert len(batches[-1][0]) == len(images) % 8


def test_calibration_images_are_a_fixed_choice_at_every_resolution():
    options = {"batch_size": 16, "seed": 1, **UNITS}
    small = list(calibration_batches(SMALL, resolution=16, images=40, **options))
    assert [len(batch) for batch in small] == [16, 16, 8]
    assert same([small], [list(calibration_batches(SMALL, resolution=16, images=40, **options))])
    seen = torch.cat(small)
    everything = torch.cat([batch for batch, _ in eval_batches(SMALL, resolution=16, batch_size=50, **UNITS)])
    matches = (seen[:, None] == everything[None]).flatten(2).all(2)
    assert (matches.sum(1) == 1).all()
    assert matches.any(0).sum() == 40
    assert sum(len(batch) for batch in calibration_batches(SMALL, resolution=8, images=10_000, **options)) == 50


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"), [(33, 16, [16, 17]), (5, 1, [2, 3]), (1, 16, [1]), (34, 16, [16, 16, 2])]
)
def test_calibration_avoids_batches_of_a_single_image(images, batch_size, sizes):
    batches = calibration_batches(SMALL, resolution=8, images=images, batch_size=batch_size, seed=1, **UNITS)
    assert [len(batch) for batch in batches] == sizes


def test_an_image_that_breaks_later_is_reported_and_missing(photos, caplog):
    broken = photos.name(4)
    with open(broken, "wb") as file:
        file.write(b"")
    reports = []
    options = {"resolution": 16, "batch_size": 10, "on_corrupt": lambda *report: reports.append(report), **UNITS}
    batches = list(eval_batches(photos, **options))
    assert [len(images) for images, _ in batches] == [9, 10, 10]
    assert 4 not in torch.cat([labels for _, labels in batches])
    assert reports[0][0] == broken
    assert "cannot identify" in reports[0][1]
    assert caplog.text == ""
    sizes = [len(labels) for _, labels in train(photos, stop=2, on_corrupt=lambda *report: reports.append(report))]
    assert sum(sizes) == 24 - (len(reports) - 1)


def test_a_broken_image_is_logged_once(photos, caplog):
    open(photos.name(4), "wb").close()
    for part in (photos, photos.subset(np.arange(10))):
        list(eval_batches(part, resolution=16, batch_size=10, **UNITS))
    assert caplog.text.count(f"corrupt image skipped: {photos.name(4)}") == 1


def test_the_other_images_of_a_batch_are_the_same_with_and_without_the_broken_one(photos):
    whole = train(photos, stop=2)
    victim = int(whole[0][1][5])
    with open(photos.name(victim), "wb") as file:
        file.write(b"")
    images, labels = train(photos, stop=2)[0]
    kept = whole[0][1] != victim
    assert torch.equal(labels, whole[0][1][kept])
    assert torch.equal(images, whole[0][0][kept])


def test_a_batch_of_nothing_stops(photos):
    for index in range(30):
        open(photos.name(index), "wb").close()
    with pytest.raises(DataError, match=r"no image of a whole batch can be read, e\.g\. .*check the folder"):
        train(photos)


def test_impossible_batches_name_the_remedy():
    with pytest.raises(ConfigError, match="batch size 12 cannot be shared by 5 processes"):
        train(SMALL, world_size=5)
    nothing = SMALL.subset(np.arange(0))
    with pytest.raises(DataError, match="training set has no images"):
        train(nothing)
    with pytest.raises(DataError, match="no images"):
        eval_batches(nothing, resolution=16, batch_size=4, **UNITS)


def test_workers_are_as_asked_or_the_cores_divided(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)))
    assert [worker_count(3), worker_count(0), worker_count(-1), worker_count(-1, 4), worker_count(-1, 64)] == [
        3,
        0,
        8,
        3,
        1,
    ]


def test_workers_change_no_bit_and_leave_the_random_state_alone(shared):
    source = load_data(DataConfig(root=str(shared / "data" / "grocery160"), max_train=100))
    options = {"mean": source.mean, "std": source.std, "stop": 4, "resolution_of": lambda step: (64, 48)[step % 2]}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert same(train(source.train, **options), train(source.train, workers=2, **options))
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_evaluate_whole_batches_in_turn(photos):
    options = {"resolution": 24, "batch_size": 4, **UNITS}
    whole = list(eval_batches(photos, **options))
    ranks = [list(eval_batches(photos, rank=rank, world_size=3, **options)) for rank in range(3)]
    assert [len(rank) for rank in ranks] == [3, 3, 2]
    assert same(whole, [ranks[number % 3][number // 3] for number in range(len(whole))])


def test_mmrazor_stretches_its_crop_inside_the_network(photos):
    photos.test_transform = "mmrazor"
    (batch, _), *_ = eval_batches(photos, resolution=140, batch_size=4, **UNITS)
    first = read_centre(photos.payload(0), 3, 256, 224)
    pixels = (torch.from_numpy(first.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    expected = F.interpolate(pixels, (140, 140), mode="bicubic", align_corners=False)
    assert torch.allclose(batch[:1], expected, atol=1e-4)
