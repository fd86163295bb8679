"""The names the documentation promises, under the names it promises."""

import operator

import pytest

import onceforall as ofa

PROMISED = (
    *("list_supernets", "create_supernet", "load_supernet", "Arch", "Supernet", "SearchSpace", "InvalidArch"),
    *("count_macs", "count_params", "peak_memory", "calibrate"),
    *(f"interop.official.{name}" for name in ("load_checkpoint", "arch_from_dict", "arch_to_dict")),
    *("search.pareto_search", "search.evolve", "search.Front"),
    *("cost.LatencyModel", "deploy.export_onnx", "report.write_report", "train.train"),
)


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_exist_after_one_import(name):
    assert callable(operator.attrgetter(name)(ofa))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'create_superset'"):
        ofa.create_superset  # noqa: B018
