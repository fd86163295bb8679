import numpy as np
import pytest

from onceforall.errors import ConfigError
from onceforall.search import Objective
from onceforall.search.objective import check_objectives
from onceforall.space import SearchSpace, create_space

SPACE = create_space("mbv3_w1.0", resolutions=(160, 192, 224))
ROWS = SPACE.sample_codes(5, np.random.default_rng(0))


class Model:
    """Predicts the resolution of a network."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return np.array(self.space.resolutions, dtype=float)[codes[:, 0]]


class AdaptingModel(Model):
    def for_space(self, space: SearchSpace) -> "AdaptingModel":
        return AdaptingModel(space)


def test_direction() -> None:
    up = Objective("size", lambda codes: codes[:, 0], maximise=True)
    np.testing.assert_array_equal(up.minimised(ROWS), -ROWS[:, 0].astype(float))
    np.testing.assert_array_equal(Objective("size", up.function).minimised(ROWS), ROWS[:, 0])


def test_of_a_model() -> None:
    narrow = SPACE.restrict(resolutions=(224,))
    row = narrow.encode([narrow.largest])
    assert Objective.of("size", Model(SPACE), SPACE).minimised(SPACE.encode([SPACE.largest]))[0] == 224
    assert Objective.of("size", AdaptingModel(SPACE), narrow, maximise=True).minimised(row)[0] == -224
    with pytest.raises(ConfigError, match=r"objective size was made for space mbv3_w1\.0, with other choices"):
        Objective.of("size", Model(SPACE), narrow)
    with pytest.raises(ConfigError, match="objective latency_ms has no model"):
        Objective.of("latency_ms", None, SPACE)


def test_bad_values_and_lists() -> None:
    for value, text in ((np.nan, "latency_ms is nan for 5 of 5"), (np.inf, "latency_ms is inf")):
        with pytest.raises(ConfigError, match=text):
            Objective("latency_ms", lambda codes, value=value: np.full(len(codes), value)).minimised(ROWS)
    with pytest.raises(ConfigError, match="one value each"):
        Objective("latency_ms", lambda codes: np.zeros(3)).minimised(ROWS)
    one = Objective("latency_ms", lambda codes: codes[:, 0])
    with pytest.raises(ConfigError, match="at least two objectives"):
        check_objectives([one])
    with pytest.raises(ConfigError, match="same name"):
        check_objectives([one, one])
