"""Parity with numbers made by running the official code: forward, channel sorting, calibration."""

import json

import numpy as np
import pytest
import torch

from onceforall.elastic import calibrate
from onceforall.interop.official import arch_from_dict, to_official

from .official import golden, relative_error, rule, rule_supernet

SPACES = ["mbv3_w1.0", "mbv3_w1.2", "proxyless_w1.3", "resnet50"]


@pytest.mark.parametrize("space", SPACES)
def test_keys_and_shapes_are_the_published_ones(shared, space):
    expected = json.loads((shared / "specs" / f"keys_{space}.json").read_text())["keys"]
    ours = to_official(rule_supernet(shared, space))
    assert {key: list(value.shape) for key, value in ours.items()} == {e["key"]: e["shape"] for e in expected}


@pytest.mark.parametrize("space", SPACES)
def test_forward_equals_official_and_extracted(shared, space):
    supernet = rule_supernet(shared, space)
    double = rule_supernet(shared, space).double()
    inputs = rule(shared).inp
    for case in golden(shared, f"forward_{space}"):
        arch = arch_from_dict(supernet.space, case["arch"])
        images = inputs(arch.resolution)
        with torch.no_grad():
            assert relative_error(double(images.double(), arch), case["f64"]) < 1e-9
            assert relative_error(supernet(images, arch), case["f32"]) < 1e-3
            subnet = double.extract(arch)
            assert relative_error(subnet(images.double()), case["f64"]) < 1e-9
        assert sum(p.numel() for p in subnet.parameters()) == case["params"]


@pytest.mark.parametrize("space", SPACES)
def test_channel_sorting_equals_official(shared, space):
    inputs = rule(shared).inp
    sorted_once = {}
    for case in golden(shared, f"reorg_{space}"):
        if case["stage"] not in sorted_once:
            supernet = rule_supernet(shared, space)
            supernet.sort_channels(case["stage"])
            sorted_once[case["stage"]] = supernet.double()
        supernet = sorted_once[case["stage"]]
        arch = arch_from_dict(supernet.space, case["arch"])
        with torch.no_grad():
            logits = supernet(inputs(arch.resolution).double(), arch)
        assert relative_error(logits, case["f64"]) < 1e-9
        tensors = to_official(supernet)
        for key, first in case["probe"].items():
            np.testing.assert_allclose(tensors[key][: len(first)].numpy(), [float(v) for v in first], rtol=1e-6)


@pytest.mark.parametrize("space", SPACES)
def test_calibration_equals_official(shared, space):
    for case in golden(shared, f"bn_recalib_{space}"):
        supernet = rule_supernet(shared, space).double()
        arch = arch_from_dict(supernet.space, case["arch"])
        subnet = supernet.extract(arch)
        size = arch.resolution
        batches = []
        for index, count in enumerate((5, 3)):
            draw = np.random.RandomState(20000 + 100 * index + size)
            images = draw.standard_normal((count, 3, size, size)) + 2 * draw.standard_normal((count, 3, 1, 1))
            batches.append(torch.from_numpy(images))
        calibrate(subnet, batches)
        with torch.no_grad():
            logits = subnet(rule(shared).inp(size).double())
        assert relative_error(logits, case["f64"]) < 1e-9
        norms = [layer for layer in subnet.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        name = next(key for key in case["probe"] if key.startswith(("first_conv.bn.running_var", "input_stem.0.")))
        expected = [float(value) for value in case["probe"][name]["first4"]]
        np.testing.assert_allclose(getattr(norms[0], name.split(".")[-1])[:4].numpy(), expected, rtol=1e-9)
