"""A way of training views is a Lightning module and an entry in one table."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from locomt.data import Batch
from locomt.nn.model import FusionModel
from locomt.train import fit, load_recipe
from locomt.train.config import RecipeError
from locomt.train.evaluation import Run
from locomt.train.memory import estimate
from locomt.train.module import FusionModule
from locomt.train.views import VIEWS, ViewTraining
from locomt.views import SELF, LayerViews, ViewTable

MODALITIES = ("motion", "sound")
ALONE = ViewTable((LayerViews(MODALITIES, (SELF, SELF)),))


class Aloof(FusionModule):
    """Trains with every head on its own modality, and leaves the model so."""

    def _train_loss(self, batch: Batch, index: int) -> Tensor:
        self.model.set_views(ALONE)
        return super()._train_loss(batch, index)


def test_another_way_takes_a_module_and_an_entry(
    make_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, options = make_project(), ["--train.epochs", "1", "--model.cross", "1"]
    with pytest.raises(RecipeError, match=r"train\.views: expected one of"):
        load_recipe(path, [*options, "--train.views", "aloof"])
    monkeypatch.setitem(VIEWS, "aloof", ViewTraining(home=f"{__name__}:Aloof", passes=lambda train: 2))
    recipe, fixed = load_recipe(path, [*options, "--train.views", "aloof"]), load_recipe(path, options)
    fit(recipe, tmp_path / "aloof")
    fit(fixed, tmp_path / "fixed")
    model = FusionModel.from_pretrained(tmp_path / "aloof" / "model")
    assert model.table == ALONE != FusionModel.from_pretrained(tmp_path / "fixed" / "model").table
    assert Run.load(tmp_path / "aloof").model.table == ALONE  # and not the recipe's own
    config = recipe.fusion_config()
    assert estimate(recipe, config).activations == 2 * estimate(fixed, config).activations


@pytest.mark.parametrize("name", VIEWS)
def test_the_model_s_table_may_change_where_its_kind_says_so(name: str, make_project: Callable[..., Path]) -> None:
    options = ["--model.fusion", "selfall", "--train.views", name]
    if VIEWS[name].changes:
        with pytest.raises(RecipeError, match="has no views to change"):
            load_recipe(make_project(), options)
    else:
        assert load_recipe(make_project(), options).searching_epochs == 0
