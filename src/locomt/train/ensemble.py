"""Runs that answer together, by the mean of what they say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from locomt.files import make_directory, write_text
from locomt.tasks import Task
from locomt.train.run_directory import RunError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

MEMBERS = "members.json"
"""The runs, relative to the folder that holds this file and stands for them."""

Answer = Callable[[Mapping[str, "Tensor"], "Mapping[str, Int[Tensor, ' batch']] | None"], "Tensor"]
"""What a `FusionModel` is when it is called: inputs and lengths to logits."""


def write_members(folder: Path, runs: Sequence[Path]) -> None:
    """Make a folder stand for several finished runs of one data set."""
    make_directory(folder)
    names = [os.path.relpath(run, folder) for run in runs]
    write_text(folder / MEMBERS, json.dumps(names, ensure_ascii=False, indent=1) + "\n")


def read_members(folder: Path) -> list[Path]:
    """The runs that a folder stands for; none where it is a run by itself.

    Raises:
        RunError: the file is no list of relative names.
    """
    path = folder / MEMBERS
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not valid JSON ({error})") from None
    known = isinstance(names, list) and all(isinstance(name, str) and not os.path.isabs(name) for name in names)
    runs = [Path(os.path.normpath(folder / name)) for name in names] if known else []
    if not runs or len(set(runs)) < len(runs):
        raise RunError(f"{path}: expected a list of different runs, named relative to it, got {names!r:.60}")
    for run in runs:
        if (run / MEMBERS).is_file():
            raise RunError(f"{path}: expected runs, and {run} stands for several itself")
    return runs


def mean_of(models: Sequence[Answer], task: Task) -> Answer:
    """A model that gives the logits of the mean of the models' probabilities; of numbers, the mean."""

    def answer(
        inputs: Mapping[str, Tensor], lengths: Mapping[str, Int[Tensor, " batch"]] | None = None
    ) -> Float[Tensor, "batch *steps outputs"]:
        logits = torch.stack([model(inputs, lengths).double() for model in models])
        there = torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device)
        return task.mean_answer(logits, there).float()

    return answer
