"""Runs that are killed amid an epoch: they go on with the batches that are left, and end as if nothing had been."""

import csv
import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import forks
from feature_project import read_rows, write_manifest
from locomt.data import BadSample, Batch
from locomt.data.shards.prepare import prepare
from locomt.train import fit, load_recipe
from locomt.train.bad import BadSampleLog, TooManyBadSamplesError
from locomt.train.loading import CropSampler, ShareSampler
from locomt.train.module import FusionModule
from locomt.train.run_directory import RunError
from locomt.train.sampling import EpochSampler

STEPS = 6  # an epoch
EVERY_STEP = ["--train.checkpoint_minutes", "1e-9"]
DRAWING = ["--train.augment.drop_modality", "0.2", "--train.optimizer", "adamw", "--train.learning_rate", "0.01"]


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


def stop_at(step: int) -> Callable[[int, int], None]:
    """Ends the process after the work of a step and before what is kept of it."""

    def on_step(done: int, total: int) -> None:
        assert total == 3 * STEPS
        if done == step:
            raise PowerCut

    return on_step


def outcome(run: Path) -> tuple[bytes, list[dict[str, str]], Any]:
    with (run / "metrics.csv").open() as file:
        history = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    state = [last["optimizer_states"], last["lr_schedulers"], last["global_step"]]
    return (run / "model" / "model.safetensors").read_bytes(), history, state


def assert_same_outcome(one: Path, other: Path) -> None:
    (weights, history, state), (others, rows, states) = outcome(one), outcome(other)
    assert weights == others
    assert history == rows
    torch.testing.assert_close(state, states, rtol=0, atol=0)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, list[str]]]:
    """The epoch, index and samples of every step."""
    found: list[tuple[int, int, list[str]]] = []
    step = FusionModule.training_step

    def watched(self: FusionModule, batch: Batch, index: int) -> torch.Tensor | None:
        found.append((self.current_epoch, index, batch.ids))
        return step(self, batch, index)

    monkeypatch.setattr(FusionModule, "training_step", watched)
    return found


@pytest.fixture
def small(make_project: Callable[..., Path]) -> Path:
    return make_project(batch_size=2, epochs=3)


@pytest.mark.parametrize(("source", "workers"), [("files", 0), ("shards", 2)])
def test_killed_amid_epochs_it_takes_the_rest_of_each(
    source: str, workers: int, small: Path, tmp_path: Path, taken: list[Any]
) -> None:
    options = [*EVERY_STEP, *DRAWING, "--data.workers", str(workers)]
    recipe = load_recipe(small, options)
    assert recipe.model.dropout > 0
    if source == "shards":
        prepare(recipe.data, tmp_path / "shards")
        recipe = load_recipe(small, [*options, "--data.manifest", str(tmp_path / "shards" / "shards.json")])
    fit(recipe, tmp_path / "whole")
    whole = list(taken)
    assert len(whole) == 3 * STEPS
    run = tmp_path / "stopped"
    for start, stop in ((0, 3), (2, 9), (8, 12), (11, 13), (12, 17)):
        taken.clear()
        with pytest.raises(PowerCut):
            fit(recipe, run, resume=True, on_step=stop_at(stop))
        assert taken == whole[start:stop], (start, stop)
        torch.rand(7)  # the process that resumes is in another state
    taken.clear()
    fit(recipe, run, resume=True)
    # Step 17 was the last but one, and what is kept is kept after it was told of.
    assert taken == whole[16:]
    assert_same_outcome(run, tmp_path / "whole")


def test_balanced_sampling_too(small: Path, tmp_path: Path, taken: list[Any]) -> None:
    recipe = load_recipe(small, [*EVERY_STEP, "--train.sampling", "balanced"])
    fit(recipe, tmp_path / "whole")
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "stopped", on_step=stop_at(10))
    fit(recipe, tmp_path / "stopped", resume=True)
    assert_same_outcome(tmp_path / "stopped", tmp_path / "whole")


def test_what_came_after_the_checkpoint_is_done_again(
    small: Path, tmp_path: Path, taken: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(small, ["--train.checkpoint_minutes", "2"])
    fit(recipe, tmp_path / "whole")
    whole = list(taken)
    taken.clear()
    # A step takes a minute on this clock.
    monkeypatch.setattr(time, "monotonic", lambda: 60.0 * len(taken))
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "stopped", on_step=stop_at(10))
    taken.clear()
    fit(recipe, tmp_path / "stopped", resume=True)
    assert taken == whole[8:]
    assert_same_outcome(tmp_path / "stopped", tmp_path / "whole")
    with (tmp_path / "stopped" / "metrics.csv").open() as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert seconds == [360, 360, 360]  # those before and after the interruption


def test_without_checkpoints_amid_epochs_the_epoch_is_done_again(small: Path, tmp_path: Path, taken: list[Any]) -> None:
    recipe = load_recipe(small, ["--train.checkpoint_minutes", "0"])
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "run", on_step=stop_at(10))
    whole = list(taken)
    taken.clear()
    fit(recipe, tmp_path / "run", resume=True)
    assert taken[: 10 - STEPS] == whole[STEPS:]


KILLED = """
import os, signal, sys
from locomt.train import fit, load_recipe

def on_step(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

fit(load_recipe(sys.argv[1], sys.argv[4:]), sys.argv[2], resume=True, on_step=on_step)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_sigkill_amid_workers(small: Path, tmp_path: Path) -> None:
    options = [*EVERY_STEP, "--data.workers", "2"]
    recipe = load_recipe(small, options)
    fit(recipe, tmp_path / "whole")
    (tmp_path / "program.py").write_text(KILLED)
    done = forks.run(tmp_path / "program.py", small, tmp_path / "killed", STEPS + 3, *options)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "killed" / "model").exists()
    fit(recipe, tmp_path / "killed", resume=True)
    assert_same_outcome(tmp_path / "killed", tmp_path / "whole")


def test_the_row_of_the_epoch_counts_what_was_bad_before_the_interruption(
    small: Path, tmp_path: Path, taken: list[Any]
) -> None:
    recipe = load_recipe(small, [*EVERY_STEP, "--data.max_bad", "0.2"])
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "good", on_step=stop_at(1))
    first = taken[0][2][0]  # in the first batch
    (small.parent / f"{first}_motion.npy").unlink()
    fit(recipe, tmp_path / "whole")
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "stopped", on_step=stop_at(4))
    rows = []

    def on_epoch(row: Mapping[str, Any]) -> None:
        rows.append(row["skipped"])
        lines = (tmp_path / "stopped" / "bad_samples.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [first]

    fit(recipe, tmp_path / "stopped", resume=True, on_epoch=on_epoch)
    assert rows == [1, 1, 1]
    assert_same_outcome(tmp_path / "stopped", tmp_path / "whole")


def test_what_is_not_drawn_again_stays_in_the_count(small: Path, tmp_path: Path, taken: list[Any]) -> None:
    """Balanced sampling draws some samples in one epoch alone; in the list they are in the order of meeting."""
    options = ["--train.sampling", "balanced", "--data.max_bad", "0.5"]
    fit(load_recipe(small, options), tmp_path / "good")
    epochs = [{name for epoch, _, names in taken if epoch == n for name in names} for n in range(3)]
    once = sorted(epochs[0] - epochs[1] - epochs[2])
    assert once
    for name in (once[0], sorted(epochs[1])[0]):
        (small.parent / f"{name}_motion.npy").unlink()
    fit(load_recipe(small, options), tmp_path / "whole")
    recipe = load_recipe(small, [*EVERY_STEP, *options])
    for step in (STEPS, STEPS + 3):  # between two epochs, amid one
        stopped = tmp_path / f"stopped-{step}"
        with pytest.raises(PowerCut):
            fit(recipe, stopped, on_step=stop_at(step + 1))
        summary = fit(recipe, stopped, resume=True)
        assert summary["skipped"] >= 1
        assert_same_outcome(stopped, tmp_path / "whole")
        assert (stopped / "bad_samples.jsonl").read_text() == (tmp_path / "whole" / "bad_samples.jsonl").read_text()


def test_mended_samples_do_not_count_towards_the_limit() -> None:
    lines = [{"split": "train", "row": row, "id": str(row), "file": "a", "reason": "broken"} for row in range(5)]
    log = BadSampleLog({"train": 100}, 0.05)
    log.begin(lines)
    log.add("train", [BadSample(str(row), row, "a", "broken still") for row in (3, 7, 8, 9, 10)])
    assert (log.total, log.lines()[3]["reason"]) == (9, "broken still")
    with pytest.raises(TooManyBadSamplesError, match="6 of the 100 samples"):
        log.add("train", [BadSample("11", 11, "a", "broken")])


def test_an_epoch_of_another_manifest_cannot_be_gone_on_with(small: Path, tmp_path: Path) -> None:
    recipe = load_recipe(small, [*EVERY_STEP, "--data.labels", "[left, right, up]"])
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "run", on_step=stop_at(4))
    rows = read_rows(small.parent)
    write_manifest(small.parent, rows[1:])
    with pytest.raises(RunError, match=r"had 12 samples of split 'train' when .* amid an epoch, and now has 11"):
        fit(recipe, tmp_path / "run", resume=True)
    write_manifest(small.parent, rows)
    fit(recipe, tmp_path / "run", resume=True)


@pytest.mark.parametrize("start", [0, 1, 4, 6])
@pytest.mark.parametrize("crops", [False, True])
def test_a_sampler_begun_amid_an_epoch(start: int, crops: bool) -> None:
    def sampler(start: int) -> ShareSampler:
        order: Any = EpochSampler(23, seed=1)
        order = CropSampler(order, seed=1) if crops else order
        order.set_epoch(5)
        return ShareSampler(order, 4, start=(5, start))

    resumed = sampler(start)
    assert len(resumed) == len(sampler(0)) == 6
    assert list(resumed) == list(sampler(0))[start:]
    resumed.sampler.set_epoch(6)  # the following epochs are whole
    assert sum(map(len, resumed)) == 23
