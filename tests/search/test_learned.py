"""`locomt search --method learned`: one run finds the table, and what it costs is what is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from feature_project import make_project
from locomt import FusionModel
from locomt.cli.main import main
from locomt.nn.attention import ViewMixture
from locomt.search.budget import Budget
from locomt.search.ledger import Ledger, read_results
from locomt.search.methods.learned import cost_in_runs, learned_recipe
from locomt.search.question import Question
from locomt.search.search import search
from locomt.search.space import Space
from locomt.search.work import Work
from locomt.train import Run, load_recipe
from locomt.train.run_directory import RunDirectory
from locomt.train.runs import Runner

WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("learned")
    recipe = make_project(folder / "project", unimodal_loss=0.0)
    line = ["search", str(recipe), "--method", "learned", "--budget", "0.5", "--out", str(folder / "out"), *WIDER]
    assert main([*line, "--json"]) == 0
    return line, folder / "out"


def read(out: Path) -> dict[str, Any]:
    return read_results(out / "results.json")


def test_the_run_that_found_the_table_is_its_model(made: tuple[list[str], Path]) -> None:
    _, out = made
    document = read(out)
    (entry,) = document["tables"]
    assert document["chosen"] == entry
    assert entry["names"] == ["learned 0"]
    assert entry["share"] <= 0.5
    (folder,) = entry["runs"]
    assert str(Run.load(folder).model.table) == entry["views"]
    assert entry["scores"] == [RunDirectory(Path(folder)).read_summary()["val_accuracy"]]
    assert 1 < document["training_runs"] == entry["training_runs"] < 2


def test_the_recipe_tunes_that_model(made: tuple[list[str], Path], tmp_path: Path) -> None:
    _, out = made
    entry = read(out)["chosen"]
    recipe = load_recipe(out / "chosen.yaml")
    assert (recipe.train.views, recipe.train.epochs, recipe.model.views) == ("fixed", 1, entry["views"])
    assert recipe.train.start == entry["start"] == str(Path(entry["runs"][0]).absolute())
    assert main(["train", str(out / "chosen.yaml"), "--run", str(tmp_path / "tuned")]) == 0


def test_again_it_is_found_done_and_another_budget_is_another_run(
    made: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line, out = made
    before = read(out)
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "found done" in captured.err
    assert f"cost of this search: {before['training_runs']:.4g} training runs" in captured.out
    assert read(out) == before
    assert main([*line, "--budget", "0.46", "--one-way"]) == 0  # the last one counts
    document = read(out)
    assert document["chosen"]["share"] <= 0.46
    assert len(list((out / "runs").iterdir())) == 2


def test_a_budget_of_time_is_kept_by_the_times_of_the_views(tmp_path: Path) -> None:
    """Cross heads are the slow ones here, so that a budget of just above all self leaves room for one of four."""
    recipe = load_recipe(make_project(tmp_path / "project", unimodal_loss=0.0), WIDER)
    nanoseconds = {"multi": 3001, "self": 999, "motion~sound": 2003}
    document = {"device": "a device", "torch": "2", "precision": "32", "tokens": {"motion": 9, "sound": 5}}
    document |= {"heads": 2, "head_width": 8, "tables": {}}
    document |= {"ms_per_head": {view: n / 1e6 for view, n in nanoseconds.items()}}
    document["ms_per_head"] |= {"motion>sound": 1.0, "sound>motion": 1.0}
    out = tmp_path / "out"
    out.mkdir()
    (out / "device.json").write_text(json.dumps(document))
    found = search(Question(recipe=recipe, budget=Budget.parse("0.005ms"), method="learned"), out)
    views = found["chosen"]["views"].split()
    crosses = sum(int(item.partition(":")[2]) for item in views if item.startswith("motion~sound"))
    assert found["chosen"]["ms"] == pytest.approx((999 * (4 - crosses) + 2003 * crosses) / 1e6)
    assert crosses <= 1
    (folder,) = found["chosen"]["runs"]
    learned = Run.load(folder).recipe.train.learn_views
    assert learned.prices == nanoseconds
    assert learned.budget == 5000 / (4 * 3001)


def test_each_seed_learns_a_table(made: tuple[list[str], Path], tmp_path: Path) -> None:
    line, _ = made
    assert main([*line, "--seeds", "2", "--out", str(tmp_path / "out")]) == 0
    document = read(tmp_path / "out")
    entries = {name: entry for entry in document["tables"] for name in entry["names"]}
    assert {name: entry["seeds"] for name, entry in entries.items()} == {"learned 0": [0], "learned 1": [1]}
    for entry in entries.values():
        (folder,) = entry["runs"]
        run = Run.load(folder)
        assert str(run.model.table) == entry["views"]
        assert [run.recipe.train.seed] == entry["seeds"]
    assert document["training_runs"] == pytest.approx(sum(entry["training_runs"] for entry in entries.values()))


@pytest.mark.parametrize("one_way", [False, True])
def test_its_cost_is_that_of_counted_flops(tmp_path: Path, one_way: bool) -> None:
    recipe = load_recipe(make_project(tmp_path, unimodal_loss=0.0), [*WIDER, "--train.learn_views.until", "0.34"])
    wanted = Question(recipe=recipe, budget=Budget.parse("0.5"), method="learned", one_way=one_way)
    space = Space(recipe.fusion_config(("left", "right", "up")), one_way)
    work = Work(Ledger(wanted, space, tmp_path), Runner())
    learning = learned_recipe(work)
    model = FusionModel(space.config)
    assert model.table is not None
    shape = (space.layers, space.heads, len(space.views))
    counts = []
    for mixture in (None, ViewMixture(space.views, torch.ones(shape, requires_grad=True))):
        with FlopCounterMode(display=False) as counter:
            model(model.example_inputs(), None, mixture).sum().backward()
        counts.append(counter.get_total_flops())
    assert learning.searching_epochs == 1  # of 3
    ratio = counts[1] / counts[0]
    assert cost_in_runs(work, learning, model.table) == pytest.approx(ratio / 3 + 2 / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tables", "2"], "method learned takes no option --tables"),
        (["--train.epochs", "1"], "expected train.epochs of 2 or more"),
    ],
)
def test_mistakes_are_one_line(
    made: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([*made[0], "--out", str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
