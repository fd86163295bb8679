"""Architectures as values."""

import pytest

from onceforall.errors import InvalidArch
from onceforall.space import Arch, Block, create_space


def test_equal_networks_are_equal_values():
    one = Arch.from_dict({"resolution": 32, "stages": [{"kernel_sizes": [3], "expand_ratios": [1.0]}]})
    two = Arch(32, ((Block(3, 1),),))
    assert one == two
    assert hash(one) == hash(two)
    assert one.to_json() == two.to_json()
    assert one.name == two.name


def test_names_tell_resolution_and_depths():
    arch = create_space("resnet_small").largest
    assert arch.name.startswith("r32-d222-")
    assert str(arch) == "32 px | k3 e1, k3 e1 | k3 e1, k3 e1 | k3 e1, k3 e1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the JSON"),
        ("[]", "JSON object, not list"),
        ('{"resolution": 32}', "no field 'stages'"),
        ('{"resolution": 32.5, "stages": []}', "whole number"),
        ('{"resolution": true, "stages": []}', "whole number"),
        ('{"resolution": 1e999, "stages": []}', "wrong kind"),
        ('{"resolution": 32, "stages": [], "depth": 3}', "unknown field 'depth'"),
        ('{"resolution": 32, "stages": [{"kernel_sizes": [3, 3], "expand_ratios": [1]}]}', "stage 1 has 2 kernel"),
        ('{"resolution": 32, "stages": [{"kernel_sizes": ["a"], "expand_ratios": [1]}]}', "wrong kind"),
        ('{"resolution": 32, "stages": [{"kernel_sizes": [3.9], "expand_ratios": [1]}]}', "3.9, which is not a whole"),
    ],
)
def test_json_that_is_no_architecture_is_refused(text, message):
    with pytest.raises(InvalidArch, match=message):
        Arch.from_json(text)
