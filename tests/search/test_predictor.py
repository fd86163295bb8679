import math
from pathlib import Path

import numpy as np
import pytest

from onceforall.cost import kendall_tau
from onceforall.errors import ConfigError, FileFormatError, RunError
from onceforall.search import AccuracyPredictor, spread_codes
from onceforall.search.gaussian_process import GaussianProcess, Inputs
from onceforall.space import create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0")
LAND = Landscape(SPACE)
NOISE = 0.005


def labelled(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = spread_codes(SPACE, count, rng)
    return codes, LAND.accuracy(codes) + rng.normal(size=count) * NOISE


@pytest.fixture(scope="module", params=["gaussian_process", "mlp_ensemble"])
def fitted(request: pytest.FixtureRequest) -> AccuracyPredictor:
    codes, top1 = labelled(80)
    return AccuracyPredictor(SPACE, LAND.macs, "macs", weights="abc", model=request.param).fit(codes, top1)


def test_ranks_unseen_networks_and_knows_its_error(fitted: AccuracyPredictor) -> None:
    codes, _ = labelled(600, seed=9)
    truth = LAND.accuracy(codes)
    mean, error = fitted.predict_with_error(codes)
    assert kendall_tau(mean, truth) > 0.85
    assert math.sqrt(((mean - truth) ** 2).mean()) < 0.01
    within = (np.abs(mean - truth) < 2 * error).mean()
    assert within > 0.85, "error bars cover the truth"
    assert error.mean() < 0.03, "and say something"
    np.testing.assert_array_equal(fitted.predict(SPACE.decode(codes[:20])), mean[:20])


def test_more_labels_help() -> None:
    test = spread_codes(SPACE, 500, np.random.default_rng(7))
    taus = []
    for count in (20, 150):
        codes, top1 = labelled(count, seed=3)
        taus.append(kendall_tau(AccuracyPredictor(SPACE).fit(codes, top1).predict(test), LAND.accuracy(test)))
    assert taus[1] > taus[0] + 0.05


def test_quality_is_cross_validated(fitted: AccuracyPredictor) -> None:
    """Labels without any relation to the networks must not look predictable."""
    quality = fitted.quality
    assert quality.n_labels == len(quality.pairs) == 80
    assert quality.r2 > 0.85
    measured, predicted = np.array(quality.pairs).T
    assert quality.kendall_tau == pytest.approx(kendall_tau(measured, predicted))
    assert quality.kendall_tau > 0.75
    assert "80 labels" in str(quality)
    codes, _ = labelled(60, seed=5)
    noise = AccuracyPredictor(SPACE).fit(codes, np.random.default_rng(0).uniform(0.5, 0.6, 60))
    assert abs(noise.quality.kendall_tau) < 0.3
    assert noise.quality.r2 < 0.3


def test_save_and_load(fitted: AccuracyPredictor, tmp_path: Path) -> None:
    fitted.save(tmp_path / "predictor")
    loaded = AccuracyPredictor.load(tmp_path / "predictor", space=SPACE, weights="abc", cost=LAND.macs)
    codes, _ = labelled(50, seed=2)
    np.testing.assert_allclose(loaded.predict_with_error(codes), fitted.predict_with_error(codes), rtol=1e-12)
    assert loaded.quality == fitted.quality
    with pytest.raises(RunError, match="other weights"):
        AccuracyPredictor.load(tmp_path / "predictor", weights="xyz", cost=LAND.macs)
    with pytest.raises(RunError, match=r"predicts space mbv3_w1\.0, not this resnet_small"):
        AccuracyPredictor.load(tmp_path / "predictor", space=create_space("resnet_small"), cost=LAND.macs)
    with pytest.raises(ConfigError, match="fitted with macs"):
        AccuracyPredictor.load(tmp_path / "predictor")
    with pytest.raises(FileFormatError, match="does not exist"):
        AccuracyPredictor.load(tmp_path / "nothing")
    content = (tmp_path / "predictor.safetensors").read_bytes()
    (tmp_path / "predictor.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="not a saved accuracy predictor"):
        AccuracyPredictor.load(tmp_path / "predictor", cost=LAND.macs)


def test_bad_labels() -> None:
    codes, top1 = labelled(10)
    predictor = AccuracyPredictor(SPACE)
    with pytest.raises(RunError, match="not fitted"):
        predictor.predict(codes)
    with pytest.raises(RunError, match="not fitted"):
        _ = predictor.quality
    with pytest.raises(ConfigError, match="at least 6"):
        predictor.fit(codes[:3], top1[:3])
    with pytest.raises(ConfigError, match="fractions, not percent"):
        predictor.fit(codes, 100 * top1)
    with pytest.raises(ConfigError, match="NaN"):
        predictor.fit(codes, np.where(np.arange(10) == 4, np.nan, top1))
    with pytest.raises(ConfigError, match="one label each"):
        predictor.fit(codes, top1[:5])


def test_equal_labels_are_a_flat_prediction() -> None:
    codes, _ = labelled(12)
    predictor = AccuracyPredictor(SPACE).fit(codes, np.full(12, 0.5))
    np.testing.assert_allclose(predictor.predict(codes), 0.5, atol=1e-6)
    assert predictor.quality.kendall_tau == 0.0
    assert len(predictor.predict(codes[:0])) == 0


def test_gaussian_process_interpolates_clean_labels() -> None:
    x = np.linspace(-1, 1, 40)
    inputs = Inputs(x[:, None], x)
    process = GaussianProcess(inputs, np.sin(3 * x))
    mean, error = process.predict(inputs, with_error=True)
    np.testing.assert_allclose(mean, np.sin(3 * x), atol=0.05)
    _, far = process.predict(Inputs(np.array([[4.0]]), np.array([4.0])), with_error=True)
    assert far[0] > 5 * error.mean(), "little is known far away"
