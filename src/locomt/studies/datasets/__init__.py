"""The tasks of the studies: data made from a seed, or from real data, and their recipes."""

from locomt.studies.datasets import clips, digits, grounding, modalities, moments, mosi, qa, temporal
from locomt.studies.datasets.task import Task, TaskError

__all__ = ["TASKS", "Task", "TaskError"]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        qa.TASK,
        grounding.TASK,
        moments.TASK,
        *modalities.TASKS,
        temporal.TASK,
        temporal.TONES,
        digits.TASK,
        mosi.TASK,
        clips.TASK,
    )
}
