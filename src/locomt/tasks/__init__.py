"""Tasks: what a model is asked. Each is a file and an entry in `TASKS`, and all else asks it."""

from locomt.tasks.label_text import LabelError
from locomt.tasks.multiclass import Multiclass
from locomt.tasks.multilabel import Multilabel
from locomt.tasks.ordinal import Ordinal
from locomt.tasks.regression import Regression
from locomt.tasks.task import IGNORED, Scores, Task
from locomt.tasks.temporal import Temporal

__all__ = ["IGNORED", "TASKS", "LabelError", "Scores", "Task"]

TASKS: dict[str, type[Task]] = {task.name: task for task in (Multiclass, Multilabel, Ordinal, Regression, Temporal)}
