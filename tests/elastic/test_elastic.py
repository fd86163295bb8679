"""Elastic layers: prefixes, kernel transforms, batch norm, calibration, sorting."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from onceforall.elastic import ElasticBatchNorm2d, ElasticDepthwiseConv2d, calibrate, shrink_kernel, sorted_order
from onceforall.errors import DataError


def test_kernel_chain_crops_and_transforms_step_by_step():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 1, 7, 7, generator=generator, dtype=torch.float64)
    five = torch.randn(25, 25, generator=generator, dtype=torch.float64)
    three = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    transforms = {"7to5": five, "5to3": three}
    assert shrink_kernel(weight, 7, (3, 5, 7), transforms) is weight
    for channel in range(4):
        vector = five @ weight[channel, 0, 1:6, 1:6].reshape(25)
        torch.testing.assert_close(shrink_kernel(weight, 5, (3, 5, 7), transforms)[channel].reshape(25), vector)
        vector = three @ vector.reshape(5, 5)[1:4, 1:4].reshape(9)
        torch.testing.assert_close(shrink_kernel(weight, 3, (3, 5, 7), transforms)[channel].reshape(9), vector)


@pytest.mark.parametrize("stride", [1, 2])
def test_kernel_size_never_changes_the_map(stride):
    layer = ElasticDepthwiseConv2d(6, (3, 5, 7), stride)
    torch.nn.init.normal_(layer.weight)
    sizes = {layer(torch.randn(1, 4, 15, 15), kernel_size).shape for kernel_size in (3, 5, 7)}
    assert len(sizes) == 1


def test_batch_norm_uses_and_updates_only_the_prefix():
    norm = ElasticBatchNorm2d(8)
    images = torch.randn(5, 3, 4, 4) + 2
    output = norm(images)
    torch.testing.assert_close(output, F.batch_norm(images, None, None, training=True))
    assert (norm.running_mean[:3] != 0).all()
    assert (norm.running_mean[3:] == 0).all()
    assert norm.num_batches_tracked == 1
    norm.eval()
    expected = F.batch_norm(images, norm.running_mean[:3], norm.running_var[:3])
    torch.testing.assert_close(norm(images), expected)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_a_prefix_of_channels_is_a_narrow_batch_norm(momentum):
    """Also without momentum, where torch keeps the plain average of all batches."""
    norm, narrow = ElasticBatchNorm2d(8, momentum=momentum), torch.nn.BatchNorm2d(3, momentum=momentum)
    for shift in range(4):
        images = torch.randn(5, 3, 4, 4) + shift
        torch.testing.assert_close(norm(images), narrow(images))
    torch.testing.assert_close(norm.running_mean[:3], narrow.running_mean)
    torch.testing.assert_close(norm.running_var[:3], narrow.running_var)
    assert norm.num_batches_tracked == narrow.num_batches_tracked == 4


def test_calibration_averages_batches_by_size():
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.ReLU()).double()
    draw = np.random.default_rng(0)
    batches = [torch.from_numpy(draw.normal(size=(n, 2, 3, 3))) for n in (5, 3)]
    calibrate(module, batches)
    means = torch.stack([b.mean((0, 2, 3)) for b in batches])
    variances = torch.stack([b.var((0, 2, 3), correction=0) for b in batches])
    weights = torch.tensor([5 / 8, 3 / 8], dtype=torch.float64)[:, None]
    torch.testing.assert_close(module[0].running_mean, (weights * means).sum(0))
    torch.testing.assert_close(module[0].running_var, (weights * variances).sum(0))
    assert not module[0].training
    assert module[0].momentum == 0.1
    assert module[0].num_batches_tracked == 0


@pytest.mark.parametrize("wide", [0, 3])
def test_calibration_takes_one_value_per_channel(wide):
    """A single image on a 1x1 map has the biased variance 0; torch itself would refuse it."""
    module = torch.nn.Sequential(ElasticBatchNorm2d(2 + wide), torch.nn.ReLU())
    torch.nn.init.constant_(module[0].bias, 0.5)
    outputs = []
    module.register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    batches = [torch.randn(3, 2, 1, 1), torch.randn(1, 2, 1, 1)]
    calibrate(module, batches)
    torch.testing.assert_close(module[0].running_mean[:2], torch.cat(batches).mean((0, 2, 3)))
    torch.testing.assert_close(module[0].running_var[:2], batches[0].var((0, 2, 3), correction=0) * 3 / 4)
    torch.testing.assert_close(outputs[1], torch.full_like(outputs[1], 0.5), rtol=0, atol=1e-4)
    assert not any(layer.training for layer in module.modules())


def test_calibration_leaves_channels_beyond_the_network_alone():
    norm = ElasticBatchNorm2d(8)
    torch.nn.init.uniform_(norm.running_mean)
    torch.nn.init.uniform_(norm.running_var)
    before = norm.running_mean.clone(), norm.running_var.clone()
    images = torch.randn(5, 3, 4, 4) + 2
    calibrate(norm, [images[:2], images[2:]])
    torch.testing.assert_close(norm.running_mean[:3], images.mean((0, 2, 3)))
    assert torch.equal(norm.running_mean[3:], before[0][3:])
    assert torch.equal(norm.running_var[3:], before[1][3:])


def test_calibration_that_fails_changes_nothing():
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(2)).eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}

    def images():
        yield torch.randn(4, 2, 3, 3)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        calibrate(module, images())
    with pytest.raises(DataError):
        calibrate(module, [])
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    assert module[0].momentum == 0.1


def test_sorting_is_stable_and_stays_inside_groups():
    importance = torch.tensor([1.0, 5.0, 1.0, 9.0, 2.0, 2.0])
    assert sorted_order(importance).tolist() == [3, 1, 4, 5, 0, 2]
    assert sorted_order(importance, [3]).tolist() == [1, 0, 2, 3, 4, 5]
