"""Tables searched on the weights of one model, and the choice among them when it is used."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feature_project import make_project
from locomt.cli.main import main
from locomt.nn.model import FusionModel
from locomt.search import view_times as device
from locomt.search.budget import Budget, SearchError
from locomt.search.candidate import with_table
from locomt.search.elastic_front import FRONT, keep_front, table_within
from locomt.search.question import Question
from locomt.search.scoring import validation_scores
from locomt.search.search import CHOSEN, search
from locomt.train import Run, evaluate, load_recipe
from locomt.train.config import RecipeError
from locomt.train.origin import MARK, mark_of
from locomt.train.recipe import Recipe
from locomt.views import SELF, ViewTable
from search_spaces import make_space

# 9 and 5 tokens: a self head takes 106 score pairs, a cross head 90, a multi head 196; in the last layer, of which
# two class tokens are read, 14, 14 and 28.
WIDER = ["--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--model.heads", "4"]
WIDER += ["--train.epochs", "1", "--train.augment.drop_modality", "0.3"]
CHEAPEST = (90 + 14) / (196 + 28)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("elastic")
    recipe = load_recipe(make_project(folder / "project", unimodal_loss=0.0), WIDER)
    plan = Question(recipe=recipe, budget=Budget.parse("0.52"), method="elastic", tables=60, epochs=1)
    return plan, folder / "out", search(plan, folder / "out")


@pytest.fixture(scope="module")
def trained(made: tuple[Question, Path, dict[str, Any]]) -> Path:
    return made[1] / "runs" / "elastic" / "seed-0"


def copy(run: Path, folder: Path) -> Path:
    """The run in another place, from where it finds its manifest too."""
    shutil.copytree(run, folder)
    put(load_recipe(run / "config.yaml"), folder)
    return folder


def put(recipe: Recipe, run: Path) -> None:
    """Change the recipe of a run as its own user may."""
    config = recipe.to_yaml(run)
    (run / "config.yaml").write_text(config)
    (run / MARK).write_text(mark_of(config.encode()) + "\n")


def test_one_training_serves_many_tables(made: tuple[Question, Path, dict[str, Any]], trained: Path) -> None:
    _, out, document = made
    assert len({entry["views"] for entry in document["tables"]}) == 60
    assert document["training_runs"] == 1 + 3
    assert max(entry["share"] for entry in document["tables"]) <= 0.52
    assert {tuple(entry["runs"]) for entry in document["tables"]} == {(str(trained),)}
    assert {entry["training_runs"] for entry in document["tables"]} == {0}
    names = {name.split()[0] for entry in document["tables"] for name in entry["names"]}
    assert names >= {"cheapest", "spread", "drawn", "bred"}
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["elastic", "multiall"]
    assert load_recipe(trained / "config.yaml").train.start == str((out / "runs" / "multiall" / "seed-0").absolute())


def test_scores_are_those_of_the_tables_own_models(made: tuple[Question, Path, dict[str, Any]], trained: Path) -> None:
    run = Run.load(trained)
    for entry in made[2]["tables"][::20]:
        run.model.set_views(ViewTable.parse(entry["views"], ("motion", "sound")))
        assert entry["scores"] == [evaluate(run, "val", device="cpu")["metrics"]["accuracy"]]


def test_a_table_is_scored_as_training_scores_its_own(
    made: tuple[Question, Path, dict[str, Any]], trained: Path
) -> None:
    run, summary = Run.load(trained), json.loads((trained / "summary.json").read_text())
    own = run.model.table
    assert own is not None
    tables = [own, ViewTable.uniform("self", own.modalities, 2, 4), own]
    first, _, again = validation_scores(run, tables, device=torch.device("cpu"))
    assert first == again == summary["val_accuracy"]
    assert run.model.table == own


def test_the_chosen_recipe_goes_on_from_the_elastic_weights(
    made: tuple[Question, Path, dict[str, Any]], trained: Path
) -> None:
    _, out, document = made
    chosen = load_recipe(out / CHOSEN)
    assert str(chosen.model.views) == document["chosen"]["views"]
    assert chosen.train.start == document["chosen"]["start"] == str(trained.absolute())
    assert chosen.train.views == "fixed"
    assert document["chosen"]["mean"] == max(entry["mean"] for entry in document["tables"])


def test_the_same_search_finds_the_same_tables(
    made: tuple[Question, Path, dict[str, Any]], trained: Path, tmp_path: Path
) -> None:
    plan, _, document = made
    again = search(replace(plan, source=copy(trained, tmp_path / "run"), epochs=None), tmp_path / "out")
    found = [[(entry["views"], entry["names"], entry["scores"]) for entry in d["tables"]] for d in (document, again)]
    assert found[0] == found[1]


def test_what_is_known_of_the_same_weights_is_not_scored_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(trained, tmp_path / "run")
    recipe = load_recipe(run / "config.yaml")
    plan = Question(recipe=recipe, budget=Budget.parse("1"), method="elastic", tables=6, source=run)
    scored: list[int] = []

    def counted(run: Run, tables: list[ViewTable], *, device: torch.device) -> list[float]:
        scored.append(len(tables))
        return validation_scores(run, tables, device=device)

    monkeypatch.setattr("locomt.search.methods.elastic.validation_scores", counted)
    first = search(plan, tmp_path / "out")
    assert sum(scored) == 6
    assert search(plan, tmp_path / "out") == first
    assert sum(scored) == 6
    search(replace(plan, tables=8), tmp_path / "out")
    assert sum(scored) == 8
    model = FusionModel.from_pretrained(run / "model")
    for parameter in model.parameters():
        parameter.data += 0.5
    model.save_pretrained(run / "model")
    search(plan, tmp_path / "out")
    assert sum(scored) == 14


def test_breeding_climbs(
    made: tuple[Question, Path, dict[str, Any]], trained: Path, monkeypatch: Any, tmp_path: Path
) -> None:
    """Scored by how many heads of the upper layer are cross and of the lower self, the best possible is found."""

    def scores(run: Run, tables: list[ViewTable], *, device: torch.device) -> list[float]:
        return [
            sum(view.is_cross == bool(number) for number, layer in enumerate(table.layers) for view in layer.heads) / 8
            for table in tables
        ]

    monkeypatch.setattr("locomt.search.methods.elastic.validation_scores", scores)
    plan, _, _ = made
    plan = replace(plan, budget=Budget.parse("0.536"), source=copy(trained, tmp_path / "run"), epochs=None)
    document = search(plan, tmp_path / "out")
    assert document["chosen"]["views"] == "self:4\nmotion~sound:4"
    assert document["chosen"]["mean"] == 1


def test_a_budget_of_time_is_for_the_device_it_is_used_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.load(copy(trained, tmp_path / "run"))
    own, cross = "self:4\nself:4", "motion~sound:4\nmotion~sound:4"
    front = [{"views": views, "mean": mean, "gflops": 1, "share": 1} for views, mean in ((cross, 1.0), (own, 0.5))]
    (run.path / FRONT).write_text(json.dumps({"better": "more", "front": front}))

    def clock(candidates: dict[Any, Any], place: str, budget: float) -> dict[Any, float]:
        return {(view, last): 1e-3 if view == SELF else 2e-3 for view, last in candidates}

    monkeypatch.setattr(device, "paired_seconds", clock)
    assert str(table_within(run, Budget.parse("3ms"))) == own
    assert str(table_within(run, Budget.parse("4ms"))) == cross
    path = run.path / device.DEVICE
    elsewhere = json.loads(path.read_text()) | {"device": "abacus"}
    path.write_text(
        json.dumps(elsewhere | {name: dict.fromkeys(elsewhere[name], 1e-3) for name in elsewhere if "per" in name})
    )
    assert str(table_within(run, Budget.parse("3ms"))) == own
    assert json.loads(path.read_text())["device"] != "abacus"


def test_the_front_serves_predictions_within_a_budget(
    made: tuple[Question, Path, dict[str, Any]], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, front = Run.load(trained), json.loads((trained / FRONT).read_text())["front"]
    assert front[0]["share"] == pytest.approx(CHEAPEST)
    shares, means = [entry["share"] for entry in front], [entry["mean"] for entry in front]
    assert shares == sorted(shares)
    assert means == sorted(means)
    assert str(table_within(run, Budget.parse("1"))) in {e["views"] for e in front if e["mean"] == means[-1]}
    table = table_within(run, Budget.parse("0.465"))
    assert str(table.layers[0]) == "motion~sound:4"  # in the last layer, all is one
    for modality, steps in (("motion", 8), ("sound", 4)):
        np.save(tmp_path / f"{modality}.npy", np.ones((steps, 6), dtype=np.float32))
    sample = ",".join(f"{modality}={tmp_path / modality}.npy" for modality in ("motion", "sound"))
    line = ["predict", str(trained), sample, "--json", "--top", "1"]
    scores = []
    for options in ([], ["--budget", "0.465"]):
        assert main([*line, *options]) == 0
        scores.append(json.loads(capsys.readouterr().out)[0]["predictions"][0]["score"])
    assert scores[0] != scores[1]
    assert main(["evaluate", str(trained), "--split", "val", "--budget", "0.465", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"] == front[0]["mean"]


def test_a_front_grows(tmp_path: Path) -> None:
    common = {"metric": "val_accuracy", "better": "more"}
    space = make_space({"a": 9, "b": 5})
    cross, own, mixed = "a~b:2\na~b:2", "self:2\nself:2", "self:1 a~b:1\nself:2"
    keep_front(tmp_path, common, [{"views": cross, "mean": 0.5}, {"views": own, "mean": 0.7}], space)
    earlier = json.loads((tmp_path / FRONT).read_text())
    for entry in earlier["front"]:  # as an earlier version counted
        entry["gflops"] *= 100
    (tmp_path / FRONT).write_text(json.dumps(earlier))
    keep_front(tmp_path, common, [{"views": mixed, "mean": 0.8}], space)
    found = json.loads((tmp_path / FRONT).read_text())["front"]
    assert [entry["views"] for entry in found] == [cross, mixed]
    assert [entry["gflops"] for entry in found] == [space.gflops(2 * (90 + 14)), space.gflops(106 + 90 + 2 * 14)]


@pytest.mark.parametrize(
    ("overrides", "weights", "kept"),
    [
        ((), 0.0, True),
        (("--train.monitor", "loss"), 0.0, False),
        (("--data.val_split", "test"), 0.0, False),
        ((), 0.5, False),
    ],
)
def test_only_scores_that_compare_share_a_front(
    trained: Path, tmp_path: Path, overrides: tuple[str, ...], weights: float, kept: bool
) -> None:
    run = copy(trained, tmp_path / "run")

    def front(out: str, *overrides: str) -> dict[str, Any]:
        recipe = load_recipe(run / "config.yaml", overrides)
        search(
            Question(recipe=recipe, budget=Budget.parse("1"), method="elastic", tables=2, source=run), tmp_path / out
        )
        return dict(json.loads((run / FRONT).read_text()))

    views = "motion>sound:4\nmotion>sound:4"  # cheaper than any of a search
    known = {"views": views, "mean": 0.0}
    (run / FRONT).write_text(json.dumps(front("before") | {"front": [known]}))
    if weights:
        model = FusionModel.from_pretrained(run / "model")
        for parameter in model.parameters():
            parameter.data += weights
        model.save_pretrained(run / "model")
    after = front("after", *overrides)
    assert (views in [entry["views"] for entry in after["front"]]) == kept
    assert after["better"] == ("less" if "loss" in overrides else "more")


def test_what_cannot_serve_is_told(
    made: tuple[Question, Path, dict[str, Any]], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def message(*line: str) -> str:
        assert main(list(line)) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "budget 0.4 is below what any table costs" in message("predict", str(trained), "a.npy", "--budget", "0.4")
    bare = copy(trained, tmp_path / "bare")
    (bare / FRONT).unlink()
    assert "holds no front.json to choose a table from" in message("evaluate", str(bare), "--budget", "0.5")
    (bare / FRONT).write_text("{}")
    assert "expected what `locomt search` wrote" in message("evaluate", str(bare), "--budget", "0.5")
    dear = {"views": "self:4\nself:4", "mean": 1.0}
    (bare / FRONT).write_text(json.dumps({"metric": "val_accuracy", "better": "more", "front": [dear]}))
    assert "takes 0.5357 of Multiall's" in message("evaluate", str(bare), "--budget", "0.5")
    fixed = with_table(load_recipe(bare / "config.yaml"), ViewTable.parse("self:4\nself:4", ("motion", "sound")))
    put(fixed, bare)
    FusionModel(fixed.fusion_config()).save_pretrained(bare / "model")
    assert "trained with train.views 'fixed'" in message("evaluate", str(bare), "--budget", "0.5")
    line = ("search", "--budget", "0.5", "--method", "elastic", "--from")
    assert "or of train.views 'elastic', got one of 'locomt' and 'fixed'" in message(*line, str(bare))
    assert "is trained already; leave --epochs out" in message(*line, str(trained), "--epochs", "2")
    assert "is one run, of one seed" in message(*line, str(trained), "--seeds", "2")
    assert "has heads 4, the recipe asks for 2" in message(*line, str(trained), "--model.heads", "2")


def test_a_dense_run_becomes_elastic(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dense = made[1] / "runs" / "multiall" / "seed-0"
    line = ["search", "--from", str(dense), "--method", "elastic", "--budget", "1", "--tables", "4", "--json"]
    assert main([*line, "--epochs", "2", "--out", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["training_runs"] == 3 * 2  # one epoch is a run
    own = load_recipe(tmp_path / "out" / "runs" / "elastic" / "seed-0" / "config.yaml").train
    assert (own.epochs, own.views, own.start) == (2, "elastic", str(dense))


def test_an_elastic_run_is_searched_from_the_command_line(
    made: tuple[Question, Path, dict[str, Any]], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(trained, tmp_path / "run")
    line = ["search", "--from", str(run), "--method", "elastic", "--budget", "1", "--tables", "12", "--json"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["training_runs"] == 0
    assert len(document["tables"]) == 12
    with pytest.raises(SearchError, match="takes no option --one-way; it is for random, mass,"):
        Question(recipe=made[0].recipe, budget=Budget.parse("1"), method="elastic", one_way=True)


def test_what_cannot_be_elastic_is_told_before_anything_is_trained(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path
) -> None:
    recipe = made[0].recipe
    compiled = replace(recipe, train=replace(recipe.train, compile=True))
    with pytest.raises(RecipeError, match="which cannot be compiled"):
        search(replace(made[0], recipe=compiled), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_elastic_run_alone_is_searched_with_the_recipe_it_was_made_for(
    made: tuple[Question, Path, dict[str, Any]], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(trained, tmp_path / "run")
    line = ["--from", str(run), "--method", "elastic", "--budget", "1", "--tables", "3", "--json"]
    assert main(["search", *line, "--out", str(tmp_path / "alone"), "--train.batch_size", "4"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["train"] == made[2]["settings"]["train"] | {"batch_size": 4}  # from no weights, for its epochs
    assert settings["model"] == made[2]["settings"]["model"]

    own = load_recipe(run / "config.yaml")
    gone = replace(own, train=replace(own.train, start=str(tmp_path / "gone")))
    put(gone, run)
    assert main(["search", *line, "--out", str(tmp_path / "gone-out")]) == 2
    assert f"give the recipe as well: locomt search CONFIG --from {run}" in capsys.readouterr().err
    given = tmp_path / "clips.yaml"
    given.write_text(made[0].recipe.to_yaml(tmp_path))
    assert main(["search", str(given), *line, "--out", str(tmp_path / "given")]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == made[2]["settings"]
