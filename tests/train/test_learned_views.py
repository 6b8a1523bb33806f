"""Views that are learned: the draw and its gradient, the budget, and runs that find a table and keep to it."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from feature_project import make_project, write_manifest
from locomt import FusionConfig, FusionModel
from locomt.cost import head_pairs
from locomt.cost.knapsack import BudgetError
from locomt.nn import FeatureSpec
from locomt.nn.config import ConfigError
from locomt.train import Run, evaluate, fit, load_recipe
from locomt.train.config import RecipeError
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunError
from locomt.train.views.choice import ViewChoice
from locomt.train.views.learned_config import LearnViews
from locomt.views import view_set

# 9 and 5 tokens: a self head takes 106 score pairs, a cross head 90, a multi head 196; in the last layer, of which
# two class tokens are read, 14, 14 and 28.
LEARNED = (
    *("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.views", "learned"),
    *("--train.epochs", "4", "--train.checkpoint_minutes", "1e-9", "--train.learn_views.until", "0.5"),
)
STEPS = 3  # an epoch


def make_config(lengths: tuple[int, ...] = (9, 5), **model: Any) -> FusionConfig:
    specs = {name: FeatureSpec(dim=3, max_length=n - 1) for name, n in zip("abcd", lengths, strict=False)}
    settings = {"dim": 16, "heads": 4, "depth": 3, "fusion_layers": 2} | model
    return FusionConfig(modalities=specs, num_outputs=2, **settings)


def test_a_draw_is_a_table_exactly_and_has_the_gradient_of_its_softmax() -> None:
    torch.manual_seed(0)
    choice = ViewChoice(make_config(), LearnViews(one_way=True, budget=1.0))
    torch.nn.init.normal_(choice.logits)
    torch.manual_seed(1)
    weights = choice.sample(0.7).weights
    assert torch.equal(weights, one_hot(weights.argmax(-1), 4).float())
    values = torch.randn(weights.shape)
    (gradient,) = torch.autograd.grad((weights * values).sum(), choice.logits)
    torch.manual_seed(1)
    soft = ((choice.logits - torch.empty(weights.shape).exponential_().log()) / 0.7).softmax(-1)
    (expected,) = torch.autograd.grad((soft * values).sum(), choice.logits)
    torch.testing.assert_close(gradient, expected)
    assert bool((gradient != 0).all())


def test_draws_follow_the_probabilities() -> None:
    choice = ViewChoice(make_config(heads=1, fusion_layers=1), LearnViews(budget=1.0))
    with torch.no_grad():
        choice.logits.copy_(torch.tensor([0.8, 0.2]).log())
    torch.manual_seed(0)
    drawn = torch.stack([choice.sample(0.5).weights.detach() for _ in range(2000)]).mean(0)
    torch.testing.assert_close(drawn, choice.probabilities.detach(), rtol=0, atol=0.04)  # more than 4 deviations


def test_the_model_of_a_draw_is_the_model_of_its_table_and_every_logit_hears_of_it() -> None:
    torch.manual_seed(0)
    model = FusionModel(make_config((9, 5, 4))).double()
    choice = ViewChoice(model.config, LearnViews(budget=1.0))
    inputs = {name: value.double() for name, value in model.example_inputs(3).items()}
    drawn = choice.sample(1.0)
    out = model(inputs, None, drawn)
    out.square().sum().backward()
    assert choice.logits.grad is not None
    assert bool((choice.logits.grad != 0).all())
    model.set_views(choice.table(drawn.weights.argmax(-1)))
    torch.testing.assert_close(out, model(inputs), rtol=1e-12, atol=1e-14)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_what_is_chosen_is_likeliest_within_the_budget(seed: int, tightness: float) -> None:
    lengths = {"a": 9, "b": 5, "c": 2}
    config = make_config(tuple(lengths.values()), heads=2, dim=4)
    prices = [head_pairs(config, view) for view in view_set(lengths)]
    least, own = 2 * sum(map(min, zip(*prices, strict=True))), 2 * (110 + 16)  # 110 and 16: all self
    limit = least + round(tightness * (own - least))
    choice = ViewChoice(config, LearnViews(budget=limit / (2 * (16**2 + 3 * 16))))
    assert choice.limit == limit
    torch.nn.init.normal_(choice.logits, generator=torch.Generator().manual_seed(seed))
    best, likeliest = choice.best(), choice.logits.argmax(-1)
    cost, at_will = (
        sum(prices[view][layer] for layer, row in enumerate(chosen.tolist()) for view in row)
        for chosen in (best, likeliest)
    )
    assert cost <= limit
    if at_will <= limit:
        assert torch.equal(best, likeliest)
    choice.chosen.copy_(best)
    assert choice.fixed
    assert choice.cost().item() == pytest.approx(cost / limit)


def test_a_budget_below_every_table_is_refused_before_anything_is_made(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, [*LEARNED, "--train.learn_views.budget", "0.45"])
    with pytest.raises(
        BudgetError, match=r"budget: expected 0\.4643 or more, which the cheapest table takes, got 0\.45"
    ):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_prices_of_ones_own_take_the_place_of_flops() -> None:
    prices = {"self": 1, "a~b": 3, "multi": 4}
    choice = ViewChoice(make_config(heads=2, fusion_layers=1, dim=4), LearnViews(budget=0.5, prices=prices))
    with torch.no_grad():
        choice.logits.copy_(torch.tensor([[0.0, 2.0], [0.0, 1.0]]))
    assert str(choice.table(choice.best())) == "a~b:1 self:1"  # 4 of 8 is half; both a~b would be 6
    prices = {"self": 2, "a~b": 1, "multi": 4}
    config = make_config(heads=2, dim=4)
    last = ViewChoice(config, LearnViews(prices=prices, last_prices={"self": 5, "a~b": 6, "multi": 9}))
    assert (last.multiall, last.prices) == (2 * (4 + 9), [[2, 1]] * 2 + [[5, 6]] * 2)
    with pytest.raises(ConfigError, match="last_prices: expected a price of each of multi, self, a~b, got none of mul"):
        ViewChoice(config, LearnViews(prices=prices, last_prices={"self": 2, "a~b": 1}))
    with pytest.raises(ConfigError, match="last_prices: expected prices, of the other layers, beside it"):
        LearnViews(last_prices=prices)
    with pytest.raises(ConfigError, match="expected a price of each of multi, self, a~b, got none of a~b"):
        ViewChoice(make_config(), LearnViews(prices={"self": 1, "multi": 4}))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("learned") / "project")


@pytest.fixture(scope="module")
def learned(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, dict[str, Any]]:
    recipe = load_recipe(project, LEARNED)
    run = tmp_path_factory.mktemp("runs") / "whole"
    return recipe, run, fit(recipe, run)


def views_of(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((run / "views.json").read_text())
    return rows


def test_the_history_of_the_views(learned: tuple[Recipe, Path, dict[str, Any]]) -> None:
    _, run, _ = learned
    rows = views_of(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["fixed"] for row in rows] == [False, False, True, True]
    assert [row["temperature"] for row in rows] == [pytest.approx(1.0), pytest.approx(0.5), None, None]
    for row in rows:
        assert [sum(layer.values()) for layer in row["frequencies"]] == pytest.approx([1, 1])
        selves = row["frequencies"][0]["self"]
        assert row["share"] == pytest.approx((106 * selves + 90 * (1 - selves) + 14) / (196 + 28))
    assert rows[0]["frequencies"] != rows[1]["frequencies"]
    assert rows[2]["views"] == rows[3]["views"] == rows[1]["views"]  # the likeliest when it was fixed
    assert rows[3]["share"] <= 0.5


def test_what_comes_out_is_a_plain_model_of_the_table(learned: tuple[Recipe, Path, dict[str, Any]]) -> None:
    recipe, folder, summary = learned
    assert summary["epoch"] > 2  # the weights of earlier epochs fit no table
    run = Run.load(folder)
    table = views_of(folder)[-1]["views"]
    assert str(run.model.table) == run.recipe.model.views == table
    made = recipe.fused("locomt", table).fusion_config(run.labels)
    assert run.model.config == replace(made, shares=run.model.config.shares)
    assert evaluate(run, "val", device="cpu")["metrics"]["accuracy"] == summary["val_accuracy"]
    fresh = FusionModel(run.model.config)
    fresh.load_state_dict(run.model.state_dict())  # nothing is left of the logits


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


def stop_at(step: int) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        assert total == 4 * STEPS
        if done == step:
            raise PowerCut

    return on_step


def history(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_stopped_before_and_after_the_table_is_fixed_it_ends_alike(
    learned: tuple[Recipe, Path, dict[str, Any]], tmp_path: Path
) -> None:
    recipe, whole, _ = learned
    run = tmp_path / "stopped"
    for step in (2, 6, 8, 11):
        with pytest.raises(PowerCut):
            fit(recipe, run, resume=True, on_step=stop_at(step))
        torch.rand(7)  # the process that resumes is in another state
    fit(recipe, run, resume=True)
    weights = "model/model.safetensors"
    assert (run / weights).read_bytes() == (whole / weights).read_bytes()
    assert views_of(run) == views_of(whole)
    assert history(run) == history(whole)
    last = [torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (run, whole)]
    for one, other in (
        *((last[0][name], last[1][name]) for name in ("state_dict", "optimizer_states")),
        (last[0]["learn_views"]["rule"], last[1]["learn_views"]["rule"]),
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_killed_before_it_was_exported_it_exports_the_table_that_was_fixed(
    learned: tuple[Recipe, Path, dict[str, Any]], tmp_path: Path
) -> None:
    recipe, whole, _ = learned
    run = tmp_path / "run"
    for name in ("config.yaml", "labels.json", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes((whole / name).read_bytes())
    (run / "config.yaml").write_text(recipe.to_yaml(run))
    fit(recipe, run, resume=True)
    for name in ("model.safetensors", "config.json"):
        assert (run / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()


def test_it_is_resumed_with_the_settings_that_it_was_begun_with(
    learned: tuple[Recipe, Path, dict[str, Any]], project: Path
) -> None:
    other = load_recipe(project, [*LEARNED, "--train.learn_views.temperature", "3"])
    with pytest.raises(RunError, match=r"begun with train.learn_views.temperature 2.0, the recipe now says 3"):
        fit(other, learned[1], resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train.epochs", "1"], "expected train.epochs of 2 or more, some before the table is fixed"),
        (["--train.compile", "true"], "train.views 'learned' changes the model at every step"),
        (["--model.fusion", "multiall"], "train.views 'learned' is for model.fusion 'locomt'"),
        (["--train.views", "found"], "train.views: expected one of fixed, .*learned, got 'found'"),
        (["--train.learn_views.budget", "0"], "train.learn_views.budget: expected a share above 0 and up to 1, got 0"),
        (["--train.learn_views.until", "2"], r"train.learn_views.until: expected \[0, 1\], got 2"),
        (["--train.learn_views.temperature", "0"], "train.learn_views.temperature: expected above 0, got 0"),
        (["--train.learn_views.cost_weight", "-1"], "train.learn_views.cost_weight: expected 0 or more, got -1"),
        (["--train.learn_views.one_way", "2"], "train.learn_views.one_way: expected bool, got 2"),
        (["--train.learn_views.prices", "{self: 0}"], "prices.self: expected a number above 0, got 0"),
        (["--train.learn_views.budgte", "1"], "unknown name 'budgte'; did you mean 'budget'"),
    ],
)
def test_refusals(project: Path, options: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(project, [*LEARNED, *options])


def test_a_baseline_has_nothing_to_learn(project: Path) -> None:
    recipe = load_recipe(project, LEARNED)
    assert recipe.fused("multiall").train.views == recipe.only("sound").train.views == "fixed"


def test_the_only_view_that_helps_is_found(tmp_path: Path) -> None:
    """Every step of `motion` is to be named, and `sound` alone says what it is: no view but motion~sound can tell."""
    rng = np.random.default_rng(0)
    names = ("motion", "noise", "sound")
    rows = []
    for split, size in (("train", 64), ("val", 16)):
        for i in range(size):
            row = {"id": f"{split}{i}", "split": split, "label": ";".join(["ab"[i % 2]] * 2)}
            for name in names:
                vectors = rng.normal(size=(2, 4)).astype(np.float32)
                vectors[:, i % 2] += 2 * (name == "sound")
                np.save(tmp_path / f"{split}{i}_{name}.npy", vectors)
                row[name] = f"{split}{i}_{name}.npy"
            rows.append(row)
    write_manifest(tmp_path, rows)
    features = {"kind": "features", "dim": 4, "max_length": 2}
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 1, "fusion_layers": 1},
        "data": {
            "manifest": "clips.csv",
            "steps": ["motion"],
            "modalities": {name: {**features, "column": name} for name in names},
        },
        "train": {
            "epochs": 6,
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 0.01,
            "views": "learned",
            "learn_views": {"budget": 1.0, "learning_rate": 0.1},
            "tensorboard": False,
            "accelerator": "cpu",
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    summary = fit(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run")
    assert str(Run.load(tmp_path / "run").model.table) == "motion~sound:2"
    assert views_of(tmp_path / "run")[3]["frequencies"][0]["motion~sound"] > 0.7  # from a quarter
    assert summary["val_accuracy"] > 0.9
