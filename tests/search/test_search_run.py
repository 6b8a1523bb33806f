"""Searches from a recipe to the chosen one: what is trained, kept, found done and chosen."""

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_project import make_project
from locomt.cost import computed_pairs
from locomt.search import methods
from locomt.search.budget import Budget, SearchError
from locomt.search.front import best, front, merged
from locomt.search.ledger import RESULTS, read_results
from locomt.search.question import Question
from locomt.search.search import CHOSEN, REPORT, search
from locomt.train import Run, load_recipe
from locomt.train.recipe import Recipe
from locomt.train.runs import SCORES, Job, Outcome, Runner
from locomt.views import SELF

# 9 and 5 tokens: a self head takes 106 score pairs, a cross head 90, a multi head 196.
WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "1")


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(make_project(folder, unimodal_loss=0.0), (*WIDER, *overrides))


def wanted(recipe: Recipe, **changes: Any) -> Question:
    return Question(**{"recipe": recipe, "budget": Budget.parse("0.5")} | changes)


class Seen(list[tuple[str, bool]]):
    def __call__(self, job: Job, outcome: Outcome) -> None:
        self.append((job.label, outcome.seconds == 0))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("made")
    plan = wanted(recipe_in(folder / "project"))
    return plan, folder / "out", search(plan, folder / "out")


def test_it_says_where_its_scores_say_little(made: tuple[Question, Path, dict[str, Any]]) -> None:
    _, out, document = made
    few, other, seed, *rest = document["cautions"]
    assert [few[:27], other[:28], seed[:8]] == [
        "split 'val' has 6 samples: ",
        "split 'test' has 5 samples: ",
        "one seed",
    ]
    scores = [entry["mean"] for entry in document["tables"]]
    assert len(rest) == (sum(abs(score - document["chosen"]["mean"]) < 0.1 for score in scores) > 1)  # ties
    assert f"Caution: {seed}." in (out / "report.html").read_text()


def test_every_table_is_scored_on_validation(made: tuple[Question, Path, dict[str, Any]]) -> None:
    plan, out, document = made
    assert {name for entry in document["tables"] for name in entry["names"]} == {
        *("spread", "bottleneck", "alternating", "random", "ascending", "descending", "all cross")
    }
    for entry in document["tables"]:
        (folder,) = entry["runs"]
        run = Run.load(folder)
        assert str(run.model.table) == entry["views"]
        assert run.recipe.train.seed == entry["seeds"][0] == plan.recipe.train.seed
        assert entry["scores"] == [json.loads((Path(folder) / "summary.json").read_text())["val_accuracy"]]
        # Every self head below takes 16 score pairs more, and more than one of them more than the budget.
        selves = sum(view == SELF for view in run.model.table.layers[0].heads)
        assert entry["share"] == (2 * (90 + 14) + 16 * selves) / (2 * (196 + 28)) <= 0.5
        assert entry["gflops"] == 4 * 8 * computed_pairs(run.model.config) / 1e9
    assert document["training_runs"] == len(document["tables"])
    assert document["complete"]
    assert read_results(out / RESULTS) == document
    assert not list(out.rglob(SCORES))  # the test split has no part in it


def test_the_best_is_chosen_and_its_recipe_trains(made: tuple[Question, Path, dict[str, Any]]) -> None:
    plan, out, document = made
    assert document["chosen"]["mean"] == max(entry["mean"] for entry in document["tables"])
    assert document["chosen"] in document["front"]
    chosen = load_recipe(out / CHOSEN)
    model = replace(plan.recipe.model, views=document["chosen"]["views"], fusion="locomt")
    assert chosen == replace(plan.recipe, model=model)
    assert "</svg>" in (out / REPORT).read_text()


def test_a_stopped_search_goes_on_and_comes_out_the_same(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path
) -> None:
    plan, out, document = made

    def stop(job: Job, outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(plan, tmp_path / "out", Runner(on_run=stop))
    kept = json.loads((tmp_path / "out" / RESULTS).read_text())
    assert (len(kept["tables"]), kept["complete"]) == (1, False)
    assert not (tmp_path / "out" / CHOSEN).exists()
    seen = Seen()
    again = search(plan, tmp_path / "out", Runner(on_run=seen))
    assert [found for _, found in seen] == [True] + [False] * (len(seen) - 1)
    assert json.dumps(again).replace(str(tmp_path), str(out.parent)) == json.dumps(document)


def test_methods_share_a_folder_and_its_front(made: tuple[Question, Path, dict[str, Any]], tmp_path: Path) -> None:
    plan, _, _ = made
    search(plan, tmp_path / "out")
    drawn = replace(plan, method="random", tables=2, seeds=2, budget=Budget.parse("0.465"))
    document = search(drawn, tmp_path / "out")
    found = [entry for entry in document["tables"] if len(entry["seeds"]) == 2]
    assert document["chosen"] in found
    for entry in found:  # as cheap are those alone that are all cross below
        assert entry["views"].startswith("motion~sound:2\n")
        assert entry["mean"] == statistics.fmean(entry["scores"])
    assert document["training_runs"] == 2 * len(found) == 4
    assert len(document["tables"]) > len(found)
    assert document["front"][0]["views"].startswith("motion~sound:2\n")  # the cheapest


def test_scores_of_another_recipe_are_not_mixed_in(made: tuple[Question, Path, dict[str, Any]]) -> None:
    plan, out, _ = made
    other = replace(plan.recipe, train=replace(plan.recipe.train, learning_rate=0.01))
    with pytest.raises(SearchError, match=r"holds a search with train.learning_rate 0.05, the recipe now says 0.01"):
        search(replace(plan, recipe=other), out)


def test_what_is_no_result_is_told(made: tuple[Question, Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text("[]")
    with pytest.raises(SearchError, match="expected what `locomt search` wrote"):
        search(made[0], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "guess"}, "expected one of"),
        ({"seeds": 0}, "seeds: expected 1"),
        ({"method": "random", "tables": 0}, "tables: expected 1"),
        ({"method": "mass", "finetune": 0.0}, "finetune: expected a share"),
        ({"finetune": 0.5}, "method strategies takes no option --finetune; it is for mass"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        wanted(recipe_in(tmp_path), **changes)


def test_every_method_is_registered() -> None:
    files = Path(methods.__file__).parent.glob("[!_]*.py")
    assert {file.stem for file in files} == set(methods.METHODS)


def test_a_validation_split_is_needed(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"no row has split 'none' \(data.val_split\), by which to choose"):
        wanted(recipe_in(tmp_path, "--data.val_split", "none"))


def entry(gflops: float, mean: float, views: str = "self:1", names: tuple[str, ...] = ("a",)) -> dict[str, Any]:
    return {"views": views, "start": None, "gflops": gflops, "mean": mean, "names": list(names)}


def test_the_front_is_what_nothing_beats() -> None:
    cheap, twin, worse, good = entry(1, 0.5), entry(1, 0.5), entry(2, 0.5), entry(3, 0.7)
    assert front([good, worse, entry(1, 0.4), cheap, twin], "more") == [cheap, twin, good]
    assert front([good, worse, cheap], "less") == [cheap]
    assert best([good, worse, cheap], "more") is good
    assert best([good, worse, cheap], "less") is cheap


def test_a_table_that_is_tried_anew_keeps_its_names() -> None:
    (found,) = merged([entry(1, 0.5)], [entry(1, 0.6, names=("b", "a"))])
    assert (found["names"], found["mean"]) == (["a", "b"], 0.6)
    assert len(merged([entry(1, 0.5)], [entry(1, 0.5, "a~b:1")])) == 2
