"""Whole runs on tiny feature files: what they leave, the same result twice, stopping and resuming, refusals."""

import csv
import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import feature_project
from feature_project import read_rows, write_manifest
from locomt.data import Batch, ManifestDataset
from locomt.nn.model import FusionModel
from locomt.train import fit, load_recipe
from locomt.train.bad import BadSampleLog, TooManyBadSamplesError
from locomt.train.divergence import blind_loss, divergence
from locomt.train.epoch_keeper import EpochKeeper
from locomt.train.module import FusionModule, TrainingError
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, RunError


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


def history(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def test_checkpointing_is_the_same_run(project: Path, tmp_path: Path) -> None:
    for few in ("false", "true"):
        fit(load_recipe(project, ["--train.checkpointing", few, "--train.unimodal_loss", "1"]), tmp_path / few)
    assert weights(tmp_path / "true") == weights(tmp_path / "false")
    assert history(tmp_path / "true") == history(tmp_path / "false")


def test_compiled_layers_come_to_the_same_run(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for how the compiler adds up; here it traces and leaves the kernels as they are."""
    compile_layers = FusionModel.compile_layers
    asked = []

    def traced(model: FusionModel) -> None:
        asked.append(model)
        compile_layers(model, backend="aot_eager")

    monkeypatch.setattr(FusionModel, "compile_layers", traced)
    torch._dynamo.reset()
    still = ["--model.dropout", "0", "--model.drop_path", "0", "--train.epochs", "1"]
    still += ["--train.batch_size", "6"]  # both batches of training of one shape: every other one is compiled for anew
    for compiled in ("false", "true"):
        fit(load_recipe(project, [*still, "--train.compile", compiled]), tmp_path / compiled)
    assert len(asked) == 1
    states = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("true", "false")]
    torch.testing.assert_close(states[0], states[1], rtol=1e-4, atol=1e-6)


def test_a_run_leaves_all_that_is_promised(recipe: Recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs" / "first"
    told, steps = [], []
    summary = fit(recipe, run, on_epoch=told.append, on_step=lambda *step: steps.append(step))
    assert sorted(path.name for path in run.iterdir()) == [
        *("card.json", "checkpoints", "config.yaml", "labels.json", "metrics.csv", "model", "origin", "summary.json")
    ]
    assert load_recipe(run / "config.yaml") == recipe
    assert json.loads((run / "labels.json").read_text()) == ["left", "right", "up"]
    rows = history(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train_loss", "val_loss", "val_accuracy", "val_f1", "learning_rate"} < set(rows[0])
    assert [row["epoch"] for row in told] == [1, 2]
    assert steps == [(step, 6) for step in range(1, 7)]
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert summary["epoch"] == int(best["epoch"])
    assert summary["val_accuracy"] == float(best["val_accuracy"])
    assert (summary["monitor"], summary["skipped"]) == ("val_accuracy", 0)
    assert json.loads((run / "summary.json").read_text()) == summary
    assert capfd.readouterr() == ("", "")


def test_the_model_is_that_of_the_best_epoch(make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(make_project(learning_rate=1.0, epochs=4))
    run = RunDirectory(tmp_path / "run")
    seen: dict[float, dict[str, torch.Tensor]] = {}

    def remember(row: Mapping[str, float]) -> None:
        seen[row["epoch"]] = torch.load(run.last, weights_only=True)["state_dict"]

    summary = fit(recipe, run.path, on_epoch=remember)
    exported = load_file(run.model / "model.safetensors")
    for name, value in exported.items():
        assert torch.equal(value, seen[summary["epoch"]][f"model.{name}"])


def test_without_a_validation_split_the_last_epoch_is_exported(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, ["--data.val_split", "none"])
    summary = fit(recipe, tmp_path / "run")
    assert summary["epoch"] == 2
    assert "val_loss" not in summary


@pytest.mark.parametrize(("task", "metric"), [("multilabel", "mAP"), ("regression", "mae")])
def test_other_tasks(make_project: Callable[..., Path], tmp_path: Path, task: str, metric: str) -> None:
    summary = fit(load_recipe(make_project(task, optimizer="adamw", learning_rate=0.01)), tmp_path / "run")
    assert summary["monitor"] == f"val_{metric}"
    assert 0 < summary[f"val_{metric}"] <= 1


def test_it_learns(make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(make_project(epochs=12), ["--model.dropout", "0", "--model.drop_path", "0"])
    assert fit(recipe, tmp_path / "run")["val_accuracy"] == 1


def test_bf16_warmup_and_tensorboard(make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(
        make_project(precision="bf16-mixed", warmup_epochs=1.5, logger="tensorboard", label_smoothing=0.1)
    )
    fit(recipe, tmp_path / "run")
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 1
    exported = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert exported["head.weight"].dtype == torch.float32


def test_same_seed_same_result(project: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name))
        torch.rand(seed)  # whatever state the process is in
        fit(load_recipe(project, ["--train.seed", str(seed)]), tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert history(tmp_path / "a") == history(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_deterministic_kernels_only_while_it_trains(recipe: Recipe, tmp_path: Path) -> None:
    during = []
    wanted = replace(recipe, train=replace(recipe.train, deterministic=True))
    fit(wanted, tmp_path / "run", on_step=lambda *_: during.append(torch.are_deterministic_algorithms_enabled()))
    assert during
    assert all(during)
    assert not torch.are_deterministic_algorithms_enabled()


def test_workers_change_nothing(project: Path, tmp_path: Path) -> None:
    fit(load_recipe(project), tmp_path / "none")
    fit(load_recipe(project, ["--data.workers", "2"]), tmp_path / "two")
    assert weights(tmp_path / "none") == weights(tmp_path / "two")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, dict[str, Any]]:
    """A recipe of three epochs, its run, which was never stopped, and the summary of that."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = load_recipe(feature_project.make_project(folder / "project", epochs=3))
    return recipe, folder / "run", fit(recipe, folder / "run")


# Three steps an epoch: within the first epoch, within the second, at the end of each, after the last one.
@pytest.mark.parametrize(("kind", "number"), [("step", 2), ("step", 5), ("epoch", 1), ("epoch", 2), ("epoch", 3)])
def test_a_resumed_run_ends_as_if_it_had_never_been_stopped(
    whole: tuple[Recipe, Path, dict[str, Any]], tmp_path: Path, kind: str, number: int
) -> None:
    recipe, unstopped, summary = whole

    def on_step(done: int, total: int) -> None:
        if (kind, number) == ("step", done):
            raise PowerCut

    def on_epoch(row: Mapping[str, float]) -> None:
        if (kind, number) == ("epoch", row["epoch"]):
            raise PowerCut

    assert recipe.model.dropout > 0
    assert recipe.model.drop_path > 0
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "stopped", on_step=on_step, on_epoch=on_epoch)
    assert not (tmp_path / "stopped" / "model").exists()
    torch.rand(7)  # the process that resumes is in another state
    resumed = fit(recipe, tmp_path / "stopped", resume=True)
    assert weights(tmp_path / "stopped") == weights(unstopped)
    assert history(tmp_path / "stopped") == history(unstopped)
    assert resumed | {"seconds": 0} == summary | {"seconds": 0}
    last = [torch.load(run / "checkpoints" / "last.ckpt") for run in (tmp_path / "stopped", unstopped)]
    torch.testing.assert_close(last[0]["optimizer_states"], last[1]["optimizer_states"], rtol=0, atol=0)


def test_a_resumed_run_takes_the_same_batches_from_workers(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers fetch batches ahead, before anything but the checkpoint says which epoch it is."""
    recipe = load_recipe(project, ["--data.workers", "2", "--train.epochs", "3"])
    taken: list[tuple[int, list[str]]] = []
    step = FusionModule.training_step

    def watched(self: FusionModule, batch: Batch, index: int) -> torch.Tensor | None:
        taken.append((self.current_epoch, batch.ids))
        return step(self, batch, index)

    def on_epoch(row: Mapping[str, float]) -> None:
        raise PowerCut

    monkeypatch.setattr(FusionModule, "training_step", watched)
    fit(recipe, tmp_path / "whole")
    whole = list(taken)
    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "stopped", on_epoch=on_epoch)
    taken.clear()
    fit(recipe, tmp_path / "stopped", resume=True)
    assert taken == [batch for batch in whole if batch[0] > 0]
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


@pytest.fixture
def default_interrupt() -> Iterator[None]:
    """What Ctrl-C does in a terminal, also where the tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "outcome", "code"), [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)]
)
def test_a_signal_stops_a_run_that_can_be_resumed(
    default_interrupt: None,
    recipe: Recipe,
    tmp_path: Path,
    number: signal.Signals,
    outcome: type[BaseException],
    code: int | None,
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 4:
            signal.raise_signal(number)

    handler = signal.getsignal(number)
    with pytest.raises(outcome) as stopped:
        fit(recipe, tmp_path / "run", on_step=interrupt)
    assert getattr(stopped.value, "code", None) == code
    assert signal.getsignal(number) is handler
    fit(recipe, tmp_path / "run", resume=True)
    assert len(history(tmp_path / "run")) == 2


def test_resuming_a_finished_run_leaves_it_alone(whole: tuple[Recipe, Path, dict[str, Any]]) -> None:
    recipe, run, summary = whole
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert fit(recipe, run, resume=True) == summary
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_directory_that_holds_a_run_is_not_overwritten(whole: tuple[Recipe, Path, dict[str, Any]]) -> None:
    recipe, run, _ = whole
    before = weights(run)
    with pytest.raises(RunError, match=r"holds a finished run; resume it \(--resume\)"):
        fit(recipe, run)
    assert weights(run) == before


def test_a_directory_of_something_else_is_not_used(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(RunError, match="no empty directory and holds no run"):
        fit(recipe, tmp_path)


def test_resuming_with_another_recipe(whole: tuple[Recipe, Path, dict[str, Any]]) -> None:
    recipe, run, summary = whole
    again = shutil.copytree(run, run.with_name("again"))  # beside it: the manifest is found from there
    faster = replace(recipe, train=replace(recipe.train, learning_rate=0.1))
    with pytest.raises(RunError, match=r"begun with train.learning_rate 0\.05, the recipe now says 0\.1"):
        fit(faster, again, resume=True)
    lenient = replace(recipe, data=replace(recipe.data, max_bad=0.5))
    assert fit(lenient, again, resume=True) == summary


def test_a_run_without_a_whole_epoch_takes_over_a_mended_recipe(project: Path, tmp_path: Path) -> None:
    mended = load_recipe(project, ["--train.learning_rate", "0.1"])

    def stop(done: int, total: int) -> None:
        raise PowerCut

    with pytest.raises(PowerCut):
        fit(load_recipe(project), tmp_path / "run", on_step=stop)
    fit(mended, tmp_path / "run", resume=True)
    fit(mended, tmp_path / "fresh")
    assert weights(tmp_path / "run") == weights(tmp_path / "fresh")
    assert load_recipe(tmp_path / "run" / "config.yaml").train.learning_rate == 0.1


def test_resuming_after_the_labels_changed(recipe: Recipe, project: Path, tmp_path: Path) -> None:
    fit(recipe, tmp_path / "run")
    rows = read_rows(project.parent)
    rows[0]["label"] = "down"
    write_manifest(project.parent, rows)
    with pytest.raises(RunError, match="3 labels, the manifest now gives 4, and they differ in 'down'"):
        fit(recipe, tmp_path / "run", resume=True)


def test_bad_samples_are_skipped_named_and_counted_once(project: Path, tmp_path: Path) -> None:
    (project.parent / "train3_motion.npy").write_bytes(b"no array")
    (project.parent / "val2_motion.npy").unlink()
    summary = fit(load_recipe(project, ["--data.max_bad", "0.2"]), tmp_path / "run")
    assert summary["skipped"] == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()]
    assert {(line["split"], line["id"]) for line in lines} == {("train", "train3"), ("val", "val2")}
    assert all(line["file"].endswith(f"{line['id']}_motion.npy") and line["reason"] for line in lines)


def test_a_batch_of_bad_samples_alone_is_passed_over(project: Path, tmp_path: Path) -> None:
    (project.parent / "train3_motion.npy").unlink()
    fit(load_recipe(project, ["--data.max_bad", "0.1", "--train.batch_size", "1"]), tmp_path / "run")
    assert len(history(tmp_path / "run")) == 2


def test_too_many_bad_samples_stop_the_run(project: Path, tmp_path: Path) -> None:
    for i in range(2):
        (project.parent / f"train{i}_motion.npy").unlink()
    with pytest.raises(TooManyBadSamplesError) as error:
        fit(load_recipe(project, ["--data.max_bad", "0.1"]), tmp_path / "run")
    assert "2 of the 12 samples of split 'train'" in str(error.value)
    assert "train0_motion.npy" in str(error.value)
    assert "data.max_bad = 0.1" in str(error.value)
    summary = fit(load_recipe(project, ["--data.max_bad", "0.2"]), tmp_path / "run", resume=True)
    assert summary["skipped"] == 2


def test_a_loss_that_is_no_number_stops_the_run(make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(make_project("regression", learning_rate=1e30, clip_norm=0))
    with pytest.raises(TrainingError, match=r"training loss became .* in epoch 1: lower train\.learning_rate"):
        fit(recipe, tmp_path / "run")


def test_a_loss_beyond_all_reason_is_in_the_summary(make_project: Callable[..., Path], tmp_path: Path) -> None:
    for name, rate, diverged in (("wild", 1e4, True), ("tame", 0.05, False)):
        summary = fit(load_recipe(make_project(learning_rate=rate)), tmp_path / name)
        assert ("diverged" in summary) is diverged
        assert json.loads((tmp_path / name / "summary.json").read_text()) == summary
        if diverged:
            assert "an answer without looking costs about 1.1; lower train.learning_rate (10000)" in summary["diverged"]
            assert max(summary["train_loss"], summary["val_loss"]) > 1000


def test_what_an_answer_without_looking_costs(make_project: Callable[..., Path]) -> None:
    losses = {}
    for task, outputs in (("multiclass", 3), ("multilabel", 3), ("regression", 0)):
        labels = ["left", "right", "up"][:outputs]
        losses[task] = blind_loss(ManifestDataset(load_recipe(make_project(task)).data, "train", labels), outputs)
    # The numbers are 0, 0.5 and 1 in turn.
    assert losses == pytest.approx({"multiclass": math.log(3), "multilabel": math.log(2), "regression": 1 + 1.25 / 3})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"train_loss": 10.9, "val_loss": 109.0}, None),
        ({"train_loss": 11.1, "val_loss": 0.1}, "train_loss is 11.1 in epoch 4"),
        ({"train_loss": 0.1, "val_loss": 111.0}, "val_loss is 111 in epoch 4"),  # learned by heart, and too sure
        ({"train_loss": 0.1}, None),
    ],
)
def test_what_is_beyond_all_reason(row: dict[str, float], expected: str | None) -> None:
    fine = {"epoch": 2.0, "train_loss": 0.2, "val_loss": 0.2}
    line = divergence((fine, {"epoch": 4.0, **row}), {"train": 1.1, "val": 1.1}, 0.1)
    assert (line is None) if expected is None else (line is not None and expected in line)


def test_weights_that_are_no_numbers_stop_the_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step may break them after all losses of the epoch were fine, without a validation to notice."""
    recipe = replace(recipe, data=replace(recipe.data, val_split="none"))

    def spoil(self: FusionModule, *_: object) -> None:
        if self.trainer.is_last_batch:
            self.model.head.weight.data[0, 0] = math.inf

    monkeypatch.setattr(FusionModule, "on_train_batch_end", spoil)
    with pytest.raises(TrainingError, match=r"the weights head\.weight became no finite numbers in epoch 1: lower"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_validation_loss_that_is_no_number_stops_the_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = FusionModule._score
    monkeypatch.setattr(FusionModule, "_score", lambda self, logits, labels: score(self, logits * math.nan, labels))
    with pytest.raises(TrainingError, match=r"validation loss became nan in epoch 1, and the training loss is \d"):
        fit(recipe, tmp_path / "run")


def test_an_undefined_monitor_falls_back_on_the_loss(make_project: Callable[..., Path], tmp_path: Path) -> None:
    """Of a validation split without positives there is no mAP."""
    path = make_project("multilabel", learning_rate=0.3)
    rows = read_rows(path.parent)
    write_manifest(path.parent, [row | ({"label": ";"} if row["split"] == "val" else {}) for row in rows])
    summary = fit(load_recipe(path), tmp_path / "run")
    told = history(tmp_path / "run")
    assert [row["val_mAP"] for row in told] == ["", ""]
    assert summary["monitor"] == "val_loss"
    assert summary["val_loss"] == min(float(row["val_loss"]) for row in told)
    assert len({row["val_loss"] for row in told}) == 2


def test_missing_manifest(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, ["--data.manifest", str(tmp_path / "nowhere.csv")])
    with pytest.raises(OSError, match=r"nowhere\.csv"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_training_split(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split 'practice'"):
        fit(
            load_recipe(project, ["--data.train_split", "practice", "--data.labels", "[left, right, up]"]),
            tmp_path / "run",
        )


def test_asking_for_a_gpu_that_is_not_there(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="torch finds no CUDA device"):
        fit(load_recipe(project, ["--train.accelerator", "cuda"]), tmp_path / "run")


@pytest.mark.parametrize(
    ("monitor", "scores", "expected"),
    [
        ("accuracy", [(0.5, 1.0), (0.9, 0.8), (0.9, 0.4), (0.7, 0.1)], 3),
        ("loss", [(0.5, 1.0), (0.9, 0.3), (0.9, 0.4), (0.7, 0.3)], 2),
        ("accuracy", [(None, 1.0), (None, 0.5)], 2),
        ("accuracy", [(None, 0.1), (0.2, 0.5), (None, 0.3)], 2),
        ("accuracy", [(0.5, 0.7), (0.9, 0.4), (0.9, 0.4)], 2),
        ("accuracy", [(None, 0.6), (None, 0.5), (None, 0.5)], 2),
        ("loss", [(0.1, 0.5), (0.2, 0.4), (0.9, 0.4)], 2),
    ],
)
def test_which_epoch_is_the_best(
    make_project: Callable[..., Path], monitor: str, scores: list[tuple[float | None, float]], expected: int
) -> None:
    recipe = load_recipe(make_project(monitor=monitor))
    keeper = EpochKeeper(RunDirectory(Path("run")), recipe, BadSampleLog({}, 0))
    for epoch, (accuracy, loss) in enumerate(scores, start=1):
        keeper.rows.append({"epoch": epoch, "val_accuracy": accuracy, "val_loss": loss})
    assert keeper.best["epoch"] == expected
