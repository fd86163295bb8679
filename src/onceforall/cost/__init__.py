"""What a sub-network costs: MACs, parameters and memory by counting, latency by measuring."""

from .agreement import kendall_tau, mean_relative_error
from .analytic import count_macs, count_params, macs_table, memory_table, params_table, peak_memory
from .latency import LatencyModel
from .latency_build import build_latency_model
from .measure import Latency, Timing, describe_machine, measure_latencies, measure_latency, measure_together
from .plain import count_plain_macs
from .table import CostTable, Term

__all__ = [
    "CostTable",
    "Latency",
    "LatencyModel",
    "Term",
    "Timing",
    "build_latency_model",
    "count_macs",
    "count_params",
    "count_plain_macs",
    "describe_machine",
    "kendall_tau",
    "macs_table",
    "mean_relative_error",
    "measure_latencies",
    "measure_latency",
    "measure_together",
    "memory_table",
    "params_table",
    "peak_memory",
]
