"""Search: from costs and accuracies of architectures to the best one under limits, or to a whole front.

Scores and costs are callables on code arrays, (n, D) int64 -> (n,) float64; see `space.SearchSpace.encode`.
"""

from .baselines import random_search, uniform_search
from .collection import collect_labels
from .constraints import Constraint, feasible_range, require_feasible
from .evolution import EvolutionResult, EvolutionStep, evolve, run_evolution
from .front import Front, FrontMember, hypervolume, non_dominated
from .labels import Label, LabelStore
from .objective import Objective
from .operators import crossover_codes, enumerate_codes, mutate_codes, spread_codes, uniform_family_codes
from .pareto import pareto_search
from .predictor import AccuracyPredictor, PredictorQuality
from .result import SearchMember, SearchResult
from .sampling import initial_codes
from .strategy import search_measured, search_predicted
from .subset import reduce_front
from .verification import Verification, verify

__all__ = [
    "AccuracyPredictor",
    "Constraint",
    "EvolutionResult",
    "EvolutionStep",
    "Front",
    "FrontMember",
    "Label",
    "LabelStore",
    "Objective",
    "PredictorQuality",
    "SearchMember",
    "SearchResult",
    "Verification",
    "collect_labels",
    "crossover_codes",
    "enumerate_codes",
    "evolve",
    "feasible_range",
    "hypervolume",
    "initial_codes",
    "mutate_codes",
    "non_dominated",
    "pareto_search",
    "random_search",
    "reduce_front",
    "require_feasible",
    "run_evolution",
    "search_measured",
    "search_predicted",
    "spread_codes",
    "uniform_family_codes",
    "uniform_search",
    "verify",
]
