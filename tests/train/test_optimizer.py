import copy

import pytest
import torch
from torch import nn

from onceforall.elastic.norm import ElasticBatchNorm2d
from onceforall.errors import ConfigError
from onceforall.supernets import create_supernet
from onceforall.train import OptimizerConfig, create_optimizer, parameter_groups
from onceforall.train.optimizer import (
    base_learning_rate,
    forget,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)


def tiny_network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    layers(torch.randn(2, 3, 8, 8))
    return layers.to(memory_format=torch.channels_last)


def take_steps(
    network: nn.Module, optimizer: torch.optim.Optimizer, first: int, count: int, skip: bool = False
) -> None:
    for step in range(first, first + count):
        set_learning_rate(optimizer, 0.1 / (1 + step))
        optimizer.zero_grad()
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        network(images).square().mean().backward()
        if skip and step % 2 == 0:
            network[2].weight.grad = None
        optimizer.step()


def test_norms_and_biases_have_no_decay_and_kernel_matrices_do():
    supernet = create_supernet("mbv3_w1.0", 1000)
    plain, decayed = parameter_groups(supernet, 3e-5)
    assert (len(plain["params"]), plain["weight_decay"]) == (153, 0.0)
    assert (len(decayed["params"]), decayed["weight_decay"]) == (130, 3e-5)
    norms = [p for m in supernet.modules() if isinstance(m, ElasticBatchNorm2d) for p in m.parameters()]
    biases = [p for name, p in supernet.named_parameters() if name.endswith("bias")]
    chosen = {id(p) for p in plain["params"]}
    assert norms
    assert all(id(p) in chosen for p in norms + biases)
    matrices = [p for name, p in supernet.named_parameters() if "transform" in name]
    assert len(matrices) == 40
    assert not chosen & {id(p) for p in matrices}


def test_the_fused_step_is_the_plain_one_also_for_weights_unused_at_first():
    network = tiny_network()
    other = copy.deepcopy(network)
    config = OptimizerConfig(weight_decay=1e-2)
    plain = torch.optim.SGD(parameter_groups(other, 1e-2), lr=0.1, momentum=0.9, nesterov=True, foreach=False)
    take_steps(network, create_optimizer(network, config), 0, 6, skip=True)
    take_steps(other, plain, 0, 6, skip=True)
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_state_written_and_read_goes_on_bit_by_bit(name):
    config = OptimizerConfig(name=name)
    whole, interrupted = tiny_network(), tiny_network()
    take_steps(whole, create_optimizer(whole, config), 0, 8)
    first = create_optimizer(interrupted, config)
    take_steps(interrupted, first, 0, 5)
    saved = {key: tensor.contiguous().clone() for key, tensor in optimizer_tensors(first).items()}
    second = create_optimizer(interrupted, config)
    load_optimizer_tensors(second, saved)
    take_steps(interrupted, second, 5, 3)
    for ours, theirs in zip(interrupted.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_forgetting_makes_the_next_step_a_first_step():
    network = tiny_network()
    optimizer = create_optimizer(network, OptimizerConfig())
    take_steps(network, optimizer, 0, 3)
    fresh_network = copy.deepcopy(network)
    forget(optimizer)
    take_steps(network, optimizer, 3, 2)
    take_steps(fresh_network, create_optimizer(fresh_network, OptimizerConfig()), 3, 2)
    for ours, theirs in zip(network.parameters(), fresh_network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_momentum_may_be_off():
    network = tiny_network()
    optimizer = create_optimizer(network, OptimizerConfig(momentum=0.0))
    take_steps(network, optimizer, 0, 2)
    assert not optimizer_tensors(optimizer)


def test_unknown_optimisers_are_refused():
    with pytest.raises(ConfigError, match=r"optimizer.name=lion: no such optimiser; there are sgd, adamw"):
        create_optimizer(tiny_network(), OptimizerConfig(name="lion"))


def test_every_optimiser_has_a_learning_rate_that_suits_it():
    assert base_learning_rate(OptimizerConfig("sgd")) == 0.2
    assert base_learning_rate(OptimizerConfig("adamw")) == 0.001
    assert base_learning_rate(OptimizerConfig("sgd"), share=0.1) == pytest.approx(0.02)
    assert base_learning_rate(OptimizerConfig("adamw", base_learning_rate=0.5), share=0.1) == 0.5
