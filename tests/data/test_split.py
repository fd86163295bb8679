import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from onceforall.data.split import official_holdout, stratified_choice

KEYS = np.random.default_rng(0).integers(2**64, size=1000, dtype=np.uint64)
LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=200).map(np.array)


@given(labels=LABELS, count=st.integers(0, 250), seed=st.integers(0, 50), keep_one=st.booleans())
def test_quotas_are_proportional_and_no_class_is_emptied(labels, count, seed, keep_one):
    chosen = stratified_choice(labels, KEYS[: len(labels)], count, (seed,), keep_one=keep_one)
    sizes = np.bincount(labels, minlength=7)
    taken = np.bincount(labels[chosen], minlength=7)
    present = sizes > 0
    assert len(np.unique(chosen)) == len(chosen)
    assert np.array_equal(chosen, np.sort(chosen))
    assert (taken <= sizes).all()
    assert len(chosen) == min(count, len(labels) - (present.sum() if keep_one else 0))
    if keep_one:
        assert (taken[present] < sizes[present]).all()
    elif count <= len(labels):
        assert (np.abs(taken - sizes * count / len(labels)) < 1 + 1e-9).all()


@given(labels=LABELS, count=st.integers(0, 100), seed=st.integers(0, 50))
def test_the_choice_depends_on_its_arguments_alone(labels, count, seed):
    assert np.array_equal(
        stratified_choice(labels, KEYS[: len(labels)], count, (1, seed)),
        stratified_choice(labels, KEYS[: len(labels)], count, (1, seed)),
    )


def test_another_seed_chooses_other_images():
    labels = np.repeat(np.arange(10), 50)
    first, second = (stratified_choice(labels, KEYS[: len(labels)], 100, (seed,)) for seed in (0, 1))
    assert 0 < len(np.intersect1d(first, second)) < 60
    assert np.bincount(labels[first]).tolist() == [10] * 10


def test_every_image_of_a_class_is_equally_likely():
    labels = np.array([0] * 10 + [1] * 10)
    hits = np.zeros(20)
    for seed in range(400):
        hits[stratified_choice(labels, KEYS[: len(labels)], 4, (seed,))] += 1
    assert np.allclose(hits / 400, 0.2, atol=0.08)


@given(labels=LABELS, position=st.integers(0, 200), label=st.integers(0, 6), count=st.integers(0, 100))
def test_one_image_more_moves_only_the_border_of_a_class(labels, position, label, count):
    position = min(position, len(labels))
    keys = KEYS[: len(labels)]
    before = keys[stratified_choice(labels, keys, count, (0,))]
    more_labels, more_keys = np.insert(labels, position, label), np.insert(keys, position, KEYS[-1])
    after = more_keys[stratified_choice(more_labels, more_keys, count, (0,))]
    for name in range(7):
        of_class = keys[labels == name]
        one, other = set(before) & set(of_class), set(after) & set(of_class)
        assert one <= other or other <= one


def test_the_order_of_the_images_does_not_matter():
    labels = np.repeat(np.arange(10), 50)
    order = np.random.default_rng(1).permutation(500)
    sorted_keys = set(KEYS[stratified_choice(labels, KEYS[:500], 100, (0,))])
    assert set(KEYS[order][stratified_choice(labels[order], KEYS[order], 100, (0,))]) == sorted_keys


def test_the_official_hold_out_is_the_head_of_torchs_permutation():
    chosen = official_holdout(50, 10)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2147483647)).tolist()
    assert chosen.tolist() == sorted(order[:10])
    assert set(official_holdout(50, 4)) < set(chosen)
