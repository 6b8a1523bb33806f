"""Every study that has tasks, from its command in its small form, on tasks of its own."""

import json
from pathlib import Path

import pytest

from locomt.cli.main import main
from locomt.studies import STUDIES, hand_made
from locomt.train.recipe_file import load_recipe
from locomt.views import STRATEGIES, ViewTable
from search_spaces import make_space
from study_results import Made, check_study, words

DATA_SETS = {
    "baselines": "modalities2",
    "tradeoff": "grounding",
    "layerwise": "qa",
    "modalities": "modalities3",
    "tasks": "moments,tones",
    "search": "modalities2",  # not one that it has in full, but the smallest
}
"""Of each study some that need no real data."""
ALONE = {"grounding": ("picture",), "moments": ("clip",)}
"""What can answer for itself where not every modality can: what the labels belong to."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The first one tries both learning rates, the others one of them, which is half of the training."""
    root = tmp_path_factory.mktemp("studies")
    found: Made = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, data_sets in DATA_SETS.items():
            out = root / name
            assert main(["experiment", name, "--data-sets", data_sets, "--seeds", "1", "--out", str(out)]) == 0
            found[name] = out, json.loads((out / "results.json").read_text())
            patch.setattr("locomt.studies.arms.DIVISORS", (1,))
    return found


def test_they_are_all_but_the_one_that_trains_nothing() -> None:
    assert {*DATA_SETS, "lengths"} == set(STUDIES)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_study_in_small_form(made: Made, name: str) -> None:
    out, document = made[name]
    check_study(name, out, document)
    assert [task["name"] for task in document["tasks"]] == DATA_SETS[name].split(",")
    assert all(len(arm["runs"]) == 1 and arm["runs"][0]["score"] is not None for arm in document["arms"])


def test_a_page_is_made_anew_from_results_alone(made: Made, tmp_path: Path) -> None:
    out, _ = made["tradeoff"]
    assert main(["experiment", "tradeoff", "--render", "--out", str(out), "--pages", str(tmp_path)]) == 0
    assert (tmp_path / "tradeoff.md").read_text() == (out / "tradeoff.md").read_text()
    assert (tmp_path / "tradeoff.svg").read_bytes() == (out / "tradeoff.svg").read_bytes()


@pytest.mark.parametrize("name", DATA_SETS)
def test_models_are_seen_beside_each_modality_alone_and_the_majority(made: Made, name: str) -> None:
    out, document = made[name]
    page = (out / f"{name}.md").read_text()
    for task in document["tasks"]:
        own = [arm for arm in document["arms"] if arm["task"] == task["name"]]
        alone = [arm["name"] for arm in own if arm["name"] in task["tokens"]]
        assert tuple(alone) == ALONE.get(task["name"], tuple(task["tokens"]))
        for row in (*alone, f"({task['majority']['name']})"):
            assert f"| {row} |" in page


def test_the_tradeoff_is_a_grid(made: Made) -> None:
    _, document = made["tradeoff"]
    grid = [arm for arm in document["arms"] if "layers" in arm["facts"]]
    found = {(arm["facts"]["layers"], arm["facts"]["share"]): arm for arm in grid}
    assert set(found) == {(layers, share) for layers in (1, 2, 4) for share in (0.0, 0.5, 1.0)}
    for layers in (1, 2, 4):
        costs = [found[layers, share]["attention_gflops"] for share in (0.0, 0.5, 1.0)]
        assert costs == sorted(costs, reverse=True)


def test_strategies_hold_as_many_cross_heads(made: Made) -> None:
    _, document = made["layerwise"]
    assert {name for arm in document["arms"] for name in arm["facts"].get("strategies", [])} == set(STRATEGIES)
    assert len({arm["attention_gflops"] for arm in document["arms"] if "strategies" in arm["facts"]}) == 1


def test_searches_keep_to_one_budget_and_say_what_they_cost(made: Made) -> None:
    out, document = made["search"]
    for arm in document["arms"]:
        if (facts := arm["facts"]).get("method"):
            assert facts["share"] <= facts["budget"] + 1e-9
            assert 0 < facts["training_runs"] <= 12
            # a final among the best; the others have too few runs or tables left for more than one seed
            assert facts["seeds"] > 1 or facts["method"] in ("mass", "learned", "elastic", hand_made.METHOD)
            assert [run["seed"] for run in arm["runs"]] == [100]  # which no search has seen
            page = words(out / "search.md")
            assert f"| {arm['name']} |" in page
            assert f"- {arm['name']}: `{facts['views'].splitlines()[0]}`" in page


def test_every_hand_made_table_is_scored(made: Made) -> None:
    out, document = made["search"]
    search = json.loads((out / "searches" / DATA_SETS["search"] / hand_made.METHOD / "results.json").read_text())
    (chosen,) = (arm for arm in document["arms"] if arm["name"] == hand_made.METHOD)
    others = [arm for arm in document["arms"] if arm["name"].startswith("hand-made ")]
    scored = [frozenset(chosen["facts"]["names"]), *(frozenset(arm["facts"]["hand_made"]) for arm in others)]
    assert len(scored) > 1
    assert set(scored) == {frozenset(entry["names"]) for entry in search["tables"]}
    assert {len(arm["runs"]) for arm in others} == {1}


def test_what_was_learned_is_told_epoch_by_epoch(made: Made) -> None:
    out, document = made["search"]
    (arm,) = (arm for arm in document["arms"] if arm["name"] == "learned")
    history = arm["facts"]["history"]
    assert [row["epoch"] for row in history] == [1, 2]
    for row in history:
        assert len(row["frequencies"]) == 2  # layers
        for layer in row["frequencies"]:
            assert sum(layer.values()) == pytest.approx(1)
    page = words(out / "search.md")
    assert "from the first epoch to the last" in page
    assert "No model was tuned" in page
    assert (out / "search-learned.svg").is_file()


def test_elastic_models_meet_models_of_their_own_at_each_budget(made: Made) -> None:
    out, document = made["search"]
    found = [arm for arm in document["arms"] if "shared" in arm["facts"]]
    budgets = [arm["facts"]["budget"] for arm in found]
    assert 1 < len(budgets) <= 5
    assert budgets == sorted(set(budgets))
    assert len({arm["facts"]["views"] for arm in found}) == len(found)
    (task,) = document["tasks"]
    sizes = {"heads": task["heads"], "dim": 8 * task["heads"], "fusion_layers": task["fusion_layers"]}
    space = make_space(task["tokens"], depth=task["fusion_layers"], **sizes)
    for arm in found:
        table = ViewTable.parse(arm["facts"]["views"], space.modalities)
        assert space.figures(table)["share"] <= arm["facts"]["budget"] + 1e-9  # of what is computed
        for kind in ("shared", "sandwich"):
            assert [0 <= score <= 1 for score in arm["facts"][kind]] == [True] * len(arm["runs"])
    rules = {
        folder: load_recipe(
            out / "searches" / DATA_SETS["search"] / folder / "elastic" / "seed-0" / "config.yaml"
        ).train
        for folder in ("elastic/runs", "elastic-sandwich")
    }
    assert [rule.elastic_tables for rule in rules.values()] == [
        ("cross", "random", "random"),
        ("self", "cross", "random"),
    ]
    assert len({rule.epochs for rule in rules.values()}) == len({rule.start for rule in rules.values()}) == 1
    assert f"of {len(found)} budgets" in words(out / "search.md")
