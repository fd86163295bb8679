"""The published accuracy predictors and their encoders, against numbers of the official code."""

import numpy as np
import pytest
import torch

from onceforall.errors import ConfigError, FileFormatError, InvalidArch
from onceforall.interop.official import (
    ArchEncoder,
    arch_from_dict,
    arch_to_dict,
    load_accuracy_predictor,
    nas_choices,
    tutorial_choices,
)
from onceforall.interop.official.encoders import TUTORIAL_RESOLUTIONS
from onceforall.space import create_space

from .official import golden

FAMILIES = {"mbv3": "mbv3_w1.0", "mbv2": "proxyless_w1.3", "resnet50": "resnet50"}


@pytest.fixture(scope="module")
def tutorial(shared):
    return shared / "official" / "acc_predictor.pth"


@pytest.fixture(scope="module")
def resnet(shared):
    return shared / "official" / "ofa_resnet50_acc_predictor.pth"


def ones(encoded):
    return [np.flatnonzero(row).tolist() for row in encoded]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_codes", [False, True])
def test_tutorial_predictions_equal_official(shared, tutorial, dtype, as_codes):
    predictor = load_accuracy_predictor(tutorial, dtype=dtype)
    assert predictor.resolutions == (160, 176, 192, 208, 224)
    cases = golden(shared, "tutorial_predictors_mbv3_w1.2")
    archs = [arch_from_dict(predictor.space, case["spec"]) for case in cases]
    given = predictor.space.encode(archs) if as_codes else archs
    predicted = predictor.predict(given)
    assert predicted.dtype == np.float64
    for key in ("acc_f32", "acc_f64"):
        np.testing.assert_allclose(predicted, [float(case[key]) for case in cases], rtol=0, atol=1e-6)
    if dtype is np.float64:
        np.testing.assert_allclose(predicted, [float(case["acc_f64"]) for case in cases], rtol=0, atol=1e-14)
    assert ones(predictor.encoder.encode(given)) == [case["feature_ones"] for case in cases]


def test_every_resolution_once_it_is_forced(shared, tutorial):
    predictor = load_accuracy_predictor(tutorial, force=True, dtype=np.float64)
    cases = golden(shared, "tutorial_acc_all_resolutions")
    archs = [arch_from_dict(predictor.space, case["spec"]) for case in cases]
    assert {arch.resolution for arch in archs} == set(predictor.resolutions) == set(TUTORIAL_RESOLUTIONS)
    np.testing.assert_allclose(predictor.predict(archs), [float(c["acc_f64"]) for c in cases], rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resnet_predictions_equal_official(shared, resnet, dtype):
    predictor = load_accuracy_predictor(resnet, dtype=dtype)
    cases = golden(shared, "resnet50_predictor")
    archs = [arch_from_dict(predictor.space, case["arch"]) for case in cases]
    predicted = predictor.predict(archs)
    for key in ("acc_f32", "acc_f64"):
        np.testing.assert_allclose(predicted, [float(case[key]) for case in cases], rtol=0, atol=1e-6)
    if dtype is np.float64:
        np.testing.assert_allclose(predicted, [float(case["acc_f64"]) for case in cases], rtol=0, atol=1e-14)
    assert ones(predictor.encoder.encode(archs)) == [case["feature_ones"] for case in cases]


def test_encoders_there_and_back(shared):
    for case in golden(shared, "nas_encoders"):
        space = create_space(FAMILIES[case["space_type"]], resolutions=case["image_size_list"])
        encoder = ArchEncoder(space, nas_choices(space.layout, case["image_size_list"]))
        arch = arch_from_dict(space, case["arch"])
        encoded = encoder.encode([arch])
        assert encoded.shape == (1, case["n_dim"]) == (1, encoder.dimensions)
        assert ones(encoded) == [case["feature_ones"]]
        assert encoder.decode(encoded) == [arch]
        assert arch_to_dict(encoder.decode(encoded)[0]) == case["feature2arch"]


@pytest.mark.parametrize("name", ["mbv3_w1.2", "proxyless_w1.3", "resnet50", "compound_w1.0"])
def test_features_of_any_network_come_back(name):
    space = create_space(name)
    encoder = ArchEncoder(space, nas_choices(space.layout, space.resolutions))
    codes = space.sample_codes(200, np.random.default_rng(0))
    assert encoder.decode(encoder.encode(codes)) == space.decode(codes)


def test_features_of_no_network_are_refused():
    space = create_space("mbv3_w1.0", resolutions=[224])
    encoder = ArchEncoder(space, tutorial_choices(space.layout))
    encoded = encoder.encode([space.largest])
    encoded[0, 3:6] = 0  # the second block of the first stage has no kernel size
    with pytest.raises(InvalidArch, match=r"stage1\.block2\.kernel_size"):
        encoder.decode(encoded)


def test_restricted_spaces_predict_the_same(tutorial, resnet):
    predictor = load_accuracy_predictor(tutorial)
    space = create_space("mbv3_w1.2", kernel_sizes=[3, 7], depths=[2, 3], resolutions=[176, 224])
    archs = space.sample_many(20, np.random.default_rng(0))
    narrow = predictor.for_space(space)
    assert narrow.resolutions == (176, 224)
    assert space.encode(archs).shape[1] < predictor.space.encode(archs).shape[1]
    np.testing.assert_array_equal(narrow.predict(space.encode(archs)), predictor.predict(archs))
    predictor = load_accuracy_predictor(resnet)
    space = create_space("resnet50", width_mults=[0.65, 1], depths=[0, 2, 4], resolutions=[160])
    archs = space.sample_many(20, np.random.default_rng(0))
    np.testing.assert_array_equal(predictor.for_space(space).predict(archs), predictor.predict(archs))


def test_many_rows_are_the_rows_one_by_one(tutorial):
    predictor = load_accuracy_predictor(tutorial, dtype=np.float64)
    codes = predictor.space.sample_codes(1200, np.random.default_rng(0))
    one_by_one = np.concatenate([predictor.predict(codes[i : i + 1]) for i in range(0, 1200, 37)])
    np.testing.assert_allclose(predictor.predict(codes)[::37], one_by_one, rtol=1e-13)
    assert predictor.predict(codes[:0]).shape == (0,)


def test_resolutions_the_tutorial_predictor_misjudges_are_refused(tutorial):
    predictor = load_accuracy_predictor(tutorial, create_space("mbv3_w1.2"))
    space = predictor.space
    assert predictor.resolutions == (160, 176, 192, 208, 224)
    message = r"was not made for 128 px \(it takes 160, 176, 192, 208, 224\); it misjudges networks below 160 px, force"
    with pytest.raises(ConfigError, match=message):
        predictor.predict([space.largest, space.smallest])
    with pytest.raises(ConfigError, match=message):
        predictor.predict(space.encode([space.largest, space.smallest]))
    with pytest.raises(ConfigError, match=r"was not made for 164 px \(it takes 160, 176, 192, 208, 224\)$"):
        predictor.predict([space.uniform(resolution=164)])
    assert load_accuracy_predictor(tutorial, space, force=True).predict([space.smallest]).shape == (1,)


def test_spaces_the_tutorial_predictor_was_not_trained_on(tutorial):
    space = create_space("mbv3_w1.0")
    with pytest.raises(ConfigError, match=r"trained on networks of mbv3_w1\.2, not of mbv3_w1\.0; force=True"):
        load_accuracy_predictor(tutorial, space)
    forced = load_accuracy_predictor(tutorial, space, force=True)
    other = load_accuracy_predictor(tutorial)
    assert forced.predict([space.largest]) == other.predict([other.space.largest])
    with pytest.raises(ConfigError, match="no accuracy predictor for networks of kind bottleneck"):
        load_accuracy_predictor(tutorial, create_space("resnet50"))
    with pytest.raises(ConfigError, match=r"stage1\.block1\.kernel_size = 1 of space .* is unknown"):
        forced.for_space(one_by_one_kernels())


def one_by_one_kernels():
    from dataclasses import replace

    space = create_space("mbv3_w1.0")
    return replace(space, stages=(replace(space.stages[0], kernel_sizes=(1, 3)), *space.stages[1:]))


def write_mobile(path, inputs, hidden=8):
    """A predictor of the later kind for other inputs, with weights drawn from a seed."""
    draw = np.random.default_rng(inputs)
    shapes = {"layers.0.0.weight": (hidden, inputs), "layers.0.0.bias": (hidden,), "layers.1.weight": (1, hidden)}
    tensors = {key: torch.from_numpy(draw.standard_normal(shape)) for key, shape in shapes.items()}
    torch.save({"state_dict": {**tensors, "base_acc": torch.tensor(0.7)}}, path)
    return tensors


@pytest.mark.parametrize(("name", "sizes", "inputs"), [("mbv3_w1.0", (160, 224), 122), ("proxyless_w1.3", (224,), 127)])
def test_mobile_predictors_of_the_later_kind(name, sizes, inputs, tmp_path):
    tensors = write_mobile(tmp_path / "predictor", inputs)
    space = create_space(name, resolutions=sizes)
    predictor = load_accuracy_predictor(tmp_path / "predictor", space, sizes, dtype=np.float64)
    archs = space.sample_many(5, np.random.default_rng(0))
    features = torch.from_numpy(predictor.encoder.encode(archs)).double()
    hidden = torch.relu(features @ tensors["layers.0.0.weight"].T + tensors["layers.0.0.bias"])
    expected = (hidden @ tensors["layers.1.weight"].T)[:, 0] + torch.tensor(0.7).double()
    np.testing.assert_allclose(predictor.predict(archs), expected.numpy(), rtol=1e-12)


def test_files_that_do_not_fit(tmp_path, tutorial, resnet):
    write_mobile(tmp_path / "mobile", 122)
    with pytest.raises(ConfigError, match="does not tell which space its 122 inputs are for; give space="):
        load_accuracy_predictor(tmp_path / "mobile")
    with pytest.raises(FileFormatError, match=r"122 inputs, but architectures of mbv3_w1\.0 have 123 features"):
        load_accuracy_predictor(tmp_path / "mobile", create_space("mbv3_w1.0"), (160, 192, 224))
    with pytest.raises(FileFormatError, match="82 inputs, but architectures of resnet50 have 83 features"):
        load_accuracy_predictor(resnet, create_space("resnet50"), range(128, 257, 16))
    tensors = torch.load(tutorial, map_location="cpu", weights_only=True)
    for change, message in (
        ({"2.weight": torch.zeros(300, 400)}, "its layers have shapes"),
        ({"6.weight": torch.zeros(2, 400)}, "its layers have shapes"),
        ({"4.bias": torch.zeros(7)}, "its layers have shapes"),
        ({"4.weight": torch.zeros(7)}, "it holds 0.bias, 0.weight"),
        ({"classifier.weight": torch.zeros(7)}, "it holds 0.bias, 0.weight"),
        ({1: torch.zeros(7)}, "it holds 0.bias, 0.weight"),
        ({"base_acc": torch.zeros(0)}, "it holds 0.bias, 0.weight"),
    ):
        torch.save({**tensors, **change}, tmp_path / "other")
        with pytest.raises(FileFormatError, match=f"is not an accuracy predictor: {message}"):
            load_accuracy_predictor(tmp_path / "other")
    torch.save({}, tmp_path / "empty")
    with pytest.raises(FileFormatError, match="is not an accuracy predictor: it holds nothing"):
        load_accuracy_predictor(tmp_path / "empty")


def test_damaged_files(tmp_path, tutorial):
    (tmp_path / "short.pth").write_bytes(tutorial.read_bytes()[:20000])
    with pytest.raises(FileFormatError, match=r"short\.pth is not a whole torch file"):
        load_accuracy_predictor(tmp_path / "short.pth")
    torch.save({"0.weight": np.load}, tmp_path / "code.pth")
    with pytest.raises(FileFormatError, match="it could run code and is refused"):
        load_accuracy_predictor(tmp_path / "code.pth")
    with pytest.raises(FileFormatError, match="does not exist"):
        load_accuracy_predictor(tmp_path / "missing.pth")
