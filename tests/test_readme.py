"""What the documentation shows, works: Python runs, command lines parse, recipes load."""

import re
import shlex
from pathlib import Path

import pytest

from doc_pages import FENCE, PAGES, ROOT, command_lines
from locomt.cli.main import COMMANDS, build_parser, load_command, split_overrides, takes_overrides
from locomt.cost import flops
from locomt.data import read_manifest
from locomt.train.recipe_file import load_recipe

OURS = sorted({line for page in PAGES for line in command_lines(page) if line.startswith("locomt ")})


def blocks(language: str, pages: list[Path] = PAGES) -> list[object]:
    """Every fenced block of a language, named by its page and its place there."""
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in pages
        for number, (found, text) in enumerate(FENCE.findall(page.read_text()))
        if found == language
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("line", OURS)
def test_command_line_parses(line: str) -> None:
    rest, overrides = split_overrides(shlex.split(line, comments=True)[1:])
    args = build_parser().parse_args(rest)
    assert not overrides or takes_overrides(load_command(args.command))


@pytest.mark.parametrize("name", COMMANDS)
def test_example_of_a_command_parses(name: str) -> None:
    rest, _ = split_overrides(shlex.split(load_command(name).EXAMPLE)[1:])
    assert build_parser().parse_args(rest).command == name


@pytest.mark.parametrize("text", blocks("yaml", PAGES[:1]))
def test_recipe_loads(text: str, tmp_path: Path) -> None:
    path = tmp_path / "clips.yaml"
    path.write_text(text)
    recipe = load_recipe(path, ["--model.depth", "4"])
    assert recipe.model.depth == 4
    assert list(recipe.data.modalities) == ["video", "audio", "title"]


@pytest.mark.parametrize("text", blocks("yaml", PAGES[:1]))
def test_recipe_is_small_enough_to_train_in_a_minute(text: str, tmp_path: Path) -> None:
    path = tmp_path / "clips.yaml"
    path.write_text(text)
    config = load_recipe(path).fusion_config(["cooking", "music"])
    assert config.layout.total <= 500
    assert flops(config).total <= 2.5e9  # 1.96 GFLOPs took half a minute to a minute for 20 epochs of 18 clips


@pytest.mark.parametrize("text", blocks("csv", PAGES[:1]))
def test_manifest_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text(text)
    assert len(read_manifest(path)) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_recipes_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for recipe in re.findall(r"\brecipes/[\w./-]+\.yaml", text):
        assert (ROOT / recipe).exists(), recipe


def test_every_command_is_documented() -> None:
    text = PAGES[0].read_text()
    for name in COMMANDS:
        assert f"| `locomt {name}` |" in text
