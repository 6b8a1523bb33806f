"""Studies from the command line to their pages, on a task that takes seconds."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from locomt.cli.main import main
from locomt.studies import STUDIES, Plan, StudyError, hand_made, load_study, read_results, render
from locomt.studies.datasets import DATA_SETS, DataSet
from locomt.studies.page import compared, verdict
from locomt.studies.study import Arm, study
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.views import STRATEGIES
from tiny_data_set import make_data_set

Made = dict[str, tuple[Path, dict[str, Any]]]


def words(page: Path) -> str:
    """What a page says, in one line."""
    return " ".join(page.read_text().split())


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    task = make_data_set(tmp_path_factory.mktemp("tiny"))
    DATA_SETS["tiny"] = task
    yield task
    del DATA_SETS["tiny"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every study, once: five seeds for the baselines, one for the others."""
    root = tmp_path_factory.mktemp("studies")
    found: Made = {}
    for name in STUDIES:
        seeds = "5" if name == "baselines" else "1"
        own = [] if name == "lengths" else ["--data-sets", "tiny", "--seeds", seeds, "--train.batch_size", "6"]
        assert main(["experiment", name, *own, "--out", str(root / name)]) == 0
        found[name] = root / name, json.loads((root / name / "results.json").read_text())
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_leaves_results_a_page_and_figures(made: Made, name: str) -> None:
    out, document = made[name]
    assert document["complete"]
    page = (out / f"{name}.md").read_text()
    assert page.startswith(f"# {load_study(name).TITLE}\n")
    assert document["command"] in page
    assert f"locomt experiment {name}" in document["command"]
    assert "supports no conclusion" in words(out / f"{name}.md")  # it is the small form
    figures = list(out.glob("*.svg"))
    assert figures
    for figure in figures:
        assert f"({figure.name})" in page
        assert ElementTree.parse(figure).getroot().tag.endswith("svg")


def test_every_model_is_tuned_alike_and_scored_with_every_seed(made: Made) -> None:
    _, document = made["baselines"]
    assert [arm["name"] for arm in document["arms"]] == ["locomt", "selfall", "multiall", "mbt", "motion", "sound"]
    for arm in document["arms"]:
        assert [point["values"] for point in arm["tuning"]] == [
            {"train.learning_rate": "0.05"},
            {"train.learning_rate": "0.0167"},
        ]
        best = max(point["validation"] for point in arm["tuning"])
        assert {"values": arm["chosen"], "validation": best} in arm["tuning"]
        assert [run["seed"] for run in arm["runs"]] == [0, 1, 2, 3, 4]
        assert all(0 <= run["score"] <= 1 for run in arm["runs"])
    (task,) = document["tasks"]
    assert task["majority"]["metrics"]["accuracy"] == pytest.approx(2 / 5)


def test_arms_that_are_one_model_share_its_runs(tmp_path: Path) -> None:
    """And one may have fewer seeds than the others."""

    def arms(data_set: DataSet, recipe: Recipe) -> list[Arm]:
        dense = Arm(group=data_set.name, name="dense", recipe=recipe.fused("multiall"), most=1)
        return [*(Arm(group=data_set.name, name=name, recipe=recipe) for name in ("one", "same")), dense]

    plan = Plan(out=tmp_path, seeds=2, data_sets=("tiny",))
    found = {arm["name"]: arm["runs"] for arm in study(plan, "baselines", (), arms, lambda recipe: {})["arms"]}
    assert found["one"] == found["same"]
    assert {name: [run["seed"] for run in runs] for name, runs in found.items()} == {
        "one": [0, 1],
        "same": [0, 1],
        "dense": [0],
    }
    assert {path.name for path in (tmp_path / "runs" / "tiny").iterdir()} == {"one", "dense"}


def test_tasks_without_their_real_data_are_told(
    tiny: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DATA_SETS, "real", replace(tiny, name="real", needs="recordings"))
    monkeypatch.setattr(load_study("baselines"), "DATA_SETS", ("tiny", "real"))
    assert main(["experiment", "baselines", "--seeds", "1", "--out", str(tmp_path), "--train.batch_size", "6"]) == 0
    told = "Left out, for want of real data (--data DIR): real."
    assert told in capsys.readouterr().out
    document = read_results(tmp_path / "results.json", "baselines")
    assert document["left_out"] == ["real"]
    assert [task["name"] for task in document["tasks"]] == ["tiny"]
    assert told in words(tmp_path / "baselines.md")
    for whole in (document | {"left_out": []}, {name: v for name, v in document.items() if name != "left_out"}):
        assert "Left out" not in render("baselines", whole, tmp_path / "whole").read_text()
    both = Plan(out=tmp_path, data=tmp_path)
    assert (both.left_out(("tiny", "real")), len(both.chosen(("tiny", "real")))) == ([], 2)


def test_the_page_says_what_the_results_say(made: Made) -> None:
    out, document = made["baselines"]
    page = (out / "baselines.md").read_text()
    (task,) = document["tasks"]
    locomt, selfall = document["arms"][:2]
    own = [a["score"] - b["score"] for a, b in zip(locomt["runs"], selfall["runs"], strict=True)]
    found = compared(document, task, "locomt", "selfall")
    assert found is not None
    assert found.mean.value == pytest.approx(sum(own) / 5)
    assert f"{100 * sum(own) / 5:+.1f} [" in page
    changed = json.loads(json.dumps(document))
    for arm in changed["arms"]:  # results of which the opposite would be said
        for run in arm["runs"]:
            run["score"] = {"locomt": 0.9, "selfall": 0.5}.get(arm["name"], 0.1) + run["seed"] / 1000
    assert "better than **selfall** on 1 (tiny)" in verdict(changed, "locomt", "selfall")
    assert "worse on 1 (tiny)" in verdict(changed, "selfall", "locomt")
    for arm in changed["arms"]:
        arm["runs"] = arm["runs"][:4]
    assert "4 paired seeds support no verdict" in verdict(changed, "locomt", "selfall")


def test_what_is_done_is_not_done_again(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    out, document = made["baselines"]
    line = [
        "experiment",
        "baselines",
        "--data-sets",
        "tiny",
        "--seeds",
        "5",
        "--out",
        str(out),
        "--train.batch_size",
        "6",
    ]
    assert main([*line, "--json"]) == 0
    captured = capsys.readouterr()
    again = json.loads(captured.out)
    assert captured.err.count("found done") == 6 * (2 + 5)
    for before, now in zip(document["arms"], again["arms"], strict=True):
        assert [run["score"] for run in before["runs"]] == [run["score"] for run in now["runs"]]


def test_a_page_is_made_anew_from_results_alone(made: Made, tmp_path: Path) -> None:
    out, _ = made["tradeoff"]
    assert main(["experiment", "tradeoff", "--render", "--out", str(out), "--pages", str(tmp_path)]) == 0
    assert (tmp_path / "tradeoff.md").read_text() == (out / "tradeoff.md").read_text()
    assert (tmp_path / "tradeoff.svg").read_bytes() == (out / "tradeoff.svg").read_bytes()


def test_the_index_answers_by_what_is_there(made: Made, tmp_path: Path) -> None:
    for name in ("tradeoff", "lengths"):
        assert main(["experiment", name, "--render", "--out", str(made[name][0]), "--pages", str(tmp_path)]) == 0
    index = (tmp_path / "index.md").read_text()
    for name in ("tradeoff", "lengths"):
        study = load_study(name)
        assert study.summary(made[name][1]) in words(tmp_path / "index.md")
        assert study.summary(made[name][1]) in words(tmp_path / f"{name}.md")
        assert f"({name}.md)" in index
        assert f"({name}.svg)" in index
        assert json.loads((tmp_path / f"{name}.json").read_text()) == made[name][1]
    assert "(search.md)" not in index


@pytest.mark.parametrize("name", ["baselines", "tradeoff", "layerwise", "modalities", "tasks", "search"])
def test_models_are_seen_beside_each_modality_alone_and_the_majority(made: Made, name: str) -> None:
    out, document = made[name]
    alone = [arm for arm in document["arms"] if arm["name"] in ("motion", "sound")]
    assert [arm["name"] for arm in alone] == ["motion", "sound"]
    assert all(arm["runs"] for arm in alone)
    page = (out / f"{name}.md").read_text()
    for row in ("| motion |", "| sound |", "| (majority class) |"):
        assert row in page


def test_the_tradeoff_is_a_grid(made: Made) -> None:
    _, document = made["tradeoff"]
    grid = [arm for arm in document["arms"] if "layers" in arm["facts"]]
    found = {(arm["facts"]["layers"], arm["facts"]["share"]): arm for arm in grid}
    assert set(found) == {(layers, share) for layers in (1, 2) for share in (0.0, 0.5, 1.0)}
    for layers in (1, 2):
        costs = [found[layers, share]["attention_gflops"] for share in (0.0, 0.5, 1.0)]
        assert costs == sorted(costs, reverse=True)


def test_lengths_of_other_devices_stay(made: Made, tmp_path: Path) -> None:
    _, document = made["lengths"]
    other = document["devices"][0] | {"device": "another"}
    (tmp_path / "results.json").write_text(json.dumps(document | {"devices": [other, *document["devices"]]}))
    assert main(["experiment", "lengths", "--out", str(tmp_path)]) == 0
    found = read_results(tmp_path / "results.json", "lengths")
    assert found["devices"][0] == other
    assert [entry["device"] for entry in found["devices"]] == ["another", document["devices"][0]["device"]]
    assert "## another" in (tmp_path / "lengths.md").read_text()


def test_strategies_hold_as_many_cross_heads(made: Made) -> None:
    _, document = made["layerwise"]
    assert {name for arm in document["arms"] for name in arm["facts"].get("strategies", [])} == set(STRATEGIES)
    assert len({arm["attention_gflops"] for arm in document["arms"] if "strategies" in arm["facts"]}) == 1


def test_lengths_follow_the_law(made: Made) -> None:
    _, document = made["lengths"]
    study = load_study("lengths")
    (entry,) = document["devices"]
    for case in entry["cases"]:
        a, b = case["lengths"].values()
        assert a + b == document["total"]
        assert study.gap(entry, case) == (a - b) ** 2  # type: ignore[attr-defined]
        assert all(seconds > 0 for seconds in case["forward_seconds"].values())
        assert all(size > 0 for size in case["peak_bytes"].values())


def test_searches_keep_to_one_budget_and_say_what_they_cost(made: Made) -> None:
    out, document = made["search"]
    for arm in document["arms"]:
        if (facts := arm["facts"]).get("method"):
            assert facts["share"] <= facts["budget"] + 1e-9
            assert 0 < facts["training_runs"] <= 12
            # a final among the best; the others have too few runs or tables left for more than one seed
            assert facts["seeds"] > 1 or facts["method"] in ("mass", "learned", "elastic")
            assert [run["seed"] for run in arm["runs"]] == [100]  # which no search has seen
            page = words(out / "search.md")
            assert f"| {arm['name']} |" in page
            assert f"- {arm['name']}: `{facts['views'].splitlines()[0]}`" in page


def test_every_hand_made_table_is_scored(made: Made) -> None:
    out, document = made["search"]
    search = json.loads((out / "searches" / "tiny" / hand_made.METHOD / "results.json").read_text())
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
    whole = sum(task["tokens"].values()) ** 2 * task["heads"] * task["fusion_layers"]
    for arm in found:
        assert arm["fusion_score_pairs"] <= arm["facts"]["budget"] * whole + 1e-6
        for kind in ("shared", "sandwich"):
            assert [0 <= score <= 1 for score in arm["facts"][kind]] == [True] * len(arm["runs"])
    rules = {
        folder: load_recipe(out / "searches" / "tiny" / folder / "elastic" / "seed-0" / "config.yaml").train
        for folder in ("elastic/runs", "elastic-sandwich")
    }
    assert [rule.elastic_tables for rule in rules.values()] == [
        ("cross", "random", "random"),
        ("self", "cross", "random"),
    ]
    assert len({rule.epochs for rule in rules.values()}) == len({rule.start for rule in rules.values()}) == 1
    assert f"of {len(found)} budgets" in words(out / "search.md")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["layerwize"], "expected a study out of"),
        (["layerwise", "--data-sets", "tinny"], "expected a data set, got 'tinny'; did you mean 'tiny'"),
        (["layerwise", "--data-sets", "tiny", "--seeds", "0"], "seeds: expected 1 or more, got 0"),
        (["layerwise", "--data", "nowhere"], "--data: expected a folder, there is none at nowhere"),
        (
            ["lengths", "--data-sets", "tiny"],
            "study lengths trains nothing: it takes no --data-sets, --seeds or fields",
        ),
        (["layerwise", "--render"], "make the study first, without --render"),
    ],
)
def test_mistakes_are_one_line(
    line: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", *line]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_results_of_another_study_are_told(made: Made, tmp_path: Path) -> None:
    out, document = made["lengths"]
    with pytest.raises(StudyError, match="holds the results of study 'lengths', not of 'search'"):
        read_results(out / "results.json", "search")
    (tmp_path / "results.json").write_text("[1]")
    with pytest.raises(StudyError, match="expected the results of a study, got something else"):
        read_results(tmp_path / "results.json", "search")
    begun = [entry | {"cases": entry["cases"][:2]} for entry in document["devices"]]
    half = document | {"complete": False, "devices": begun}
    assert "Unfinished" in render("lengths", half, tmp_path).read_text()
    old = {name: value for name, value in document.items() if name != "devices"}
    with pytest.raises(StudyError, match="lack 'devices': they were written by another version"):
        render("lengths", old, tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_without_scipy_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert main(["experiment", "baselines", "--data-sets", "tiny", "--out", str(tmp_path)]) == 2
    assert "need scipy: pip install 'locomt[experiments]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
