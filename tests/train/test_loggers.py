"""`train.logger`: every logger gets what `metrics.csv` has, goes on where a run goes on, and is asked for by name.

wandb and mlflow are stood in for by what Lightning's loggers use of them.
"""

import csv
import importlib.util
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import lightning.pytorch.loggers.mlflow as lightning_mlflow
import lightning.pytorch.loggers.wandb as lightning_wandb
import pytest

from locomt.train.config import RecipeError, TrainConfig
from locomt.train.fitting import fit
from locomt.train.recipe_file import load_recipe
from locomt.train.run_directory import RunDirectory, flatten

Rows = list[dict[str, float | None]]


class StopTrainingError(Exception):
    pass


def stopped_and_resumed(recipe_path: Path, run: Path, loggers: str) -> Rows:
    """The rows of a run of three epochs that was stopped in the second, after it had been told of."""
    recipe = load_recipe(recipe_path, ["--train.logger", loggers])

    def stop(row: Any) -> None:
        if row["epoch"] == 2:
            raise StopTrainingError

    with pytest.raises(StopTrainingError):
        fit(recipe, run, on_epoch=stop)
    fit(recipe, run, resume=True)
    return RunDirectory(run).read_history()


def same(rows: Rows, found: list[dict[str, float]]) -> None:
    """Whether a logger has the rows, epochs counted from 0."""
    assert len(found) == len(rows) == 3
    for row, other in zip(rows, found, strict=True):
        for name, value in row.items():
            if name == "step":
                continue
            wanted = math.nan if value is None else value - (name == "epoch")
            assert other[name] == pytest.approx(wanted, nan_ok=True), name


def test_tensorboard_and_csv_go_on(make_project: Callable[..., Path], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = stopped_and_resumed(make_project(epochs=3), tmp_path / "run", "[tensorboard, csv]")
    with (tmp_path / "run" / "csv" / "metrics.csv").open(newline="") as file:
        same(rows, [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(file)])
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    points: list[dict[str, float]] = [{}, {}, {}]
    for name in events.Tags()["scalars"]:
        for point, event in zip(points, events.Scalars(name), strict=True):
            point[name] = event.value
    same(rows, points)
    assert [event.step for event in events.Scalars("val_loss")] == [2, 5, 8]
    told = (tmp_path / "run" / "csv" / "hparams.yaml").read_text()
    assert "learning_rate: 0.05" in told


class Run:
    """A run of wandb, kept in `runs` by its id as the service would."""

    runs: dict[str, "Run"] = {}  # noqa: RUF012

    def __init__(self, identity: str) -> None:
        self.id, self.name, self.rows, self.settings, self.ends = identity, identity, [], {}, 0  # type: ignore[var-annotated]
        self.config = SimpleNamespace(update=lambda values, **_: self.settings.update(values))

    def log(self, numbers: dict[str, float]) -> None:
        self.rows.append(numbers)

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def finish(self) -> None:
        self.ends += 1
        sys.modules["wandb"].run = None  # type: ignore[attr-defined]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """The runs of a stand-in for wandb."""
    modules = {name: ModuleType(name) for name in ("wandb", "wandb.sdk", "wandb.sdk.lib", "wandb.wandb_run")}
    Run.runs = {}

    def init(**settings: Any) -> Run:
        run = Run.runs.setdefault(settings["id"] or f"id{len(Run.runs)}", Run(settings["id"] or f"id{len(Run.runs)}"))
        modules["wandb"].run = run  # type: ignore[attr-defined]
        return run

    for name, value in {"run": None, "init": init, "__spec__": SimpleNamespace(origin="a file")}.items():
        setattr(modules["wandb"], name, value)
    modules["wandb.sdk.lib"].RunDisabled = modules["wandb.wandb_run"].Run = Run  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", True)
    return Run.runs


def test_wandb_goes_on_in_the_same_run_and_ends_with_each(
    make_project: Callable[..., Path], tmp_path: Path, wandb: dict[str, Run]
) -> None:
    recipe = make_project(epochs=3)
    rows = stopped_and_resumed(recipe, tmp_path / "a", "wandb")
    fit(load_recipe(recipe, ["--train.logger", "wandb", "--train.epochs", "1"]), tmp_path / "b")
    assert list(wandb) == ["id0", "id1"]
    same(rows, wandb["id0"].rows)
    assert len(wandb["id1"].rows) == 1
    assert (wandb["id0"].ends, wandb["id1"].ends) == (2, 1)
    assert wandb["id0"].settings["train"]["learning_rate"] == 0.05


def test_a_service_that_refuses_is_told_in_a_line(
    make_project: Callable[..., Path], tmp_path: Path, wandb: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    class UsageError(Exception):
        __module__ = "wandb.errors"

    def refuse(**_: Any) -> None:
        raise UsageError("No API key configured.\nmore")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(RecipeError, match=r"^train.logger wandb: No API key configured\.$"):
        fit(load_recipe(make_project(), ["--train.logger", "wandb"]), tmp_path / "run")


class Client:
    """What Lightning asks of mlflow's client, kept by the place that it is given."""

    places: dict[str, dict[str, Any]] = {}  # noqa: RUF012

    def __init__(self, place: str) -> None:
        self.kept = Client.places.setdefault(place, {"params": {}, "metrics": {}, "runs": 0, "status": ""})

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, **_: Any) -> str:
        return "0"

    def create_run(self, **_: Any) -> Any:
        self.kept["runs"] += 1
        return self.get_run("first")

    def get_run(self, identity: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id=identity, experiment_id="0"))

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        assert run_id == "first"
        for param in params:
            assert param.key not in self.kept["params"], "mlflow refuses a field that has changed"
            self.kept["params"][param.key] = param.value
        for metric in metrics:
            self.kept["metrics"].setdefault(metric.step, {})[metric.key] = metric.value

    def set_terminated(self, run_id: str, status: str) -> None:
        self.kept["status"] = status


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Place -> what a stand-in for mlflow keeps there."""
    names = "", ".entities", ".tracking", ".utils", ".utils.mlflow_tags", ".tracking.context.registry"
    modules = {name: ModuleType(f"mlflow{name}") for name in (*names, ".tracking.context")}
    Client.places = {}
    made: dict[str, dict[str, Any]] = {
        "": {
            "set_tracking_uri": lambda place: os.environ.update(MLFLOW_TRACKING_URI=place),
            "__spec__": SimpleNamespace(origin="a file"),
        },
        ".entities": {"Metric": SimpleNamespace, "Param": SimpleNamespace},
        ".tracking": {"MlflowClient": Client},
        ".utils.mlflow_tags": {"MLFLOW_RUN_NAME": "name"},
        ".tracking.context.registry": {"resolve_tags": lambda tags: tags},
    }
    for name, module in modules.items():
        module.__path__ = []
        for key, value in made.get(name, {}).items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, f"mlflow{name}", module)
    monkeypatch.setattr(lightning_mlflow, "_MLFLOW_AVAILABLE", True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Client.places


def test_mlflow_goes_on_in_the_same_run_in_a_place_of_its_own(
    make_project: Callable[..., Path], tmp_path: Path, mlflow: dict[str, dict[str, Any]]
) -> None:
    recipe = make_project(epochs=3)
    rows = stopped_and_resumed(recipe, tmp_path / "a", "mlflow")
    fit(load_recipe(recipe, ["--train.logger", "mlflow", "--train.epochs", "1"]), tmp_path / "b")
    assert list(mlflow) == [f"sqlite:///{tmp_path / name / 'mlflow' / 'mlflow.db'}" for name in ("a", "b")]
    kept = next(iter(mlflow.values()))
    same(rows, [numbers for _, numbers in sorted(kept["metrics"].items())])
    assert (kept["runs"], kept["status"]) == (1, "FINISHED")
    assert kept["params"]["train/learning_rate"] == "0.05"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_mlflow_follows_its_environment(
    make_project: Callable[..., Path],
    tmp_path: Path,
    mlflow: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.invalid")
    fit(load_recipe(make_project(epochs=1), ["--train.logger", "mlflow"]), tmp_path / "run")
    assert list(mlflow) == ["http://example.invalid"]
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://example.invalid"


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_named_before_anything_is_read(
    name: str, make_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_project()
    recipe = load_recipe(path, ["--train.logger", f"[csv, {name}]"])
    (path.parent / "clips.csv").unlink()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=rf"train.logger {name} needs .*: pip install 'locomt\[{name}\]'"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_of_loggers() -> None:
    assert TrainConfig().logger == ("tensorboard",)
    assert TrainConfig(logger="none").logger == ()
    assert TrainConfig(logger=("csv", "wandb", "csv")).logger == ("csv", "wandb")
    with pytest.raises(RecipeError, match="expected one or more of tensorboard, csv"):
        TrainConfig(logger="tensorbord")


@pytest.mark.parametrize(("before", "now"), [("true", ["tensorboard"]), ("false", [])])
def test_recipes_and_runs_of_before_are_read(make_project: Callable[..., Path], before: str, now: list[str]) -> None:
    path = make_project()
    path.write_text(path.read_text().replace("logger: none", "tensorboard: true"))
    recipe = load_recipe(path, ["--train.tensorboard", before])
    assert flatten(recipe.to_dict())["train.logger"] == now
