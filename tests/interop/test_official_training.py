"""The official training step, draw by draw, in float64: three steps of two sub-networks with a drifting teacher."""

import json

import numpy as np
import pytest
import torch

from onceforall.interop.official import load_checkpoint, sample_arch, subnet_seed
from onceforall.supernets import create_supernet
from onceforall.train import Objective, cosine_learning_rate
from onceforall.train.optimizer import parameter_groups, set_learning_rate
from onceforall.train.step import train_step

from .official import golden, named_officially, rule_supernet, rule_tensors

STEPS = 3


@pytest.mark.parametrize("index", [0, 1])
def test_training_steps_equal_official(shared, index):
    case = golden(shared, "train_steps_mbv3_w1.0")[index]
    student = rule_supernet(shared, "mbv3_w1.0").double().train()
    teacher = static_teacher(shared).double().train()
    groups = parameter_groups(student, 3e-5)
    decayed = [group for group in groups if group["weight_decay"] > 0]
    assert sum(len(group["params"]) for group in decayed) == case["n_decay"]
    assert sum(len(group["params"]) for group in groups) == case["n_decay"] + case["n_no_decay"]
    optimizer = torch.optim.SGD(groups, lr=2e-3, momentum=0.9, nesterov=True)
    objective = Objective(distill="teacher", kd_ratio=1.0, label_smoothing=0.1, reduction="sum")
    losses = []
    for batch in range(STEPS):
        draw = np.random.RandomState(30000 + batch)
        images = torch.from_numpy(draw.standard_normal((6, 3, 64, 64)) + 2 * draw.standard_normal((6, 3, 1, 1)))
        labels = torch.from_numpy(draw.randint(0, 1000, 6)).long()
        step = case["epoch"] * STEPS + batch
        set_learning_rate(optimizer, cosine_learning_rate(step, 120 * STEPS, 2e-3))
        with torch.no_grad():
            teacher_logits = teacher(images)
        archs = [sample_arch(student.space, subnet_seed(step, number)) for number in range(2)]
        losses += train_step(
            student,
            optimizer,
            images,
            labels,
            archs,
            objective,
            teacher_logits_NC=teacher_logits,
            set_to_none=case["variant"] == "zero_grad_to_none",
        ).tolist()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(float(case["lr_last"]), rel=1e-12)
    assert np.mean(losses) == pytest.approx(float(case["avg_loss"]), rel=1e-9)
    assert_digests(named_officially(student), case["student"])
    static = {key.replace(".bn.bn.", ".bn."): tensor for key, tensor in named_officially(teacher).items()}
    assert_digests(static, case["teacher_running"])


def static_teacher(shared):
    """The largest network with static key names and weights of its own; the supernet that holds it plays its part."""
    described = json.loads((shared / "specs" / "keys_teacher_mbv3large_d4e6k7.json").read_text())
    entries = described["keys"] if isinstance(described, dict) else described
    tensors = rule_tensors(shared, {entry["key"]: tuple(entry["shape"]) for entry in entries})
    teacher = create_supernet("mbv3_w1.0")
    missing = load_checkpoint(teacher, tensors, strict=False)
    assert len(missing) == 40
    assert all(key.endswith("_matrix") for key in missing)
    return teacher


def assert_digests(tensors, expected):
    """Sum and sum of absolute values of every tensor the golden file names."""
    for key, (total, absolute) in expected.items():
        tensor = tensors[key].double()
        assert float(tensor.abs().sum()) == pytest.approx(float(absolute), rel=1e-7), key
        assert float(tensor.sum()) == pytest.approx(float(total), rel=1e-7, abs=1e-7 * float(absolute)), key
