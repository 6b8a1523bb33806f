"""The finished run that a search starts from."""

import json
from pathlib import Path

from feature_project import make_project
from locomt.search.starting_run import load_fitting
from locomt.train import Run, fit, load_recipe


def test_a_search_asks_the_views_of_a_model_that_answers_apart(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path, unimodal_loss=0.0), "--train.epochs 1")
    fit(recipe, tmp_path / "run")
    path = tmp_path / "run" / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shares": {"motion": 1.9, "sound": 0.1}, "apart": True}))
    assert Run.load(tmp_path / "run").model.config.apart
    model = load_fitting(tmp_path / "run", recipe.fusion_config(["left", "right", "up"])).model
    assert not model.config.apart
    inputs = model.example_inputs(2)
    table = model.table
    assert table is not None
    before = model(inputs)
    model.set_views(type(table).uniform("self", table.modalities, len(table.layers), table.num_heads))
    assert not before.equal(model(inputs))
