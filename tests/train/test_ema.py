import pytest
import torch
from torch import nn

from onceforall.train.ema import ExponentialMovingAverage


def set_weight(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_the_average_follows_with_growing_inertia():
    model = nn.Linear(1, 1, bias=False)
    set_weight(model, 0.0)
    ema = ExponentialMovingAverage(model, 0.5)
    expected = 0.0
    for update in range(12):
        set_weight(model, update + 1.0)
        ema.update(model, update)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * (update + 1.0)
    assert ema.weights["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_swapping_in_leaves_the_weights_as_they_were_even_after_an_error():
    model = nn.Linear(1, 1, bias=False)
    set_weight(model, 1.0)
    ema = ExponentialMovingAverage(model, 0.9)
    set_weight(model, 3.0)
    seen = []

    def fail_inside() -> None:
        with ema.swapped_in(model):
            seen.append(model.weight.item())
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert seen == [1.0]
    assert model.weight.item() == 3.0
    ema.copy_to(model)
    assert model.weight.item() == 1.0
    ema.load({"weight": torch.full((1, 1), 7.0)})
    ema.copy_to(model)
    assert model.weight.item() == 7.0
    set_weight(model, 2.0)
    ema.restart(model)
    assert ema.weights["weight"].item() == 2.0
