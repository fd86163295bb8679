"""Tables made for tests, and the vote written the plain way."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray


def made_table(
    rng: np.random.Generator, networks: int, images: int, classes: int, noise: float = 1.0, levels: int | None = None
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Probabilities (N, M, C) of networks that share what is hard, and labels (M,).

    With `levels` every probability is a multiple of 1 / levels, so that equal votes are common.
    """
    labels = rng.integers(classes, size=images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += rng.normal(2, 1.5, size=images)
    every = logits + noise * rng.normal(size=(networks, images, classes))
    table = np.exp(every)
    table /= table.sum(axis=2, keepdims=True)
    if levels is not None:
        table = np.round(table * levels) / levels
    return table.astype(np.float16), labels


@st.composite
def tables(draw: st.DrawFn, most_networks: int = 6) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Small tables, some with many equal votes, some with classes that get nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    networks, images = draw(st.integers(1, most_networks)), draw(st.integers(1, 40))
    levels = draw(st.sampled_from([None, 2, 4, 8]))
    return made_table(rng, networks, images, draw(st.integers(2, 7)), draw(st.sampled_from([0.1, 1.0, 3.0])), levels)


def dense_correct(
    table: NDArray[np.floating], labels: NDArray[np.int64], sets: NDArray[np.floating] | NDArray[np.bool_]
) -> list[int]:
    """Images right per set: all classes, all images, float64; argmax takes the lowest of equal classes."""
    votes = np.einsum("pn,nmc->pmc", sets.astype(np.float64), table.astype(np.float64))
    return (votes.argmax(axis=2) == labels).sum(axis=1).tolist()


def all_sets(networks: int) -> NDArray[np.bool_]:
    """Every set with at least one member, (2^N - 1, N)."""
    numbers = np.arange(1, 2**networks)
    return (numbers[:, None] >> np.arange(networks)) & 1 > 0


def front_like_table(
    rng: np.random.Generator, networks: int, images: int, classes: int
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.float64]]:
    """Like the networks of one front: most errors are shared, fast networks share more of them; with latencies (N,)."""
    labels = np.arange(images) * classes // images
    logits = 1.6 * rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += rng.normal(6, 3.5, size=images)
    rank = np.linspace(0, 1, networks)[:, None, None]
    every = logits + (1.3 - 0.8 * rank**0.6) * rng.normal(size=(images, classes))
    every = np.exp(every + (0.4 - 0.05 * rank) * rng.normal(size=every.shape))
    return (every / every.sum(axis=2, keepdims=True)).astype(np.float16), labels, 9.9 * 4.7 ** rank.ravel()
