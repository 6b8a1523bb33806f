"""Averaged weights: they are those of the formula, validated, kept and exported, and a resumed run has the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from locomt.train import Run, evaluate, fit, load_recipe
from locomt.train.averaging import WeightAverage
from locomt.train.module import FusionModule
from locomt.train.run_directory import RunDirectory, RunError

EVERY_STEP = ["--train.checkpoint_minutes", "1e-9"]


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


def test_the_average_is_that_of_the_formula() -> None:
    model = torch.nn.Linear(3, 2)
    average = WeightAverage(model, 0.5)
    expected: torch.Tensor | None = None
    for step in range(30):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        average.update_parameters(model)
        decay = min(0.5, (1 + step) / (10 + step))
        now = model.weight.detach().double()
        expected = now if expected is None else decay * expected + (1 - decay) * now
        torch.testing.assert_close(average.module.weight.double(), expected, rtol=1e-5, atol=1e-6)
    own, kept = model.weight.detach().clone(), average.module.weight.clone()
    average.swap(model)
    assert torch.equal(model.weight, kept)
    average.swap(model)
    assert torch.equal(model.weight, own)
    assert torch.equal(average.module.weight, kept)


def states(run: Path, name: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return found


def test_the_weights_go_on_as_without_it_and_the_averages_are_what_is_kept(
    make_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where validation decides on nothing that training does. The last epoch is the best: there is no split for it."""
    project = make_project(learning_rate=0.3, unimodal_loss=0.0, epochs=3)
    taken: list[dict[str, torch.Tensor]] = []
    start = FusionModule.on_train_batch_start

    def watched(self: FusionModule, batch: Any, index: int) -> None:
        if self.trainer.global_step:
            taken.append({name: value.detach().clone() for name, value in self.model.named_parameters()})
        start(self, batch, index)

    fit(load_recipe(project, ["--data.val_split", "none"]), tmp_path / "plain")
    monkeypatch.setattr(FusionModule, "on_train_batch_start", watched)
    fit(load_recipe(project, ["--data.val_split", "none", "--train.ema", "0.9"]), tmp_path / "averaged")
    plain, averaged = states(tmp_path / "plain", "last"), states(tmp_path / "averaged", "last")
    for name, value in plain.items():
        assert torch.equal(averaged[name], value)
    taken.append({name.removeprefix("model."): value for name, value in plain.items()})
    assert len(taken) == 9
    exported = load_file(tmp_path / "averaged" / "model" / "model.safetensors")
    for name in taken[0]:
        expected = taken[0][name].double()
        for step, weights in enumerate(taken[1:], start=1):
            decay = min(0.9, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weights[name].double()
        torch.testing.assert_close(exported[name].double(), expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(states(tmp_path / "averaged", "best")[f"model.{name}"], exported[name])
    assert any(not torch.equal(exported[name], plain[f"model.{name}"]) for name in taken[0])


@pytest.mark.parametrize("views", ["fixed", "learned"])
def test_what_was_validated_is_exported(views: str, make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(make_project(learning_rate=0.3, ema=0.9, views=views, epochs=3), EVERY_STEP)
    summary = fit(recipe, tmp_path / "run")
    found = evaluate(Run.load(tmp_path / "run"), "val", device="cpu")["metrics"]
    assert found["accuracy"] == pytest.approx(summary["val_accuracy"])
    assert found["f1"] == pytest.approx(summary["val_f1"])
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["Averaging"]
    assert int(last["average"]["n_averaged"]) == last["steps"] == 9


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_has_the_same_averages(
    accumulate: int, make_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = make_project(learning_rate=0.3, ema=0.9, batch_size=2, accumulate=accumulate)
    recipe = load_recipe(project, EVERY_STEP)
    fit(recipe, tmp_path / "whole")

    def stop_at(step: int) -> Callable[[int, int], None]:
        def on_step(done: int, total: int) -> None:
            if done == step:
                raise PowerCut

        return on_step

    steps = 6 // accumulate
    for step in (2, steps + 2):
        with pytest.raises(PowerCut):
            fit(recipe, tmp_path / "cut", resume=True, on_step=stop_at(step))
    fit(recipe, tmp_path / "cut", resume=True)
    for name in ("last", "best"):
        whole, cut = states(tmp_path / "whole", name), states(tmp_path / "cut", name)
        assert whole.keys() == cut.keys()
        assert all(torch.equal(cut[weight], value) for weight, value in whole.items())
    histories = [RunDirectory(tmp_path / name).read_history() for name in ("whole", "cut")]
    for one, other in zip(*histories, strict=True):
        assert {**one, "seconds": None} == {**other, "seconds": None}


def test_averages_that_are_damaged_are_refused(make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(make_project(ema=0.9), EVERY_STEP)

    def stop(row: object) -> None:
        raise PowerCut

    with pytest.raises(PowerCut):
        fit(recipe, tmp_path / "run", on_epoch=stop)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for damaged, message in ((3, "expected the averages of train.ema"), ({"n_averaged": torch.tensor(1)}, "expected")):
        checkpoint["callbacks"]["Averaging"]["average"] = damaged
        torch.save(checkpoint, path)
        with pytest.raises(RunError, match=message):
            fit(recipe, tmp_path / "run", resume=True)
