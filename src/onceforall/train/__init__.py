"""Training: schedules as data, one engine for all recipes, evaluation and fine-tuning.

Names are imported when they are first used, so that reading a configuration does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .budget import TrainingCost as TrainingCost
    from .budget import training_cost as training_cost
    from .config import EvaluationConfig as EvaluationConfig
    from .config import FinetuneConfig as FinetuneConfig
    from .config import OptimizerConfig as OptimizerConfig
    from .config import RecipeConfig as RecipeConfig
    from .config import SpaceConfig as SpaceConfig
    from .config import TrainConfig as TrainConfig
    from .distributed import World as World
    from .distributed import init_distributed as init_distributed
    from .distributed import resolve_device as resolve_device
    from .evaluate import Evaluation as Evaluation
    from .evaluate import evaluate_archs as evaluate_archs
    from .finetune import FinetuneResult as FinetuneResult
    from .finetune import finetune as finetune
    from .finetune import load_finetuned as load_finetuned
    from .finetune import save_finetuned as save_finetuned
    from .optimizer import create_optimizer as create_optimizer
    from .optimizer import parameter_groups as parameter_groups
    from .recipes import create_recipe as create_recipe
    from .recipes import progressive_shrinking as progressive_shrinking
    from .recipes import sandwich as sandwich
    from .schedule import Objective as Objective
    from .schedule import Phase as Phase
    from .schedule import Recipe as Recipe
    from .schedule import Schedule as Schedule
    from .schedule import StepPlan as StepPlan
    from .schedule import cosine_learning_rate as cosine_learning_rate
    from .step import accumulate_gradients as accumulate_gradients
    from .step import train_step as train_step
    from .trainer import train as train

_HOMES = {
    "EvaluationConfig": "config",
    "Evaluation": "evaluate",
    "FinetuneConfig": "config",
    "FinetuneResult": "finetune",
    "Objective": "schedule",
    "OptimizerConfig": "config",
    "Phase": "schedule",
    "Recipe": "schedule",
    "RecipeConfig": "config",
    "Schedule": "schedule",
    "SpaceConfig": "config",
    "StepPlan": "schedule",
    "TrainConfig": "config",
    "TrainingCost": "budget",
    "World": "distributed",
    "accumulate_gradients": "step",
    "cosine_learning_rate": "schedule",
    "create_optimizer": "optimizer",
    "create_recipe": "recipes",
    "evaluate_archs": "evaluate",
    "finetune": "finetune",
    "init_distributed": "distributed",
    "load_finetuned": "finetune",
    "parameter_groups": "optimizer",
    "progressive_shrinking": "recipes",
    "resolve_device": "distributed",
    "sandwich": "recipes",
    "save_finetuned": "finetune",
    "train": "trainer",
    "train_step": "step",
    "training_cost": "budget",
}

__all__ = [
    "Evaluation",
    "EvaluationConfig",
    "FinetuneConfig",
    "FinetuneResult",
    "Objective",
    "OptimizerConfig",
    "Phase",
    "Recipe",
    "RecipeConfig",
    "Schedule",
    "SpaceConfig",
    "StepPlan",
    "TrainConfig",
    "TrainingCost",
    "World",
    "accumulate_gradients",
    "cosine_learning_rate",
    "create_optimizer",
    "create_recipe",
    "evaluate_archs",
    "finetune",
    "init_distributed",
    "load_finetuned",
    "parameter_groups",
    "progressive_shrinking",
    "resolve_device",
    "sandwich",
    "save_finetuned",
    "train",
    "train_step",
    "training_cost",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
