"""Training: schedules as data, one engine for all recipes, evaluation and fine-tuning."""

from .budget import TrainingCost, training_cost
from .config import EvaluationConfig, FinetuneConfig, OptimizerConfig, RecipeConfig, SpaceConfig, TrainConfig
from .distributed import World, init_distributed, resolve_device
from .evaluate import Evaluation, evaluate_archs
from .finetune import FinetuneResult, finetune, load_finetuned, save_finetuned
from .optimizer import create_optimizer, parameter_groups
from .phases import Objective, Phase, Recipe
from .recipes import create_recipe, progressive_shrinking, sandwich
from .schedule import Schedule, StepPlan, cosine_learning_rate
from .start import SingleNetwork, Start
from .step import accumulate_gradients, train_step
from .trainer import train

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
    "SingleNetwork",
    "SpaceConfig",
    "Start",
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
