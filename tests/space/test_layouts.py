"""Widths of the published networks."""

import pytest

from onceforall.space import create_space, make_divisible


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(19.2, 24), (41.6, 40), (134.4, 136), (249.6, 248), (18, 24), (20, 24), (30, 32), (36, 40), (51.2, 48), (90, 88)],
)
def test_channel_rounding(value, rounded):
    assert make_divisible(value) == rounded


def test_squeeze_widths_of_the_published_network():
    layout = create_space("mbv3_w1.0").layout
    for stage, inputs in ((1, {24: (24, 24, 40), 40: (32, 40, 64)}), (4, {112: (88, 112, 168), 160: (120, 160, 240)})):
        for block in (0, 1):
            expected = inputs[layout.in_width(stage, block)]
            middle = [layout.middle_width(stage, block, e) for e in layout.expand_ratios]
            assert tuple(layout.squeeze_width(width) for width in middle) == expected
