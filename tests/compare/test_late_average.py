"""The mean of what modalities alone answer, against the same by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch

from event_project import make_events
from feature_project import make_project
from locomt.compare.compare import Comparison, compare
from locomt.train import Run, load_recipe
from locomt.train.evaluation import answers

pytestmark = pytest.mark.usefixtures("short_timing")
Said = dict[str, tuple[torch.Tensor, torch.Tensor]]


def compared(recipe: Path, folder: Path, *names: str) -> dict[str, Any]:
    return compare([Comparison(name="clips", recipe=load_recipe(recipe), models=names, seeds=(0, 1))], folder)


def said(document: dict[str, Any], name: str, seed: int) -> Said:
    """What a run answers to each sample of the test split that it can read, and the label."""
    (directory,) = (run["directory"] for run in document["runs"] if (run["name"], run["seed"]) == (name, seed))
    found: Said = {}
    for batch, logits in answers(Run.load(directory), device="cpu"):
        found |= {sample: (logits[i], batch.labels[i]) for i, sample in enumerate(batch.ids)}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A recipe, the folder of the runs of a fused model and of its parts, and what their comparison says."""
    folder = tmp_path_factory.mktemp("made")
    recipe, runs = make_project(folder / "project"), folder / "runs"
    return recipe, runs, compared(recipe, runs, "locomt", "motion", "sound")


def test_probabilities_are_averaged_of_what_there_is(made: tuple[Path, Path, dict[str, Any]]) -> None:
    *_, document = made
    (row,) = document["averages"]
    assert (row["name"], row["parts"], row["seed_list"]) == ("late average", ["motion", "sound"], [0, 1])
    assert (row["samples"], row["skipped"]) == (5, 0)
    for seed in (0, 1):
        motion, sound = (said(document, name, seed) for name in row["parts"])
        assert len(motion) == 5
        assert 0 < len(sound) < 5
        right = 0
        for sample, (logits, label) in motion.items():
            mean = logits.softmax(dim=0)
            if sample in sound:
                assert sound[sample][1] == label
                mean = (mean + sound[sample][0].softmax(dim=0)) / 2
            right += int(mean.argmax() == label)
        assert row["scores"][seed] == pytest.approx(right / 5)
    assert row["mean"] == pytest.approx(sum(row["scores"]) / 2)
    motion_row, sound_row = (entry for entry in document["models"] if entry["name"] in row["parts"])
    for cost in ("gflops", "attention_gflops", "parameters", "latency_ms"):
        assert row[cost] == motion_row[cost] + sound_row[cost]


def test_numbers_are_averaged(tmp_path: Path) -> None:
    recipe = make_project(tmp_path / "project", "regression", epochs=1)
    document = compared(recipe, tmp_path / "runs", "locomt", "motion", "sound")
    (row,) = document["averages"]
    for seed in (0, 1):
        motion, sound = (said(document, name, seed) for name in row["parts"])
        off = 0.0
        for sample, (number, label) in motion.items():
            numbers = [number, *([sound[sample][0]] if sample in sound else [])]
            off += abs(float(sum(numbers)) / len(numbers) - float(label))
        assert row["scores"][seed] == pytest.approx(off / 5, rel=1e-5)


def test_answers_along_time_are_averaged_where_both_reach(tmp_path: Path) -> None:
    recipe = make_events(tmp_path / "project", {"train": 8, "val": 4, "test": 6}, epochs=1)
    document = compared(recipe, tmp_path / "runs", "locomt", "fine", "coarse")
    (row,) = document["averages"]
    fine, coarse = (said(document, name, 0) for name in row["parts"])
    run = Run.load(document["runs"][0]["directory"])
    scores = run.recipe.data.target.scores(run.labels)
    for sample, (logits, label) in fine.items():
        other, same = coarse[sample]
        probabilities = logits.sigmoid()
        both = ~(label.isnan() | same.isnan())
        mean = torch.where(both, (probabilities + other.sigmoid()) / 2, probabilities)
        mean = torch.where(label.isnan() & ~same.isnan(), other.sigmoid(), mean)
        scores.update(mean.logit()[None], torch.where(label.isnan(), same, label)[None])
    assert row["scores"][0] == pytest.approx(scores.compute()["metrics"]["mAP"])


@pytest.mark.parametrize("models", [("locomt", "sound"), ("motion", "sound"), ("locomt",)])
def test_there_is_none_without_all_parts_of_something_fused(
    made: tuple[Path, Path, dict[str, Any]], models: tuple[str, ...]
) -> None:
    recipe, runs, _ = made
    assert compared(recipe, runs, *models)["averages"] == []
