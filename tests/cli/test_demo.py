"""`locomt demo`, end to end on as few clips as it takes."""

import json
import shlex
from pathlib import Path

import pytest

from locomt.cli.main import main, split_overrides
from locomt.demo.clips import ADDITIVE_LIMIT
from locomt.demo.demo import FULL, Size, prepare
from locomt.train.recipe_file import load_recipe

pytestmark = pytest.mark.usefixtures("short_timing")

TINY = Size(train=16, val=16, test=16, epochs=1, seeds=1, rates=(), minutes="a second", expected="chance")


def no_clips(folder: Path, *_: object) -> None:
    """A manifest in place of clips."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.csv").write_text("id,split,label,clip\n1,train,north,1.mp4\n")


def test_from_nothing_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("locomt.demo.demo.FAST", TINY)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--fast", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    for name in ("locomt", "selfall", "multiall", "mbt", "video", "audio", "(majority class)"):
        assert f" {name} " in captured.out
    assert "attention GFLOPs" in captured.out
    assert "report: demo/report.html" in captured.out
    page = Path("demo/report.html").read_text()
    assert page.count("<svg") == 5
    assert f"at most {float(ADDITIVE_LIMIT):.2f}" in page
    assert "far too few clips" in page

    document = json.loads(Path("demo/results.json").read_text())
    attention = {row["name"]: row["attention_gflops"] for row in document["models"]}
    assert attention["locomt"] < attention["selfall"] < attention["mbt"] < attention["multiall"]
    assert document["baselines"][0]["value"] == 0.25

    lines = [shlex.split(line, comments=True) for line in captured.out.partition("Go on from here:")[2].splitlines()]
    commands = {line[1]: line[1:] for line in lines if line}
    assert set(commands) == {"evaluate", "predict", "cost", "train", "compare"}
    for name in ("evaluate", "predict"):  # the command lines to go on with work as they are
        assert main(commands[name]) == 0
    recipe = load_recipe(commands["train"][1], split_overrides(commands["train"][2:])[1])
    assert recipe.model.depth != load_recipe("demo/recipe.yaml").model.depth
    capsys.readouterr()

    assert main(["demo", "--fast", "--jobs", "1", "--json"]) == 0  # once more: clips and runs are found
    captured = capsys.readouterr()
    assert captured.err.count("found done") == 6
    assert [row["scores"] for row in json.loads(captured.out)["models"]] == [
        row["scores"] for row in document["models"]
    ]

    assert main(["demo", "--fast", "--seed", "7"]) == 2  # another seed belongs elsewhere
    assert "holds clips made with seed 17, not 7" in capsys.readouterr().err


def test_the_full_size_is_balanced_and_has_several_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FULL.seeds >= 2
    assert all(count % 16 == 0 for count in (FULL.train, FULL.val, FULL.test))
    monkeypatch.setattr("locomt.demo.demo.make_clips", no_clips)
    comparison = prepare(tmp_path, seed=5)
    assert comparison.seeds == tuple(range(5, 5 + FULL.seeds))
    assert comparison.grid == {"train.learning_rate": FULL.rates}  # all are tuned alike
    assert len(FULL.rates) > 1
    assert comparison.tune_seeds == (5,)
    assert comparison.models == ("locomt", "selfall", "multiall", "mbt", "video", "audio")
    tokens = comparison.recipe.fusion_config(["a", "b", "c", "d"]).layout.as_dict()
    assert tokens["video"] > 2 * tokens["audio"]


def test_a_recipe_that_was_edited_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locomt.demo.demo.make_clips", no_clips)
    prepare(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.001", "learning_rate: 0.002"))
    assert prepare(tmp_path).recipe.train.learning_rate == 0.002


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "--seed: expected 0 or more, got -1"),
        (["--jobs", "0"], "--jobs: expected 1 or more, got 0"),
        (["--model.depth", "3"], "--model.depth sets a field of a recipe, and this command reads none"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_file_is_no_place_to_work_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "--out: expected a folder, but" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "mine.mp4").touch()
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "holds something else than clips made here" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]
