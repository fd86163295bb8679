import numpy as np

from onceforall.search.screening import LinearScreen
from onceforall.space import create_space

SPACE = create_space("mbv3_small", resolutions=(32, 48))


def additive(codes: np.ndarray, seed: int) -> np.ndarray:
    """Two objectives that add up over the choices of a network."""
    rng = np.random.default_rng(seed)
    worth = [rng.normal(size=(count, 2)) for count in SPACE.cardinalities]
    return np.array([5.0, -70.0]) + sum(table[codes[:, column]] for column, table in enumerate(worth))


def test_additive_objectives_are_learned_and_followed() -> None:
    rng = np.random.default_rng(0)
    screen, unseen = LinearScreen(SPACE, 2), SPACE.sample_codes(200, rng)
    for _ in range(5):
        rows = SPACE.sample_codes(400, rng)
        screen.learn(rows, additive(rows, seed=1))
    np.testing.assert_allclose(screen.guess(unseen), additive(unseen, seed=1), atol=0.05)
    for _ in range(60):  # the objectives change, as they do when a search reaches other parts of a space
        rows = SPACE.sample_codes(400, rng)
        screen.learn(rows, additive(rows, seed=2))
    np.testing.assert_allclose(screen.guess(unseen), additive(unseen, seed=2), atol=0.2)


def test_one_network_is_enough_to_begin() -> None:
    row = SPACE.encode([SPACE.largest])
    screen = LinearScreen(SPACE, 1)
    np.testing.assert_array_equal(screen.guess(row), [[0.0]])
    screen.learn(row, np.array([[3.0]]))
    np.testing.assert_allclose(screen.guess(row), [[3.0]])
