"""The documentation as a site: whole, without a broken link, and nothing in it comes from elsewhere."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from doc_pages import ROOT
from locomt import ViewTable
from locomt.train.fields import recipe_fields

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""What a browser fetches without being asked, by tag."""


class Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if url := dict(attributes).get(LOADED.get(tag, "")):
            self.urls.append(url)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))  # strict: a broken link or anchor raises
    return folder


def test_every_page_is_built_and_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {"index.html", "training.html", "search.html", "own_clips.html", "python.html"} <= {p.name for p in pages}
    for page in pages:
        parser = Fetched()
        parser.feed(page.read_text())
        assert [url for url in parser.urls if re.match(r"(https?:)?//", url)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"""(url\(|@import )["']?(https?:)?//""", style.read_text()), style


def test_reference_is_that_of_the_code(site: Path) -> None:
    fields = (site / "reference" / "fields.html").read_text()
    assert all(f"<code>{field.name}</code>" in fields for field in recipe_fields())
    assert 'id="locomt-fit"' in (site / "reference" / "commands.html").read_text()
    python = (site / "reference" / "python.html").read_text()
    assert 'id="locomt.view_attention"' in python
    assert "<math" in python


def test_notebooks_are_shown_with_what_came_out(site: Path) -> None:
    page = (site / "tutorials" / "which_head.html").read_text()
    assert "data:image/png;base64," in page
    assert "of full fusion" in page
    assert ".ipynb" not in page
    for notebook in (ROOT / "docs" / "tutorials").glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        assert sum(bool(cell.get("outputs")) for cell in cells) >= 4, notebook
        assert not re.search(r"/(home|root|tmp|Users|work)\b", notebook.read_text()), notebook


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_search_works_from_a_file_and_no_request_leaves(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.goto((site / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390  # before the search slides in
        page.keyboard.press("/")
        page.keyboard.type("bottleneck")
        page.wait_for_selector(".md-search-result__item")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert said == []


def test_the_picture_has_the_true_shares() -> None:
    lengths = {"video": 1569, "audio": 401}
    told = re.findall(r"(\d+) % of pairs", (ROOT / "docs" / "images" / "views.svg").read_text())
    whole = ViewTable.uniform("multi", tuple(lengths), layers=1, heads=12).score_pairs(lengths)
    tables = [ViewTable.parse(text, tuple(lengths)) for text in ("multi:12", "self:12", "video~audio:12")]
    tables.append(ViewTable.parse("self:6 video~audio:6", tuple(lengths)))
    assert [int(share) for share in told] == [round(100 * table.score_pairs(lengths) / whole) for table in tables]


def rows() -> Iterator[tuple[str, str, str]]:
    """The tables of fields in docs/training.md, and that of `data.split` in docs/data.md: section, name, default."""
    text = "".join((ROOT / "docs" / name).read_text() for name in ("training.md", "data.md"))
    names = {"`model`": "model", "`data`": "data", "`train`": "train", "Augmentation": "train.augment"}
    names |= {"Learned views": "train.learn_views", "Splits": "data.split"}
    for title, body in re.findall(r"^###? (.+?)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL):
        for table in re.findall(r"^\| field \| default \| \|\n\|[-|]+\|\n((?:\|.*\n)+)", body, re.MULTILINE):
            for line in table.splitlines():
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:]]
                fields = re.findall(r"`(\w+)`", cells[0])
                told = re.findall(r"\[[^]]*\]|[^,\s][^,]*", cells[1]) if len(fields) > 1 else [cells[1]]
                for place, name in enumerate(fields):
                    yield names[title], name, told[place if place < len(told) else -1] if told else ""


def literal(text: str) -> Any:
    """A default as a recipe has it; None where the cell has nothing, or words (`from the preset`)."""
    value = yaml.safe_load(text.strip("`"))
    if isinstance(value, str) and re.fullmatch(r"[\d.]+e-?\d+", value):  # a number, but not to YAML 1.1
        return float(value)
    return None if isinstance(value, str) and not text.startswith("`") else value


def test_tables_of_fields_are_those_of_the_code() -> None:
    fields = {(field.section, field.name): field for field in recipe_fields() if not field.kind}
    told = {(section, name): default for section, name, default in rows()}
    assert told.keys() == fields.keys()
    for place, field in fields.items():
        default = None if field.default in (None, {}, [], "") else field.default
        assert default in (literal(told[place]), told[place].strip("`")), place
