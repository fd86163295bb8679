from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from onceforall.data import calibration_batches, eval_batches
from onceforall.elastic import calibrate
from onceforall.errors import DataError, InvalidArch
from onceforall.supernets import create_supernet
from onceforall.train import World, evaluate, evaluate_archs
from onceforall.train.evaluate import _sums, measure_accuracy
from onceforall.train.held import HeldBatches


@pytest.fixture(scope="module")
def supernet(digits):
    supernet = create_supernet("resnet_small", len(digits.classes), digits.in_chans, resolutions=[8, 12])
    supernet.reset_parameters(0)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.02)
    images, labels = digits.train.images.float() / 128 - 1, torch.from_numpy(digits.train.labels)
    for _ in range(6):  # so that predictions differ between architectures
        optimizer.zero_grad()
        F.cross_entropy(supernet(images), labels).backward()
        optimizer.step()
    return supernet


def by_hand(supernet, arch, source, images):
    options = {"batch_size": 30, "mean": source.mean, "std": source.std, "device": "cpu", "resolution": arch.resolution}
    network = supernet.extract(arch)
    calibrate(network, calibration_batches(source.train, images=100, seed=0, **options))
    with torch.no_grad():
        batches = [(network(x), y) for x, y in eval_batches(images, **options)]
    logits, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    top5 = (logits.argsort(1, descending=True)[:, :5] == labels[:, None]).any(1).float().mean()
    return (logits.argmax(1) == labels).float().mean().item(), top5.item(), F.cross_entropy(logits, labels).item()


@pytest.mark.parametrize("part", ["holdout", "test"])
@pytest.mark.parametrize("at_once", [1, 8])
def test_every_architecture_is_extracted_calibrated_and_measured(supernet, digits, part, at_once):
    archs = [*supernet.space.sample_many(3, np.random.default_rng(1)), supernet.space.largest, supernet.space.smallest]
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    done = []
    evaluations = evaluate_archs(
        supernet,
        archs,
        digits,
        part=part,
        calibration_images=100,
        batch_size=30,
        networks_at_once=at_once,
        progress=done.append,
    )
    assert [evaluation.arch for evaluation in evaluations] == archs
    assert done[-1] == len(archs)
    images = getattr(digits, part)
    for evaluation in evaluations:
        top1, top5, loss = by_hand(supernet, evaluation.arch, digits, images)
        assert evaluation.top1 == pytest.approx(top1, abs=1e-6)
        assert evaluation.top5 == pytest.approx(top5, abs=1e-6)
        assert evaluation.loss == pytest.approx(loss, rel=1e-4)
        assert evaluation.images == len(images)
        assert evaluation.top1_error == pytest.approx((top1 * (1 - top1) / len(images)) ** 0.5, abs=1e-6)
    assert len({evaluation.loss for evaluation in evaluations}) == len(archs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


@pytest.mark.parametrize("most_bytes", [0, 2**31])
def test_held_images_are_decoded_once_and_change_nothing(supernet, digits, most_bytes, monkeypatch):
    archs = supernet.space.sample_many(4, np.random.default_rng(1))
    options = {"calibration_images": 100, "batch_size": 30}
    expected = evaluate_archs(supernet, archs, digits, **options)
    decoded = []
    for name in ("eval_batches", "calibration_of"):
        real = getattr(evaluate, name)
        monkeypatch.setattr(evaluate, name, lambda *a, real=real, **k: decoded.append(1) or real(*a, **k))
    held = HeldBatches(most_bytes)
    found = [evaluate_archs(supernet, [arch], digits, held=held, **options)[0] for arch in archs]
    assert found == expected
    assert len(decoded) == 2 * (len({arch.resolution for arch in archs}) if most_bytes else len(archs))


def test_a_limit_takes_a_balanced_part(supernet, digits):
    (evaluation,) = evaluate_archs(supernet, [supernet.space.largest], digits, limit=20, calibration_images=50)
    assert evaluation.images == 20


def test_nothing_to_evaluate_gives_nothing(supernet, digits):
    assert evaluate_archs(supernet, [], digits) == []


def test_foreign_architectures_and_missing_images_are_refused(supernet, digits):
    with pytest.raises(InvalidArch, match="resolution 99"):
        evaluate_archs(supernet, [replace(supernet.space.largest, resolution=99)], digits)
    empty = replace(digits, holdout=digits.holdout.subset(np.arange(0)))
    with pytest.raises(DataError, match=r"no holdout images; train with data.holdout above 0"):
        evaluate_archs(supernet, [supernet.space.largest], empty)


def test_without_calibration_the_statistics_of_the_weights_count(supernet, digits):
    arch = supernet.space.smallest
    (kept,) = evaluate_archs(supernet, [arch], digits, calibration_images=0, batch_size=30)
    network = supernet.extract(arch)
    batches = eval_batches(digits.holdout, resolution=8, batch_size=30, mean=digits.mean, std=digits.std, device="cpu")
    assert kept.loss == measure_accuracy([network], batches)[0][2]
    (calibrated,) = evaluate_archs(supernet, [arch], digits, calibration_images=100, batch_size=30)
    assert calibrated.loss != kept.loss


def test_calibration_needs_training_images(supernet, digits):
    without = replace(digits, train=digits.train.subset(np.arange(0)))
    evaluate_archs(supernet, [supernet.space.smallest], without, calibration_images=0)
    with pytest.raises(DataError, match=r"no training images to calibrate .* calibration_images=0"):
        evaluate_archs(supernet, [supernet.space.smallest], without, calibration_images=100)


class Together(World):
    """The last rank, which hears what those before it have said."""

    def __init__(self, rank: int, before: list) -> None:
        super().__init__(rank, 3)
        object.__setattr__(self, "before", before)

    def gather(self, value):
        self.before.append(value)
        return self.before[:3]


def test_ranks_together_measure_bit_by_bit_what_one_process_measures(supernet, digits):
    networks = [supernet.extract(arch) for arch in (supernet.space.smallest, supernet.space.largest)]
    options = {"resolution": 8, "batch_size": 7, "mean": digits.mean, "std": digits.std, "device": "cpu"}
    alone = measure_accuracy(networks, eval_batches(digits.holdout, **options))
    first, second, third = (eval_batches(digits.holdout, rank=rank, world_size=3, **options) for rank in range(3))
    said = [[_sums(networks, images, labels) for images, labels in batches] for batches in (first, second)]
    assert measure_accuracy(networks, third, Together(2, said)) == alone


def test_an_error_on_one_rank_is_raised_on_all(supernet, digits):
    options = {"resolution": 8, "batch_size": 7, "mean": digits.mean, "std": digits.std, "device": "cpu"}
    batches = eval_batches(digits.holdout, rank=2, world_size=3, **options)
    broken = Together(2, [[], DataError("no image of a whole batch can be read")])
    network = supernet.extract(supernet.space.smallest)
    with pytest.raises(DataError, match="no image of a whole batch"):
        measure_accuracy([network], batches, broken)
