"""Statistics that are estimated once, and predictions made with them."""

import numpy as np
import pytest
import torch

from onceforall.data import VIEWS, DataConfig, load_data
from onceforall.errors import ConfigError, DataError
from onceforall.supernets import create_supernet
from onceforall.train import calibrated, predictions
from onceforall.train.calibrated import CalibratedNetworks
from onceforall.train.evaluate import calibrated_network
from onceforall.train.predictions import predict_each


@pytest.fixture(scope="module")
def supernet(digits):
    supernet = create_supernet("resnet_small", len(digits.classes), digits.in_chans, resolutions=[8, 12])
    supernet.reset_parameters(0)
    return supernet.eval()


def networks_in(folder, supernet, source, **changes):
    settings = {"weights": "w", "calibration_images": 100, "batch_size": 30, **changes}
    return CalibratedNetworks(supernet, source, folder, **settings)


def test_the_network_is_the_one_that_is_evaluated(supernet, digits, tmp_path):
    arch = supernet.space.smallest
    expected = calibrated_network(supernet, arch, digits, calibration_images=100, batch_size=30).state_dict()
    networks = networks_in(tmp_path, supernet, digits)
    for found in (networks.network(arch), networks_in(tmp_path, supernet, digits).network(arch)):
        assert not found.training
        for name, value in found.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_statistics_are_estimated_once(supernet, digits, tmp_path, monkeypatch):
    arch = supernet.space.largest
    networks_in(tmp_path, supernet, digits).network(arch)
    done = []
    monkeypatch.setattr(calibrated, "calibrate", lambda network, images: done.append(len(images)))
    networks_in(tmp_path, supernet, digits).network(arch)
    assert done == []
    for change in ({"weights": "v"}, {"calibration_images": 60}, {"seed": 1}, {"batch_size": 40}):
        networks_in(tmp_path, supernet, digits, **change).network(arch)
    assert len(done) == 4
    (tmp_path / f"{arch.name}.safetensors").write_bytes(b"half")
    networks_in(tmp_path, supernet, digits, batch_size=40).network(arch)
    assert len(done) == 5


def test_without_calibration_the_weights_have_their_own_statistics(supernet, digits, tmp_path):
    arch = supernet.space.smallest
    found = networks_in(tmp_path, supernet, digits, calibration_images=0).network(arch)
    expected = supernet.extract(arch).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("held", [2**31, 0])
def test_probabilities_are_those_of_each_network_whether_images_are_held_or_not(
    supernet, digits, tmp_path, monkeypatch, held
):
    monkeypatch.setattr(predictions, "_HELD_BYTES", held)
    archs = supernet.space.sample_many(5, np.random.default_rng(0))
    networks = networks_in(tmp_path, supernet, digits)
    images = digits.test.subset(np.arange(50))
    found = dict(
        predict_each(networks, archs, digits, images, views=[VIEWS["plain"], VIEWS["mirrored"]], networks_at_once=2)
    )
    assert found.keys() == set(archs)
    for arch, (probabilities, mirrored) in found.items():
        assert probabilities.shape == (50, len(digits.classes))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        network = networks.network(arch)
        shown = predictions.eval_batches(
            images, resolution=arch.resolution, batch_size=50, mean=digits.mean, std=digits.std, device="cpu"
        )
        pixels = next(shown)[0]
        for found_of_view, view in ((probabilities, pixels), (mirrored, pixels.flip(-1))):
            with torch.no_grad():
                expected = network(view).softmax(1).numpy()
            np.testing.assert_allclose(found_of_view, expected, rtol=1e-3, atol=1e-5)


def test_zoomed_views_of_photos_are_cut_out_of_them(tmp_path, write_photos):
    source = load_data(DataConfig(root=str(write_photos(tmp_path / "photos")), workers=0))
    supernet = create_supernet("mbv3_small", len(source.classes), resolutions=[32]).eval()
    networks = networks_in(tmp_path / "statistics", supernet, source, calibration_images=0)
    arch, order = supernet.space.smallest, ["zoomed-mirrored", "plain", "mirrored", "zoomed"]
    ((_, found),) = predict_each(networks, [arch], source, source.test, views=[VIEWS[view] for view in order])
    network = networks.network(arch)
    for view, probabilities in zip(order, found, strict=True):
        images = VIEWS[view].cut_from(source.test)
        batches = predictions.eval_batches(
            images, resolution=32, batch_size=50, mean=source.mean, std=source.std, device="cpu"
        )
        with torch.no_grad():
            expected = network(VIEWS[view].turned(next(batches)[0])).softmax(1).numpy()
        np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-5)


def test_small_images_in_memory_have_no_zoomed_views(supernet, digits, tmp_path):
    networks = networks_in(tmp_path, supernet, digits)
    with pytest.raises(ConfigError, match="zoomed views are cut out of photos"):
        list(predict_each(networks, [supernet.space.smallest], digits, digits.test, views=[VIEWS["zoomed"]]))


def test_an_unreadable_image_is_named(tmp_path, write_photos):
    root = write_photos(tmp_path / "photos", parts=("train", "test"))
    source = load_data(DataConfig(root=str(root), workers=0))
    broken = root / "test" / "apple" / "003.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    supernet = create_supernet("mbv3_small", len(source.classes), resolutions=[32]).eval()
    networks = networks_in(tmp_path / "statistics", supernet, source, calibration_images=0)
    with pytest.raises(DataError, match=str(broken)):
        list(predict_each(networks, [supernet.space.smallest], source, source.test, views=[VIEWS["plain"]]))
