"""One model trained for all view tables: what each step draws, and what stays the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from locomt.nn.model import FusionModel
from locomt.train import fit, load_recipe
from locomt.train.config import RecipeError
from locomt.train.evaluation import Run, evaluate
from locomt.train.views.elastic import step_tables
from locomt.views import View, ViewTable

OWN = ViewTable.uniform("self", ("video", "audio", "text"), 3, 4)
TABLES = ("cross", "random", "random")
ELASTIC = ["--train.views", "elastic", "--train.epochs", "2", "--model.views", "motion~sound:1 self:1"]


def test_a_step_trains_the_cheap_end_and_two_others() -> None:
    cheapest, drawn, other = step_tables(TABLES, OWN, 0, 1, 2)
    assert drawn != other
    assert cheapest == ViewTable.strategy("spread", OWN.modalities, layers=3, heads=4, cross=1.0)
    assert {view for layer in cheapest.layers for view in layer.heads} == {
        View("video~audio"),
        View("video~text"),
        View("audio~text"),
    }
    assert (len(drawn.layers), drawn.num_heads, drawn.modalities) == (3, 4, OWN.modalities)


def test_the_sandwich_rule_trains_both_ends_and_one_between() -> None:
    dearest, cheapest, drawn = step_tables(("self", "cross", "random"), OWN, 0, 1, 2)
    assert dearest == OWN
    assert cheapest == step_tables(TABLES, OWN, 0, 1, 2)[0]
    assert drawn not in (dearest, cheapest)


def test_draws_depend_on_seed_epoch_and_batch_alone() -> None:
    steps = [(seed, epoch, batch) for seed in (0, 1) for epoch in (0, 1) for batch in (0, 1)]
    drawn = [step_tables(TABLES, OWN, *step)[1:] for step in steps]
    assert drawn == [step_tables(TABLES, OWN, *step)[1:] for step in steps]
    assert len(set(drawn)) == len(steps)


def test_draws_reach_all_numbers_of_cross_heads() -> None:
    counts = [
        sum(view.is_cross for layer in step_tables(TABLES, OWN, 0, 0, batch)[-1].layers for view in layer.heads)
        for batch in range(300)
    ]
    for count in range(13):  # 300 / 13 = 23 each, were they all as likely
        assert 8 <= counts.count(count) <= 50, count


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


def test_a_stopped_run_ends_in_the_same_weights(make_project: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(make_project(), [*ELASTIC, "--train.checkpoint_minutes", "1e-9"])

    def stop(done: int, total: int) -> None:
        if done == 4:  # amid the second epoch
            raise PowerCut

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(recipe, whole)
    with pytest.raises(PowerCut):
        fit(recipe, stopped, on_step=stop)
    fit(recipe, stopped, resume=True)
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (whole, stopped)]
    assert weights[0] == weights[1]
    run = Run.load(whole)  # its own table is the recipe's, by which it was judged
    assert str(run.model.table) == "motion~sound:1 self:1"
    score = evaluate(run, "val", device="cpu")["metrics"]["accuracy"]
    assert score == fit(recipe, whole, resume=True)["val_accuracy"]


@pytest.mark.parametrize("kinds", [TABLES, ("self", "cross", "random")])
def test_a_step_is_the_mean_over_its_tables(
    kinds: tuple[str, ...], make_project: Callable[..., Path], tmp_path: Path
) -> None:
    """One step of plain gradient descent moves the weights by the mean of the three gradients."""
    options = ["--train.epochs", "1", "--train.batch_size", "12", "--train.momentum", "0", "--train.clip_norm", "0"]
    options += ["--train.label_smoothing", "0", "--model.dropout", "0", "--model.drop_path", "0"]
    options += ["--model.fusion_layers", "2", "--model.heads", "4"]
    options += ["--train.start", str(tmp_path / "start")]  # weights are drawn in another order for another table
    path = make_project()
    model = FusionModel(load_recipe(path, options).fusion_config())
    model.save_pretrained(tmp_path / "start")
    assert model.table is not None
    tables = step_tables(kinds, model.table, 0, 0, 0)
    assert len(set(tables)) == 3

    def weights(run: str, *more: str) -> dict[str, torch.Tensor]:
        fit(load_recipe(path, [*options, *more]), tmp_path / run)
        return FusionModel.from_pretrained(tmp_path / run / "model").state_dict()

    single = [weights(f"table{i}", "--model.views", str(table)) for i, table in enumerate(tables)]
    together = weights("together", "--train.views", "elastic", "--train.elastic_tables", str(list(kinds)))
    for name, weight in together.items():
        mean = torch.stack([own[name].double() for own in single]).mean(dim=0)
        torch.testing.assert_close(weight.double(), mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.fusion", "multiall"], "train.views 'elastic' is for model.fusion 'locomt'"),
        (["--train.compile", "true"], "set train.compile to false"),
        (["--train.elastic_tables", "[cross, dense]"], "elastic_tables: expected one or more of self, cross, random"),
        (["--train.elastic_tables", "[]"], "elastic_tables: expected one or more of self, cross, random"),
        (["--train.views", "elastik"], "train.views: expected one of fixed, elastic"),
    ],
)
def test_what_cannot_be_elastic_is_told(make_project: Callable[..., Path], options: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(make_project(), ["--train.views", "elastic", *options])


def test_one_modality_alone_has_no_views_to_change(make_project: Callable[..., Path]) -> None:
    recipe = load_recipe(make_project(), ["--train.views", "elastic"])
    assert recipe.only("motion").train.views == "fixed"
    assert recipe.only("motion", "sound").train.views == "elastic"
    with pytest.raises(RecipeError, match="two modalities or more, got motion alone"):
        replace(recipe, data=replace(recipe.data, modalities={"motion": recipe.data.modalities["motion"]}))
