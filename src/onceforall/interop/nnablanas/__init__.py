"""NNablaNAS: genotypes, HDF5 weights, experiment files and command lines."""

from .command_line import in_our_words
from .experiments import Experiment, load_experiment
from .genotypes import arch_from_genotype, genotype_from_arch
from .operators import OP_CANDIDATES, op_name, parse_op_candidates
from .settings import train_settings
from .subnet import load_checkpoint
from .weights import load_h5, save_h5

__all__ = [
    "OP_CANDIDATES",
    "Experiment",
    "arch_from_genotype",
    "genotype_from_arch",
    "in_our_words",
    "load_checkpoint",
    "load_experiment",
    "load_h5",
    "op_name",
    "parse_op_candidates",
    "save_h5",
    "train_settings",
]
