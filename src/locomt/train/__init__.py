"""Recipes, the training loop, metrics, and runs that can be resumed, evaluated and used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.train.config import TrainConfig
    from locomt.train.evaluation import Run, evaluate, predict
    from locomt.train.fitting import fit
    from locomt.train.predictor import Predictor
    from locomt.train.recipe import Recipe
    from locomt.train.recipe_file import load_recipe

__all__ = ["Predictor", "Recipe", "Run", "TrainConfig", "evaluate", "fit", "load_recipe", "predict"]

# Imported when first asked for: a recipe is read without Lightning, a run is used without it.
_HOMES = {
    "Predictor": "locomt.train.predictor",
    "Recipe": "locomt.train.recipe",
    "Run": "locomt.train.evaluation",
    "TrainConfig": "locomt.train.config",
    "evaluate": "locomt.train.evaluation",
    "fit": "locomt.train.fitting",
    "load_recipe": "locomt.train.recipe_file",
    "predict": "locomt.train.evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'locomt.train' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
