import copy
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from onceforall.supernets import create_supernet
from onceforall.train import Objective, accumulate_gradients, parameter_groups, train_step
from onceforall.train.losses import label_loss, soft_loss


@pytest.fixture(scope="module", name="supernet_and_batch")
def make_supernet_and_batch():
    supernet = create_supernet("mbv3_small", num_classes=7, resolutions=[16])
    supernet.reset_parameters(1)
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(6, 3, 16, 16, generator=generator, dtype=torch.float64)
    return supernet.double(), images, torch.tensor([0, 1, 2, 3, 4, 5])


@pytest.fixture
def setting(supernet_and_batch):
    supernet, images, labels = supernet_and_batch
    archs = supernet.space.sample_many(3, np.random.default_rng(0))
    return copy.deepcopy(supernet).train(), images, labels, archs


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def sgd(model):
    return torch.optim.SGD(parameter_groups(model, 3e-5), lr=0.1, momentum=0.9, nesterov=True)


def test_gradients_of_a_step_are_the_sum_over_its_sub_networks(setting):
    supernet, images, labels, archs = setting
    teacher = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_hand = copy.deepcopy(supernet)
    total = sum(
        0.5 * soft_loss(by_hand(images, arch), teacher.softmax(1)) + label_loss(by_hand(images, arch), labels, 0.1)
        for arch in archs
    )
    total.backward()
    objective = Objective("teacher", kd_ratio=0.5, label_ratio=1.0, reduction="sum")
    losses = accumulate_gradients(supernet, images, labels, archs, objective, teacher_logits_NC=teacher)
    assert losses.shape == (3,)
    assert not losses.requires_grad
    assert losses.sum().item() == pytest.approx(total.item(), rel=1e-12)
    expected = gradients(by_hand)
    assert gradients(supernet).keys() == expected.keys()
    for name, gradient in gradients(supernet).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12)


def test_mean_is_the_sum_divided_by_all_weights(setting):
    supernet, images, labels, archs = setting
    other = copy.deepcopy(supernet)
    teacher = torch.zeros(6, 7, dtype=torch.float64)
    summed = Objective("teacher", kd_ratio=1.0, label_ratio=0.5, reduction="sum")
    accumulate_gradients(supernet, images, labels, archs, summed, teacher_logits_NC=teacher)
    mean = replace(summed, reduction="mean")
    accumulate_gradients(other, images, labels, archs, mean, teacher_logits_NC=teacher)
    for name, gradient in gradients(other).items():
        torch.testing.assert_close(gradient * 4.5, gradients(supernet)[name])


def test_in_place_the_first_learns_from_labels_and_teaches_the_others(setting):
    supernet, images, labels, archs = setting
    by_hand = copy.deepcopy(supernet)
    first = by_hand(images, archs[0])
    total = label_loss(first, labels, 0.1)
    for arch in archs[1:]:
        total = total + soft_loss(by_hand(images, arch), first.detach().softmax(1))
    total.backward()
    objective = Objective("inplace", kd_ratio=1.0, label_ratio=0.0, reduction="sum")
    accumulate_gradients(supernet, images, labels, archs, objective)
    for name, gradient in gradients(supernet).items():
        torch.testing.assert_close(gradient, gradients(by_hand)[name], rtol=1e-9, atol=1e-12)


def test_a_missing_teacher_is_an_error(setting):
    supernet, images, labels, archs = setting
    with pytest.raises(ValueError, match="teacher_logits_NC"):
        accumulate_gradients(supernet, images, labels, archs, Objective("teacher"))


def test_unused_weights_stay_exactly_as_they_are_unless_gradients_are_zero_filled(setting):
    supernet, images, labels, _ = setting
    space = supernet.space
    optimizer = sgd(supernet)
    deep, shallow = space.largest, space.uniform(kernel_size=5, depth=1)
    unused = [name for name, _ in supernet.named_parameters() if name.startswith("stages.0.2.") or "transform" in name]
    assert len(unused) > 5
    train_step(supernet, optimizer, images, labels, [deep], Objective())
    for set_to_none in (True, False):
        before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
        train_step(supernet, optimizer, images, labels, [shallow], Objective(), set_to_none=set_to_none)
        moved = {name for name, p in supernet.named_parameters() if not torch.equal(p, before[name])}
        assert "stages.0.0.expand.weight" in moved
        expected = set() if set_to_none else {name for name in unused if "transform" not in name}
        assert moved & set(unused) == expected
        train_step(supernet, optimizer, images, labels, [deep], Objective(), set_to_none=set_to_none)


def test_gradients_are_averaged_and_clipped_before_the_update(setting):
    supernet, images, labels, archs = setting
    seen = []

    def average(parameters):
        seen.extend(parameters)
        for parameter in parameters:
            parameter.grad *= 100

    optimizer = torch.optim.SGD(supernet.parameters(), lr=1.0)
    before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
    train_step(
        supernet, optimizer, images, labels, archs, Objective(), clip_gradient_norm=0.1, average_gradients=average
    )
    assert len(seen) == sum(p.grad is not None for p in supernet.parameters())
    moved = torch.cat([(p.detach() - before[name]).flatten() for name, p in supernet.named_parameters()])
    assert moved.norm().item() == pytest.approx(0.1, rel=1e-3)


def test_a_plain_network_trains_alike(setting):
    supernet, images, labels, _ = setting
    network = supernet.extract(supernet.space.largest).train()
    first = train_step(network, sgd(network), images, labels, (None,), Objective(), autocast_dtype=None)
    same = train_step(supernet, sgd(supernet), images, labels, (supernet.space.largest,), Objective())
    assert first.item() == pytest.approx(same.item(), rel=1e-9)


def test_mixed_precision_keeps_weights_in_float32():
    supernet = create_supernet("resnet_small", num_classes=4, resolutions=[8]).train()
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    archs = [supernet.space.largest, supernet.space.smallest]
    losses = train_step(
        supernet, sgd(supernet), images, labels, archs, Objective("inplace"), autocast_dtype=torch.bfloat16
    )
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all()
    assert {p.dtype for p in supernet.parameters()} == {torch.float32}


class _Held:
    """A tensor autograd keeps, counted while it is kept."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def most_bytes_kept(model: nn.Module, images, labels, archs) -> int:
    """Largest total of what autograd keeps for backward passes during the gradients of a step."""
    sizes = {"now": 0, "most": 0}

    def release(size: int) -> None:
        sizes["now"] -= size

    def pack(tensor: torch.Tensor) -> _Held:
        held, size = _Held(tensor), tensor.numel() * tensor.element_size()
        sizes["now"] += size
        sizes["most"] = max(sizes["most"], sizes["now"])
        weakref.finalize(held, release, size)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        accumulate_gradients(model, images, labels, archs, Objective("inplace" if len(archs) > 1 else "none"))
    return sizes["most"]


def test_a_step_keeps_one_graph_at_a_time(setting):
    supernet, images, labels, archs = setting
    network = supernet.extract(supernet.space.largest).train()
    static = most_bytes_kept(network, images, labels, [None])
    elastic = most_bytes_kept(supernet, images, labels, [supernet.space.largest, supernet.space.smallest, *archs])
    assert elastic <= 1.15 * static
