"""The report: everything is on the page, and nothing that the page would have to fetch."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from feature_project import make_project
from html_page import Page
from locomt.cli.compare import show
from locomt.compare.compare import Comparison, compare
from locomt.compare.report import next_commands, write_report
from locomt.report import figures
from locomt.report.drawing import INK, colours
from locomt.train.recipe_file import load_recipe

pytestmark = pytest.mark.usefixtures("short_timing")
NASTY = "<script>alert('&')</script>"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("compared")
    wanted = Comparison(
        name="clips",
        recipe=load_recipe(make_project(folder / "project", epochs=1)),
        models=("locomt", "motion", "sound"),
        seeds=(0, 1),
        grid={"model.dropout": ("0", "0.1")},
    )
    return compare([wanted], folder / "runs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recipe and the report are."""
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def page(document: dict[str, Any], folder: Path) -> tuple[str, Page]:
    commands = next_commands(document, folder / "my recipe.yaml", folder)
    path = write_report(document, folder / "report.html", title=f"Title {NASTY}", commands=commands, about=[NASTY])
    text = path.read_text()
    return text, Page(text)


def test_the_page_is_well_formed(page: tuple[str, Page]) -> None:
    assert page[1].open == []


def test_the_page_fetches_nothing(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert not {"script", "link", "iframe", "img", "object"} & set(parsed.tags)
    assert all(value.startswith("#") for name, value in parsed.attributes if name in ("src", "href", "xlink:href"))
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_references_within_the_page_lead_somewhere(page: tuple[str, Page]) -> None:
    text, parsed = page
    ids = {value for name, value in parsed.attributes if name == "id"}
    targets = re.findall(r"url\(#([^)]*)\)", text)
    targets += [value[1:] for name, value in parsed.attributes if name.endswith("href")]
    assert set(targets) <= ids


def test_what_was_given_is_escaped(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert NASTY not in text
    assert parsed.text.count(NASTY) >= 2


def test_everything_is_there(page: tuple[str, Page], document: dict[str, Any]) -> None:
    _, parsed = page
    assert parsed.tags.count("svg") == 5
    for row in document["models"]:
        assert row["name"] in parsed.text
        assert f"{row['mean']:.3f} ± {row['std']:.3f}" in parsed.text
        assert f"{row['attention_gflops']:.4g}" in parsed.text
        assert f"{row['parameters']:,}" in parsed.text
    assert "without looking: majority class" in parsed.text
    assert "motion~sound" in parsed.text
    numbers = document["recipes"][0]["guarantee"]
    for key in ("locomt", "self", "bottle", "multi"):
        assert f"{numbers[key]:,}" in parsed.text
    assert "tuned over the same 2 points, by val_accuracy" in parsed.text
    assert "1 multiply-add = 2 FLOPs" in parsed.text


def test_command_lines_name_what_is_there(page: tuple[str, Page], document: dict[str, Any], folder: Path) -> None:
    _, parsed = page
    assert f"locomt evaluate {document['runs'][0]['directory']}" in parsed.text
    assert f"locomt train '{folder}/my recipe.yaml'" in parsed.text


def test_figures_take_the_colour_of_the_page(page: tuple[str, Page]) -> None:
    text, _ = page
    assert "currentColor" in text
    assert INK not in text
    assert "prefers-color-scheme: dark" in text


def test_a_model_that_learned_nothing_is_drawn_all_the_same(document: dict[str, Any], tmp_path: Path) -> None:
    rows = [row | {"mean": None, "std": None} for row in document["models"]]
    path = write_report({**document, "models": rows}, tmp_path / "report.html", title="None", commands=[])
    assert "undefined" in Page(path.read_text()).text


def test_that_a_model_is_below_its_best_part_stands_first(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fusion that learns nothing, beside a modality alone that learns: by the rates of a made comparison."""
    made = deepcopy(document)
    fused, motion, sound = made["models"]
    for own, others, said in ((0.25, 0.75, True), (0.75, 0.25, False)):
        fused["mean"] = own
        motion["mean"] = sound["mean"] = others
        motion["std"] = 0.007
        show(made)
        first, *_ = capsys.readouterr().out.splitlines()
        page = write_report(made, tmp_path / "report.html", title="Clips", commands=[]).read_text()
        head = page.partition("</h1>")[2].splitlines()[1]
        start = "locomt is 50.0 points below motion alone (test accuracy 75.0 ± 0.7)"
        assert first.startswith(start) == said
        assert head.startswith(f'<p class="lead">{start}') == said
        assert ("points below" in page) == said


def test_older_documents_are_shown_all_the_same(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = deepcopy(document)
    del made["below"], made["averages"], made["recipes"][0]["settings"]["train"]["unimodal_loss"]
    for row, mean in zip(made["models"], (0.1, 0.8, 0.2), strict=True):
        row["mean"] = mean
    show(made)
    out = capsys.readouterr().out
    assert out.startswith("locomt is 70.0 points below motion alone")
    assert "set train.unimodal_loss to 1" in out
    assert "late average" not in out
    assert "70.0 points below" in write_report(made, tmp_path / "r.html", title="Old", commands=[]).read_text()


def test_every_view_of_a_table_is_in_its_picture() -> None:
    svg = figures.views("self:1 a~b:1 b~c:1\nself:2 a~c:1", ["a", "b", "c"], first_layer=3)
    text = Page(svg).text
    for expected in ("self", "a~b", "b~c", "a~c", "layer 3", "layer 4"):
        assert expected in text


def test_models_have_colours_of_their_own() -> None:
    shades = colours(["locomt", "selfall", "multiall", "mbt", "video", "audio", "text"])
    assert len(set(shades.values())) == 7
