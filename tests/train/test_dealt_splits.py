"""Runs whose recipe deals out the samples: the splits are written down, and kept to."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feature_project import read_rows, write_manifest
from locomt.cli.main import main
from locomt.data import ManifestDataset
from locomt.train.evaluation import Run, evaluate
from locomt.train.fitting import fit
from locomt.train.recipe_file import load_recipe
from locomt.train.run_directory import RunDirectory, RunError

DEALT = ["--data.split.val", "0.25", "--data.split.test", "0.25", "--data.group", "speaker"]


@pytest.fixture
def dealt_project(make_project: Callable[..., Path]) -> Path:
    """A recipe whose manifest has speakers, of two rows each, and no splits."""
    path = make_project(epochs=1)
    rows = [row | {"speaker": f"v{n // 2}"} for n, row in enumerate(read_rows(path.parent))]
    for row in rows:
        del row["split"]
    write_manifest(path.parent, rows)
    return path


def splits_of(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["id"]: row["split"] for row in csv.DictReader(file)}


def test_a_run_keeps_to_the_splits_that_it_wrote_down(dealt_project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(dealt_project, DEALT)
    fit(recipe, tmp_path / "run")
    kept = splits_of(tmp_path / "run" / "splits.csv")
    assert len(kept) == 23
    speaker = {row["id"]: row["speaker"] for row in read_rows(dealt_project.parent)}
    assert len({(speaker[name], split) for name, split in kept.items()}) == 12
    before = evaluate(Run.load(tmp_path / "run"), "test")
    assert before["samples"] == sum(split == "test" for split in kept.values())
    rows = read_rows(dealt_project.parent)
    write_manifest(dealt_project.parent, [*({**row, "id": f"more{n}"} for n, row in enumerate(rows)), *rows])
    assert evaluate(Run.load(tmp_path / "run"), "test") == before
    with pytest.raises(RunError, match=r"--data.split.seed: .* keeps the splits .* splits.csv"):
        Run.load(tmp_path / "run", ["--data.split.seed", "1"])


def test_the_splits_of_another_run_can_be_taken(dealt_project: Path, tmp_path: Path) -> None:
    fit(load_recipe(dealt_project, DEALT), tmp_path / "a")
    table = tmp_path / "a" / "splits.csv"
    recipe = load_recipe(dealt_project, ["--data.split.table", str(table)])
    fit(recipe, tmp_path / "b")
    assert (tmp_path / "b" / "splits.csv").read_bytes() == table.read_bytes()
    assert Path(load_recipe(tmp_path / "b" / "config.yaml").data.split.table) == table


def test_a_stopped_run_whose_samples_would_move_is_not_resumed(dealt_project: Path, tmp_path: Path) -> None:
    class StopTrainingError(Exception):
        pass

    def stop(row: Any) -> None:
        raise StopTrainingError

    recipe = load_recipe(dealt_project, [*DEALT, "--train.epochs", "2"])
    with pytest.raises(StopTrainingError):
        fit(recipe, tmp_path / "run", on_epoch=stop)
    rows = read_rows(dealt_project.parent)
    write_manifest(dealt_project.parent, rows[6:])
    with pytest.raises(RunError, match=r"was begun with sample .* deals out anew when rows are added or removed"):
        fit(recipe, tmp_path / "run", resume=True)
    write_manifest(dealt_project.parent, rows)
    fit(recipe, tmp_path / "run", resume=True)
    assert RunDirectory(tmp_path / "run").finished


def test_shards_have_the_splits_in_them(dealt_project: Path, tmp_path: Path) -> None:
    assert main(["prepare", str(dealt_project), "--out", str(tmp_path / "shards"), "--workers", "0", *DEALT]) == 0
    ready, recipe = load_recipe(tmp_path / "shards" / "recipe.yaml").data, load_recipe(dealt_project, DEALT).data
    assert ready.split is None
    for split in ("train", "val", "test"):
        names = [row.id for row in ManifestDataset(ready, split).rows]
        assert names == [row.id for row in ManifestDataset(recipe, split).rows]
        assert names
