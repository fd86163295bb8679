"""NNablaNAS: genotypes, HDF5 weights and experiment files."""

from .genotypes import arch_from_genotype, genotype_from_arch
from .operators import OP_CANDIDATES, op_name, parse_op_candidates
from .weights import load_h5, save_h5

__all__ = [
    "OP_CANDIDATES",
    "arch_from_genotype",
    "genotype_from_arch",
    "load_h5",
    "op_name",
    "parse_op_candidates",
    "save_h5",
]
