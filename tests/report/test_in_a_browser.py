"""The page of a run of real clips, in a real browser: it fetches nothing, complains of nothing, and shows samples."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from feature_project import write_manifest
from locomt.report.run import write_report
from locomt.train.evaluation import Run
from locomt.train.fitting import fit
from locomt.train.recipe_file import load_recipe
from media_clips import add_audio, add_video, pictures, tone, write_clip

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = "<script>alert(1)</script>"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for split, size in (("train", 4), ("val", 2), ("test", 6)):
        for i in range(size):
            name = f"{split}{i}.mkv"
            sound = np.stack([tone(0.5, 16000, 300.0 + 200 * (i % 2))])
            write_clip(
                folder / name,
                lambda output: add_video(output, pictures(6)),
                lambda output, sound=sound: add_audio(output, sound, 16000),  # type: ignore[misc]
            )
            label = NASTY if i % 2 else "quiet"
            rows.append({"id": f"{split}{i}{NASTY}", "split": split, "label": label, "clip": name})
    write_manifest(folder, rows)
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1},
        "data": {
            "manifest": "clips.csv",
            "modalities": {
                "video": {"kind": "video", "column": "clip", "frames": 2, "size": 32},
                "audio": {"kind": "audio", "column": "clip", "seconds": 0.5, "mels": 16},
            },
        },
        "train": {"epochs": 1, "batch_size": 4, "tensorboard": False, "accelerator": "cpu"},
    }
    path = folder / "clips.yaml"
    path.write_text(yaml.safe_dump(recipe))
    fit(load_recipe(path), folder / "run")
    return write_report(Run.load(folder / "run"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(report: Path, chromium: Any, width: int, scheme: str) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: None if request.url.startswith("data:") else asked.append(request.url))
    page.goto(report.as_uri())

    cell = page.locator("button[data-cards]:not([disabled])").first
    shown = page.locator("#samples-of-a-cell .card")
    assert shown.count() == 0
    cell.click()
    assert cell.get_attribute("aria-pressed") == "true"
    assert shown.count() == int(cell.inner_text())
    assert NASTY in shown.first.inner_text()
    assert page.locator(".card img").first.evaluate("async i => { await i.decode(); return i.naturalWidth }") == 32
    seconds = page.locator(".card audio").first.evaluate(
        "a => new Promise((done, failed) => { a.onloadedmetadata = () => done(a.duration);"
        " a.onerror = () => failed(a.error.message); a.preload = 'auto'; a.load() })"
    )
    assert seconds == pytest.approx(0.5, abs=0.01)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert said == []
    assert asked == [report.as_uri()]
    page.close()
