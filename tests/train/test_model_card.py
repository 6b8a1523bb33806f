"""A model's card: what it claims is so, and who wrote what."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

import feature_project
from locomt import FusionConfig, FusionModel
from locomt.cli.main import main
from locomt.cost import flops, parameters
from locomt.data import DataConfig
from locomt.nn import FeatureSpec
from locomt.tasks.shares import wilson
from locomt.train import Run, evaluate, fit, load_recipe
from locomt.train.card_facts import Facts
from locomt.train.model_card import YOURS, example_item, record


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fit(load_recipe(feature_project.make_project(folder / "project", epochs=1)), folder / "run")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


def read(run: Path) -> tuple[dict[str, object], str]:
    """The metadata and the text of a card."""
    _, head, body = (run / "model" / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), body


def rows(text: str, section: str) -> list[list[str]]:
    """The cells of the tables of a section, without their heads."""
    (body,) = re.findall(rf"^## {section}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line[:1] == "|"]
    return [row for place, row in enumerate(cells) if row[0] != "---" and cells[place + 1 : place + 2][:1] != [["---"]]]


def test_it_tells_what_is_known_at_the_end_of_training(run: Path) -> None:
    head, body = read(run)
    assert head == {"library_name": "locomt", "tags": ["locomt", "multimodal", "multiclass", "features"]}
    for word in ("apache", "pushed to the Hub", "More Information Needed", str(run.parent)):
        assert word not in body
    assert "`left`, `right`, `up`" in body
    data = {row[0]: row[1] for row in rows(body, "Data")}
    assert {split: data[split] for split in feature_project.SIZES} == {
        split: str(size) for split, size in feature_project.SIZES.items()
    }
    summary = yaml.safe_load((run / "summary.json").read_text())
    low, high = wilson(summary["val_accuracy"] * 6, 6)
    assert ["val", "accuracy", f"{summary['val_accuracy']:.4f}", f"{low:.4f} to {high:.4f}", "6"] in rows(
        body, "Scores"
    )
    assert ["val", "sound", "accuracy", f"{summary['val_accuracy/sound']:.4f}"] in rows(body, "Scores")
    assert "`val` chose the epoch" in body
    assert "not scored on data that had no say" in body
    config = Run.load(run).model.config
    assert f"{parameters(config):,} parameters" in body
    assert f"{flops(config).total / 1e9:.3g} GFLOPs" in body
    assert f"```\n{config.view_table()}\n```" in body
    assert "has not said under which licence" in body


def test_evaluate_renews_it_and_leaves_the_users_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "model" / "README.md"
    assert path.read_text().endswith(f"{YOURS}\n")
    path.write_text(path.read_text() + "\n## Thanks\n\nTo all.\n")
    found = evaluate(Run.load(run, trust=True), "test")
    assert main(["evaluate", str(run), "--trust"]) == 0
    head, body = read(run)
    value = found["metrics"]["accuracy"]
    (tested,) = [row for row in rows(body, "Scores") if row[:2] == ["test", "accuracy"]]
    assert tested[2] == f"{value:.4f}"
    assert tested[4] == str(found["samples"]) == "5"
    (f1,) = [row for row in rows(body, "Scores") if row[:2] == ["test", "f1"]]
    low, high = map(float, f1[3].split(" to "))  # by drawing samples anew
    assert 0 <= low <= found["metrics"]["f1"] <= high <= 1
    assert low < high
    assert body.endswith(f"{YOURS}\n\n## Thanks\n\nTo all.\n")
    (index,) = head["model-index"]  # type: ignore[misc, attr-defined]
    (result,) = index["results"]
    assert result["dataset"]["split"] == "test"
    assert {m["type"]: m["value"] for m in result["metrics"]}["accuracy"] == pytest.approx(value)
    assert "tested on 5 samples, which say little" in body

    before = path.read_text()
    capsys.readouterr()
    assert main(["evaluate", str(run), "--trust", "--split", "train", "--data.max_bad", "1"]) == 0
    assert path.read_text() == before  # scores by another recipe are none of the model's


def test_hands_on_the_facts(run: Path) -> None:
    trained = Run.load(run, trust=True)
    scores = {"metrics": {"accuracy": 0.25, "f1": None}, "samples": 4}
    record(trained, "test", scores)
    facts = Facts.read(run / "card.json", trained.recipe.data)
    assert list(facts.scores) == ["val", "test"]
    assert facts.scores["val"]["alone"]
    assert "| test | f1 | undefined |" in (run / "model" / "README.md").read_text()
    (run / "card.json").write_text("[]")
    with pytest.raises(ValueError, match=r"card\.json: expected what a model's card tells"):
        Facts.read(run / "card.json", trained.recipe.data)


def test_a_model_that_nobody_trained_claims_nothing(tmp_path: Path) -> None:
    spec = {"lips": FeatureSpec(dim=3, max_length=4), "hands": FeatureSpec(dim=2, max_length=4)}
    FusionModel(FusionConfig(modalities=spec, num_outputs=2, dim=8, heads=2, depth=1, fusion_layers=1)).save_pretrained(
        tmp_path
    )
    text = (tmp_path / "README.md").read_text()
    assert "license" not in text
    assert "pushed" not in text
    assert "lips (features), hands (features) with 2 outputs" in text


def test_the_example_is_a_sample(trained: Path) -> None:
    data = load_recipe(trained / "project" / "clips.yaml").data
    assert example_item(data) == '{"motion": "features.npy", "sound": "features.npy"}'
    assert example_item(load_recipe(trained / "project" / "clips.yaml").only("motion").data) == '"features.npy"'
    video, audio = ({"kind": kind, "column": "clip"} for kind in ("video", "audio"))
    title = {"kind": "text", "column": "title", "max_length": 8}
    both = DataConfig(manifest="m.csv", modalities={"video": video, "audio": audio})
    assert example_item(both) == '"clip.mp4"'
    three = DataConfig(manifest="m.csv", modalities={"video": video, "audio": audio, "title": title})
    assert example_item(three) == '{"video": "clip.mp4", "audio": "clip.mp4", "title": "some text"}'
