"""The names the documentation promises, under the names it promises."""

import operator

import pytest

import onceforall as ofa

PROMISED = (
    *("list_supernets", "create_supernet", "load_supernet", "Arch", "Supernet", "SearchSpace", "InvalidArch"),
    *("count_macs", "count_params", "peak_memory", "calibrate"),
    *(f"interop.official.{name}" for name in ("load_checkpoint", "arch_from_dict", "arch_to_dict")),
    *(f"interop.official.{name}" for name in ("load_accuracy_predictor", "load_latency_table", "net_from_config")),
    *(f"interop.nnablanas.{name}" for name in ("arch_from_genotype", "genotype_from_arch")),
    *(f"interop.nnablanas.{name}" for name in ("load_experiment", "load_h5")),
    *(f"interop.mmrazor.{name}" for name in ("arch_from_yaml", "arch_to_yaml")),
    *("search.pareto_search", "search.evolve", "search.Front"),
    *("cost.LatencyModel", "deploy.export_onnx", "report.write_report", "train.train"),
)


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_exist_after_one_import(name):
    assert callable(operator.attrgetter(name)(ofa))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'create_superset'"):
        ofa.create_superset  # noqa: B018
