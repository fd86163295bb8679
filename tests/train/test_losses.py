import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onceforall.train import Objective
from onceforall.train.losses import label_loss, soft_loss, subnet_loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    teacher = torch.randn(6, 5, dtype=torch.float64, generator=generator).softmax(1)
    return logits, torch.tensor([0, 1, 2, 3, 4, 0]), teacher


def test_label_loss_smooths_towards_the_uniform_distribution(batch):
    logits, labels, _ = batch
    target = 0.9 * torch.nn.functional.one_hot(labels, 5).double() + 0.1 / 5
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert label_loss(logits, labels, 0.1).item() == pytest.approx(expected.item(), rel=1e-12)


def test_soft_loss_is_least_at_the_teacher(batch):
    logits, _, teacher = batch
    entropy = -(teacher * teacher.log()).sum(1).mean()
    assert soft_loss(teacher.log(), teacher).item() == pytest.approx(entropy.item())
    assert soft_loss(logits, teacher) > entropy


def test_subnet_loss_adds_the_weighted_parts(batch):
    logits, labels, teacher = batch
    objective = Objective("teacher", kd_ratio=0.7, label_ratio=0.4, label_smoothing=0.2)
    expected = 0.7 * soft_loss(logits, teacher) + 0.4 * label_loss(logits, labels, 0.2)
    assert subnet_loss(logits, labels, teacher, objective).item() == pytest.approx(expected.item())
    assert subnet_loss(logits, labels, None, objective).item() == label_loss(logits, labels, 0.2).item()
    only_soft = Objective("teacher", kd_ratio=1.0, label_ratio=0.0)
    assert subnet_loss(logits, labels, teacher, only_soft).item() == soft_loss(logits, teacher).item()


def test_half_precision_logits_give_a_float32_loss(batch):
    logits, labels, teacher = batch
    loss = subnet_loss(logits.bfloat16(), labels, teacher.float(), Objective("teacher"))
    assert loss.dtype == torch.float32


@given(
    distill=st.sampled_from(["none", "teacher", "inplace"]),
    subnets=st.integers(1, 6),
    kd_ratio=st.floats(0.1, 3),
    label_ratio=st.floats(0, 3),
)
def test_a_mean_step_has_total_weight_one(distill, subnets, kd_ratio, label_ratio):
    objective = Objective(distill, kd_ratio, label_ratio, reduction="mean")
    taught = {"none": 0, "teacher": subnets, "inplace": subnets - 1}[distill]
    weights = [1.0] * (subnets - taught) + [kd_ratio + label_ratio] * taught
    assert math.isclose(objective.total_weight(subnets), sum(weights))
    assert math.isclose(objective.scale(subnets) * sum(weights), 1)
    assert Objective(distill, kd_ratio, label_ratio, reduction="sum").scale(subnets) == 1
