"""Training on shards ends in the weights of training on the files, stopped in the midst of an epoch or not."""

from pathlib import Path

import pytest

from locomt.data.shards.prepare import prepare
from locomt.train import evaluate, fit, load_recipe
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


def test_the_same_weights_from_files_and_from_shards_by_workers_that_were_stopped_mid_epoch(
    project: Path, recipe: Recipe, tmp_path: Path
) -> None:
    # The order of the data depends on the seed and the epoch alone, so that what is resumed takes the same batches.
    files = fit(recipe, tmp_path / "files")
    prepare(recipe.data, tmp_path / "shards")
    on_shards = ["--data.manifest", str(tmp_path / "shards" / "shards.json"), "--data.workers", "2"]
    prepared = load_recipe(project, on_shards)

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise PowerCut

    run = tmp_path / "stopped"
    with pytest.raises(PowerCut):
        fit(prepared, run, on_step=stop)
    stored = fit(prepared, run, resume=True)
    weights = [(path / "model" / "model.safetensors").read_bytes() for path in (tmp_path / "files", run)]
    assert weights[0] == weights[1]
    assert {**files, "seconds": 0} == {**stored, "seconds": 0}
    scores = [evaluate(Run.load(path), "test", device="cpu") for path in (tmp_path / "files", run)]
    assert scores[0] == scores[1]
