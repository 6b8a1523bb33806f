"""Studies from the command line to their pages, on a task that takes seconds."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from locomt.cli.main import main
from locomt.studies import Plan, StudyError, load_study, read_results, render
from locomt.studies.arms import Arm, study
from locomt.studies.datasets import DATA_SETS, DataSet
from locomt.studies.page import compared, verdict
from locomt.train.recipe import Recipe
from study_results import Made, check_study, words
from tiny_data_set import make_data_set


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    task = make_data_set(tmp_path_factory.mktemp("tiny"))
    DATA_SETS["tiny"] = task
    yield task
    del DATA_SETS["tiny"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A study that trains, with five seeds, and the one that does not; test_small_forms.py has the others."""
    root = tmp_path_factory.mktemp("studies")
    found: Made = {}
    for name, own in (
        ("baselines", ["--data-sets", "tiny", "--seeds", "5", "--train.batch_size", "6"]),
        ("lengths", []),
    ):
        assert main(["experiment", name, *own, "--out", str(root / name)]) == 0
        found[name] = root / name, json.loads((root / name / "results.json").read_text())
    return found


@pytest.mark.parametrize("name", ["baselines", "lengths"])
def test_a_study_leaves_results_a_page_and_figures(made: Made, name: str) -> None:
    check_study(name, *made[name])


def test_it_says_where_its_scores_say_little(made: Made) -> None:
    """Five seeds, and losses that fall: all there is to say is how few samples there are."""
    assert [line.partition(":")[2].split(" with ")[0] for line in made["baselines"][1]["cautions"]] == [
        " split 'val' has 6 samples:", " split 'test' has 5 samples:"
    ]  # fmt: skip


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
    tiny: DataSet, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(made["baselines"][0], out)  # whose runs are found done
    monkeypatch.setitem(DATA_SETS, "real", replace(tiny, name="real", needs="recordings"))
    monkeypatch.setattr(load_study("baselines"), "DATA_SETS", ("tiny", "real"))
    assert main(["experiment", "baselines", "--seeds", "1", "--out", str(out), "--train.batch_size", "6"]) == 0
    told = "Left out, for want of real data (--data DIR): real."
    captured = capsys.readouterr()
    assert told in captured.out
    assert captured.err.count("found done") == 6 * (2 + 1)
    document = read_results(out / "results.json", "baselines")
    assert document["left_out"] == ["real"]
    assert [task["name"] for task in document["tasks"]] == ["tiny"]
    assert told in words(out / "baselines.md")
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


def test_the_index_answers_by_what_is_there(made: Made, tmp_path: Path) -> None:
    for name in ("baselines", "lengths"):
        assert main(["experiment", name, "--render", "--out", str(made[name][0]), "--pages", str(tmp_path)]) == 0
    index = (tmp_path / "index.md").read_text()
    for name in ("baselines", "lengths"):
        study = load_study(name)
        assert study.summary(made[name][1]) in words(tmp_path / "index.md")
        assert study.summary(made[name][1]) in words(tmp_path / f"{name}.md")
        assert f"({name}.md)" in index
        assert f"({name}.svg)" in index
        assert (tmp_path / f"{name}.json").read_bytes() == (made[name][0] / "results.json").read_bytes()
    assert "(search.md)" not in index


def test_lengths_of_other_devices_stay(made: Made, tmp_path: Path) -> None:
    _, document = made["lengths"]
    other = document["devices"][0] | {"device": "another"}
    (tmp_path / "results.json").write_text(json.dumps(document | {"devices": [other, *document["devices"]]}))
    assert main(["experiment", "lengths", "--out", str(tmp_path)]) == 0
    found = read_results(tmp_path / "results.json", "lengths")
    assert found["devices"][0] == other
    assert [entry["device"] for entry in found["devices"]] == ["another", document["devices"][0]["device"]]
    assert "## another" in (tmp_path / "lengths.md").read_text()


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
