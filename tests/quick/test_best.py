"""`locomt.fit` with preset best, on feature files: views are searched, and all seeds of what is kept answer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import locomt
from feature_project import make_project
from locomt.cli.main import main
from locomt.quick import quick_fit, sizes
from locomt.quick.quick_fit import Fitted
from locomt.train.evaluation import Run, answers
from locomt.train.recipe_file import load_recipe

SEEDS = 2


@pytest.fixture(scope="module")
def fitted(short_timing: None, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("best")
    make_project(folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "MOST_EPOCHS", 2)
        patch.setattr(sizes, "FEWEST_EPOCHS", 2)
        patch.setitem(quick_fit.PRESETS, "best", replace(quick_fit.PRESETS["best"], seeds=SEEDS))
        return locomt.fit(folder / "project" / "clips.csv", folder / "out", preset="best")


def test_features_are_read_as_long_as_they_are_and_standardised(fitted: Fitted) -> None:
    modalities = load_recipe(fitted.path / "plan.yaml").data.modalities
    assert list(modalities) == ["motion", "sound"]
    assert {(s.kind, s.dim, s.max_length, s.standardise) for s in modalities.values()} == {("features", 6, 4, True)}


def test_views_are_searched(fitted: Fitted) -> None:
    found = json.loads((fitted.path / "search" / "results.json").read_text())
    assert found["method"] == "strategies"
    assert {"models", "from-parts"} <= {run["recipe"] for run in fitted.results["runs"]}


def test_each_seed_starts_from_the_parts_of_its_own(fitted: Fitted) -> None:
    for seed in range(SEEDS):
        recipe = load_recipe(fitted.path / "from-parts" / "locomt" / f"seed-{seed}" / "config.yaml")
        assert recipe.train.pretrained == {
            part: str(fitted.path / "models" / part / f"seed-{seed}") for part in ("motion", "sound")
        }


def test_the_mean_of_all_seeds_answers(fitted: Fitted) -> None:
    run = Run.load(fitted.path / "kept")
    assert len(run.members) == SEEDS
    assert sorted(member.recipe.train.seed for member in run.members) == [0, 1]
    (own,) = [logits.softmax(-1) for _, logits in answers(run, device="cpu")]
    each = [logits.softmax(-1) for member in run.members for _, logits in answers(member, device="cpu")]
    torch.testing.assert_close(own, torch.stack(each).mean(dim=0))
    assert fitted.evaluate()["metrics"]["accuracy"] == fitted.results["kept"]["test"]


def test_commands_take_it_as_a_run(fitted: Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, project = str(fitted.path / "kept"), fitted.path.parent / "project"
    assert main(["evaluate", kept, "--report", str(tmp_path / "page.html")]) == 0
    assert f"The mean of the answers of {SEEDS} models" in (tmp_path / "page.html").read_text()
    item = f"motion={project / 'test0_motion.npy'}" if "motion" in fitted.run.recipe.data.modalities else ""
    item = item or f"sound={project / 'test1_sound.npy'}"
    assert main(["predict", kept, item, "--out", str(tmp_path / "answers.csv")]) == 0
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 2
    capsys.readouterr()
    assert main(["push", kept, "owner/name", "--dry-run"]) == 2
    assert f"stands for {SEEDS} runs; push one of them, such as " in capsys.readouterr().err
    assert not (fitted.path / "kept" / "model").exists()


@pytest.mark.parametrize("text", ["[]", "{", '["/elsewhere"]', '["a", "a"]', "[1]"])
def test_a_list_of_runs_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "members.json").write_text(text)
    with pytest.raises(ValueError, match=r"members\.json: (not valid JSON|expected a list of different runs)"):
        Run.load(tmp_path)
