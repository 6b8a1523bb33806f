"""Views and view tables: who may look at whom, as plain data.

A *view* says which keys the queries of each modality may see. Every attention head of every fusion layer holds one view
(Park & Choi, "Multimodal Transformer With a Low-Computational-Cost Guarantee", ICASSP 2024, arXiv 2402.15096, section
2). Nothing here knows of neural networks: the op, the models, and the cost formulas all read the tables defined here,
so that what is computed and what is charged for cannot disagree.
"""

from locomt.views.kinds import KINDS, Kind, Part
from locomt.views.names import (
    MOST_ENTRIES,
    MOST_HEADS,
    MOST_LAYERS,
    MOST_MODALITIES,
    NAME,
    RESERVED,
    ViewError,
    check_modalities,
    check_size,
)
from locomt.views.strategies import STRATEGIES
from locomt.views.table import LayerViews, ViewTable
from locomt.views.view import MULTI, SELF, View, view_set

__all__ = [
    "KINDS",
    "MOST_ENTRIES",
    "MOST_HEADS",
    "MOST_LAYERS",
    "MOST_MODALITIES",
    "MULTI",
    "NAME",
    "RESERVED",
    "SELF",
    "STRATEGIES",
    "Kind",
    "LayerViews",
    "Part",
    "View",
    "ViewError",
    "ViewTable",
    "check_modalities",
    "check_size",
    "view_set",
]
