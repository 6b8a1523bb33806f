"""locomt: multimodal transformers whose attention cost is bounded by design (LoCoMT, arXiv 2402.15096)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.layout import TokenLayout
    from locomt.nn.attention import ViewAttention
    from locomt.nn.config import FusionConfig
    from locomt.nn.model import FusionModel
    from locomt.ops import view_attention
    from locomt.quick.quick_fit import fit
    from locomt.train.evaluation import Run, evaluate, predict
    from locomt.train.predictor import from_pretrained
    from locomt.train.recipe_file import load_recipe
    from locomt.views import LayerViews, View, ViewTable

__version__ = "0.1.0"

__all__ = [
    "FusionConfig",
    "FusionModel",
    "LayerViews",
    "Run",
    "TokenLayout",
    "View",
    "ViewAttention",
    "ViewTable",
    "__version__",
    "evaluate",
    "fit",
    "from_pretrained",
    "load_recipe",
    "predict",
    "view_attention",
]

# Where each public name lives: it is imported when it is first asked for, so that `import locomt` and the
# command line stay light (views and layouts do not even need torch).
_HOMES = {
    "FusionConfig": "locomt.nn.config",
    "FusionModel": "locomt.nn.model",
    "LayerViews": "locomt.views",
    "Run": "locomt.train.evaluation",
    "TokenLayout": "locomt.layout",
    "View": "locomt.views",
    "ViewAttention": "locomt.nn.attention",
    "ViewTable": "locomt.views",
    "evaluate": "locomt.train.evaluation",
    "fit": "locomt.quick.quick_fit",
    "from_pretrained": "locomt.train.predictor",
    "load_recipe": "locomt.train.recipe_file",
    "predict": "locomt.train.evaluation",
    "view_attention": "locomt.ops",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'locomt' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
