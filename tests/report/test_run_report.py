"""The page of a run, for every task: what is on it agrees with the answers, and nothing on it is fetched or run."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from event_project import make_events
from feature_project import make_project, read_rows, write_manifest
from html_page import Page
from locomt.data import Batch
from locomt.report.answers import Answers
from locomt.report.run import page_path, write_report
from locomt.tasks import TASKS
from locomt.train.evaluation import Run
from locomt.train.fitting import fit
from locomt.train.recipe_file import load_recipe

NASTY = "<script>alert('&')</script>"


def trained(folder: Path, task: str) -> Run:
    if task == "temporal":
        recipe = make_events(folder, {"train": 8, "val": 4, "test": 5}, epochs=1)
    else:
        recipe = make_project(folder, task)
        if task in ("multiclass", "multilabel"):
            rows = [{**row, "label": row["label"].replace("left", NASTY)} for row in read_rows(folder)]
            write_manifest(folder, rows)
    fit(load_recipe(recipe), folder / "run")
    return Run.load(folder / "run")


def cards_of(text: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="cards">(.*?)</script>', text, re.DOTALL)
    assert found
    cards: list[dict[str, Any]] = json.loads(found[1])
    return cards


@pytest.fixture(scope="module", params=sorted(TASKS))
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Run]:
    task: str = request.param
    run = trained(tmp_path_factory.mktemp(task) / "project", task)
    path = write_report(run)
    assert path == run.path / "report-test.html"
    return task, path.read_text(), run


def test_a_page_is_whole_and_escapes_what_it_was_given(page: tuple[str, str, Run]) -> None:
    task, text, _ = page
    parsed = Page(text)
    assert parsed.open == []
    assert NASTY not in text
    assert parsed.tags.count("script") == 2  # its samples and its own, which alone may run
    assert all(word not in text for word in ("http:", "https:", "@import", "javascript:"))
    if task in ("multiclass", "multilabel"):
        assert NASTY in parsed.text


def test_everything_that_fits_the_task_is_there(page: tuple[str, str, Run]) -> None:
    task, text, _ = page
    parsed = Page(text)
    expected = {
        "Scores",
        "Training",
        "What looks where",
        "Where these figures come from",
        "split 'test' has 5 samples",
    } | {
        "multiclass": {"What was taken for what", "Calibration", "Precision and recall"},
        "ordinal": {"What was taken for what", "Calibration", "Precision and recall"},
        "multilabel": {"Found, missed, said in vain", "Calibration"},
        "regression": {"Answers against the truth", "Worst mistakes"},
        "temporal": {"Events on a time line", "Calibration"},
    }[task]
    for words in expected:
        assert words in parsed.text
    assert ("What was taken for what" in parsed.text) == (task in ("multiclass", "ordinal"))
    for name in ("locomt", "data", "recipe", "seed", "machine", "SHA-256", "n = 5"):
        assert name in parsed.text


def test_every_sample_that_is_named_is_on_the_page(page: tuple[str, str, Run]) -> None:
    _, text, _ = page
    cards = cards_of(text)
    named = {int(place) for found in re.findall(r'data-cards="([\d,]*)"', text) for place in found.split(",") if place}
    assert named == set(range(len(cards)))
    assert {card["id"] for card in cards} <= {f"test{i}" for i in range(5)}


def test_cells_hold_the_samples_that_they_count(page: tuple[str, str, Run]) -> None:
    task, text, run = page
    if task not in ("multiclass", "ordinal"):
        return
    cards = cards_of(text)
    total = 0
    for title, places, shown in re.findall(r'title="([^"]*)"[^>]*data-cards="([^"]*)"[^>]*>([\d,]+)</button>', text):
        true, answer = re.fullmatch(r"(.*), answered (.*): \d+ of \d+", unescape(title)).groups()  # type: ignore[union-attr]
        lines = [cards[int(place)]["lines"] for place in places.split(",") if place]
        assert len(lines) == int(shown)
        assert all(first == f"is {true}" and second.startswith(f"answered {answer} (") for first, second in lines)
        total += len(lines)
    assert total == 5
    assert len(run.labels) ** 2 == text.count('" data-into="')


def test_answers_leave_padding_out() -> None:
    answers = Answers(TASKS["multiclass"](stepwise=True))
    labels = torch.tensor([[1, 0, -100], [1, -100, -100]])
    answers.add(Batch(ids=["a", "b"], labels=labels), torch.arange(12.0).view(2, 3, 2))
    rows = answers.rows
    assert rows.labels.tolist() == [1, 0, 1]
    assert rows.samples.tolist() == [0, 0, 1]
    assert rows.logits.tolist() == [[0, 1], [2, 3], [6, 7]]


@pytest.mark.parametrize("split", ["../../etc", "a b", "x" * 300])
def test_pages_stay_in_their_folder(split: str, tmp_path: Path) -> None:
    path = page_path(tmp_path, split)
    assert path.resolve().parent == tmp_path.resolve()
    assert len(path.name) < 100
