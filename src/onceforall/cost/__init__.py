"""What a sub-network costs: MACs, parameters and memory by counting, latency by measuring."""

from .analytic import count_macs, count_params, macs_table, memory_table, params_table, peak_memory
from .table import BlockTable

__all__ = [
    "BlockTable",
    "count_macs",
    "count_params",
    "macs_table",
    "memory_table",
    "params_table",
    "peak_memory",
]
