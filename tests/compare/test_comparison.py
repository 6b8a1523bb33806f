"""Comparisons: what is run, what is found done, what is chosen, and what the rows say."""

import csv
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_project import make_project
from locomt.compare.compare import CompareError, Comparison, all_models, compare, model_recipe, with_parts
from locomt.cost import flops, parameters
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.train.runs import SCORES, Job, Outcome, Runner

pytestmark = pytest.mark.usefixtures("short_timing")


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(make_project(folder, epochs=1), overrides)


def comparison(recipe: Recipe, **changes: Any) -> Comparison:
    settings: dict[str, Any] = {"name": "clips", "recipe": recipe, "models": ("locomt", "mbt"), "seeds": (0, 1)}
    return Comparison(**(settings | changes))


class Seen(list[tuple[str, bool]]):
    """The runs that a comparison had: what they are called, and whether they were found done."""

    def __call__(self, job: Job, outcome: Outcome) -> None:
        self.append((job.label, outcome.seconds == 0))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("made")
    wanted = comparison(recipe_in(folder / "project"), models=("locomt", "mbt", "sound"))
    return wanted, folder / "runs", compare([wanted], folder / "runs")


def test_a_row_a_model(made: tuple[Comparison, Path, dict[str, Any]]) -> None:
    _, root, document = made
    assert [row["name"] for row in document["models"]] == ["locomt", "mbt", "sound"]
    for row in document["models"]:
        own = [run for run in document["runs"] if run["name"] == row["name"]]
        scores = [run["metrics"]["accuracy"] for run in own]
        assert (row["metric"], row["seeds"], row["seed_list"]) == ("accuracy", 2, [0, 1])
        assert row["mean"] == pytest.approx(statistics.mean(scores))
        assert row["std"] == pytest.approx(statistics.stdev(scores))
        config = Run.load(root / "clips" / row["name"] / "seed-0").model.config.untrained()  # with all views
        assert row["gflops"] == flops(config).total / 1e9
        assert row["attention_gflops"] == flops(config).attention / 1e9
        assert row["parameters"] == parameters(config)
        assert row["latency_ms"] > 0
        assert row["peak_memory_bytes"] > 4 * row["parameters"]
    json.dumps(document, allow_nan=False)


def test_runs_are_what_their_names_say(made: tuple[Comparison, Path, dict[str, Any]]) -> None:
    _, _, document = made
    for entry in document["runs"]:
        run = Run.load(entry["directory"])
        assert run.recipe.train.seed == entry["seed"]
        if entry["name"] == "sound":
            assert list(run.recipe.data.modalities) == ["sound"]
        else:
            assert run.recipe.model.fusion == entry["name"]
            assert len(run.recipe.data.modalities) == 2


def test_samples_without_the_one_modality_are_skipped_and_counted(
    made: tuple[Comparison, Path, dict[str, Any]],
) -> None:
    counts = {row["name"]: (row["samples"], row["skipped"]) for row in made[2]["models"]}
    assert counts == {"locomt": (5, 0), "mbt": (5, 0), "sound": (3, 2)}


def test_the_baseline_is_marked_and_no_model(made: tuple[Comparison, Path, dict[str, Any]]) -> None:
    _, _, document = made
    (baseline,) = document["baselines"]
    assert (baseline["name"], baseline["metric"]) == ("majority class", "accuracy")
    assert baseline["value"] == pytest.approx(0.4)


def test_the_guarantee_is_that_of_the_table(made: tuple[Comparison, Path, dict[str, Any]]) -> None:
    (recipe,) = made[2]["recipes"]
    assert recipe["tokens"] == {"motion": 5, "sound": 5}
    assert recipe["views"] == "self:1 motion~sound:1"
    numbers = recipe["guarantee"]
    assert (numbers["locomt"], numbers["self"], numbers["multi"]) == (100, 100, 200)


def test_what_is_done_is_not_done_again(made: tuple[Comparison, Path, dict[str, Any]]) -> None:
    wanted, root, before = made
    weights = {path: path.stat().st_mtime_ns for path in root.rglob("model.safetensors")}
    seen = Seen()
    after = compare([wanted], root, Runner(on_run=seen))
    assert len(seen) == 6
    assert all(found for _, found in seen)
    assert weights == {path: path.stat().st_mtime_ns for path in root.rglob("model.safetensors")}
    assert [row["scores"] for row in after["models"]] == [row["scores"] for row in before["models"]]


def test_a_run_of_other_settings_is_not_taken_for_this_one(made: tuple[Comparison, Path, dict[str, Any]]) -> None:
    wanted, root, _ = made
    other = replace(wanted.recipe, train=replace(wanted.recipe.train, learning_rate=0.01))
    with pytest.raises(ValueError, match=r"was begun with train.learning_rate 0.05, the recipe now says 0.01"):
        compare([replace(wanted, recipe=other)], root)


def test_a_comparison_that_was_stopped_goes_on(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "project")

    def stop(job: Job, outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([comparison(recipe)], tmp_path / "runs", Runner(on_run=stop))
    seen = Seen()
    compare([comparison(recipe)], tmp_path / "runs", Runner(on_run=seen))
    assert [found for _, found in seen] == [True, False, False, False]


def test_processes_change_nothing_and_tell_mistakes(
    made: tuple[Comparison, Path, dict[str, Any]], tmp_path: Path
) -> None:
    wanted, root, document = made
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    names = {"one": "locomt", "other": "sound", "taken": "locomt"}
    jobs = [
        replace(part.job(root, {}, 0), directory=tmp_path / folder)
        for folder, name in names.items()
        for part in wanted.parts
        if part.name == name
    ]
    Runner(at_once=2).do(jobs[:2])
    with pytest.raises(ValueError, match="is no empty directory and holds no run"):
        Runner(at_once=2).do(jobs)
    for folder, name in list(names.items())[:2]:
        (entry,) = (run for run in document["runs"] if (run["name"], run["seed"]) == (name, 0))
        for file in ("model/model.safetensors", SCORES):
            assert (tmp_path / folder / file).read_bytes() == Path(entry["directory"], file).read_bytes()


def test_every_model_is_tuned_on_the_same_points_by_validation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = comparison(recipe_in(tmp_path / "project"), seeds=(0, 1), grid={"train.learning_rate": ("1e-6", "0.05")})
    seen = Seen()
    document = compare([wanted], tmp_path / "runs", Runner(on_run=seen))
    labels = [label for label, _ in seen]
    for name, entry in zip(("locomt", "mbt"), document["tuning"], strict=True):
        assert (entry["name"], entry["metric"], entry["seeds"]) == (name, "val_accuracy", [0])
        assert [point["values"]["train.learning_rate"] for point in entry["points"]] == ["1e-6", "0.05"]
        assert entry["chosen"] == max(entry["points"], key=lambda point: point["mean"])["values"]
        chosen = entry["chosen"]["train.learning_rate"]
        for run in (run for run in document["runs"] if run["name"] == name):
            assert Run.load(run["directory"]).recipe.train.learning_rate == float(chosen)
        # The chosen point's run with the tuning seed is one of those compared: found, not done twice.
        assert (f"clips {name} learning_rate={chosen} seed 0", True) in seen[4:] or labels.count(
            f"clips {name} learning_rate={chosen} seed 0"
        ) == 2
    rejected = [
        path
        for entry in document["tuning"]
        for point in entry["points"]
        if point["values"] != entry["chosen"]
        for path in (tmp_path / "runs" / "clips" / entry["name"]).glob(
            f"learning_rate={point['values']['train.learning_rate']}/seed-*/{SCORES}"
        )
    ]
    assert rejected == []  # what was not chosen never saw the test split


def test_tuning_needs_a_validation_split(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "project", "--data.val_split", "none")
    wanted = comparison(recipe, models=("locomt",), grid={"model.cross": ("0", "0.5")})
    with pytest.raises(CompareError, match=r"no val_accuracy, by which to choose.*data.val_split is 'none'"):
        compare([wanted], tmp_path / "runs")


def test_models_by_their_names(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "--model.views", "motion~sound:2")
    assert all_models(recipe) == ("locomt", "selfall", "multiall", "mbt", "motion", "sound")
    assert model_recipe(recipe, "locomt").model.views == "motion~sound:2"
    assert model_recipe(recipe, "mbt").model.views is None
    assert list(model_recipe(recipe, "sound").data.modalities) == ["sound"]
    assert list(model_recipe(recipe, "motion+sound").data.modalities) == ["motion", "sound"]
    assert all_models(recipe.only("sound")) == ("selfall",)


def test_the_parts_of_what_is_fused_are_there_too(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    assert with_parts(recipe, ["mbt", "sound"]) == ("mbt", "sound", "motion")
    assert with_parts(recipe, ["motion+sound"]) == ("motion+sound", "motion", "sound")
    assert with_parts(recipe, ["sound"]) == ("sound",)
    assert with_parts(recipe.only("sound"), ["selfall"]) == ("selfall",)
    started = replace(recipe, train=replace(recipe.train, start="runs/dense"))
    assert with_parts(started, ["locomt"]) == ("locomt",)
    steps = replace(recipe, data=replace(recipe.data, steps=("sound",)))
    assert with_parts(steps, ["locomt"]) == ("locomt", "sound")


def test_steps_are_labelled_by_the_modalities_that_have_them(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "--data.steps", "[sound]")
    assert all_models(recipe) == ("locomt", "selfall", "multiall", "mbt", "sound")


def test_bad_files_are_no_missing_modality(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    with (tmp_path / "clips.csv").open(newline="") as file:
        train = [row for row in csv.DictReader(file) if row["split"] == "train"]
    lacking = sum(not row["sound"] for row in train) / len(train)
    assert model_recipe(recipe, "sound").data.max_bad >= 0.05 + lacking
    assert model_recipe(recipe, "sound").data.max_bad < 0.5
    assert model_recipe(recipe, "motion").data.max_bad == recipe.data.max_bad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "expected one model or more"),
        ({"models": ("locmt",)}, "expected a model out of .*got 'locmt'; did you mean 'locomt'?"),
        ({"models": ("smell",)}, "expected a model out of locomt, selfall, multiall, mbt, motion, sound, got 'smell'"),
        ({"models": ("mbt", "mbt")}, "models: expected each once"),
        ({"seeds": ()}, "seeds: expected one or more, got none"),
        ({"seeds": (1, 1)}, "seeds: expected each once"),
        ({"tune_seeds": ()}, "tuning seeds: expected one or more"),
        ({"grid": {"train.lr": ("1",)}}, "the recipe has no field train.lr"),
    ],
)
def test_comparisons_that_cannot_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    recipe = recipe_in(tmp_path)
    with pytest.raises(ValueError, match=message):
        comparison(recipe, **changes)


def test_recipes_of_one_name_would_share_their_runs(tmp_path: Path) -> None:
    one = comparison(recipe_in(tmp_path))
    with pytest.raises(CompareError, match="expected recipes of different names, got clips, clips"):
        compare([one, one], tmp_path / "runs")


@pytest.mark.parametrize("counts", [{"at_once": 0}, {"threads": 0}])
def test_nothing_can_be_done_by_nobody(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 or more, got 0"):
        Runner(**counts)


def test_several_devices_are_for_one_run(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "project", "--train.devices", "2")
    with pytest.raises(ValueError, match=r"train\.devices is 2, .* train a first by `locomt train`, into .*here"):
        Runner().do([Job(label="a", recipe=recipe, directory=tmp_path / "here")])
    alone = replace(recipe, train=replace(recipe.train, devices=1))
    Runner().do([Job(label="a", recipe=alone, directory=tmp_path / "here")])
    (found,) = Runner().do([Job(label="a", recipe=recipe, directory=tmp_path / "here")])
    assert found.seconds == 0
