"""Where the results of one run say little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locomt import cautions
from locomt.train.evaluation import Run
from locomt.train.run_directory import RunDirectory


def of_training(run: RunDirectory) -> list[str]:
    """Why a finished run may have learned nothing: its loss diverged or never fell."""
    summary = run.read_summary()
    if diverged := summary.get("diverged"):
        return [str(diverged)]
    return cautions.of_losses({run.path.name: [run.read_history()]})


def of_trainings(run: Run) -> list[str]:
    """The same of a run that is used, or of all that answer together; a model without its run tells nothing."""
    folders = (RunDirectory(member.path) for member in run.members)
    return list(dict.fromkeys(line for folder in folders if folder.summary.is_file() for line in of_training(folder)))


def of_scores(scores: Mapping[str, Any], split: str) -> list[str]:
    """Why scores say little: samples of training, few samples, classes without any.

    Args:
        scores: what `locomt.train.evaluate` returned.
        split: that was scored.
    """
    counts = {
        label: count
        for label, values in scores["per_class"].items()
        if (count := values.get("support", values.get("positives"))) is not None
    }
    trained_on = [scores["caution"]] if "caution" in scores else []
    return [*trained_on, *cautions.of_samples({split: scores["samples"]}), *cautions.of_scored(counts, split)]
