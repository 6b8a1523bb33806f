"""Tuning: which runs it takes, and which point is the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.compare.models import Model, best_values, tune
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.train.runs import Job, Outcome, Runner

RATE = "train.learning_rate"


@dataclass(frozen=True, kw_only=True)
class Scores(Runner):
    """Takes the place of training: a run's score by its learning rate and seed; None where there is none."""

    scores: dict[tuple[float, int], float | None]
    had: list[Job] = field(default_factory=list)

    def do(self, jobs: Sequence[Job], on_done: Callable[[Job, Outcome], object] = print) -> list[Outcome]:
        self.had.extend(jobs)
        scores = [self.scores[job.recipe.train.learning_rate, job.recipe.train.seed] for job in jobs]
        names = [f"val_{job.recipe.monitor}" for job in jobs]
        return [
            Outcome(summary={name: score}, scores=None, seconds=1.0) for name, score in zip(names, scores, strict=True)
        ]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return load_recipe(make_project(tmp_path_factory.mktemp("models")))


def model(recipe: Recipe, *rates: str, seeds: tuple[int, ...] = ()) -> Model:
    grid = {RATE: rates} if rates else {}
    return Model(group="clips", name="one, or two", recipe=recipe, grid=grid, tune_seeds=seeds)


def test_every_point_is_tried_with_every_seed_and_never_tested(recipe: Recipe, tmp_path: Path) -> None:
    runner = Scores(scores={(0.1, 3): 0.5, (0.1, 4): 0.7, (0.2, 3): 0.9, (0.2, 4): None})
    tried = tune([model(recipe), model(recipe, "0.1", "0.2", seeds=(3, 4))], tmp_path, runner)
    assert [job.directory.relative_to(tmp_path).as_posix() for job in runner.had] == [
        f"clips/one_or_two/learning_rate={rate}/seed-{seed}" for rate in (0.1, 0.2) for seed in (3, 4)
    ]
    assert not any(job.test for job in runner.had)
    assert tried == [[], [({RATE: "0.1"}, pytest.approx(0.6)), ({RATE: "0.2"}, None)]]
    assert best_values(model(recipe), tried[1]) == {RATE: "0.1"}
    assert best_values(model(recipe), tried[1][1:]) == best_values(model(recipe), tried[0]) == {}


def test_the_first_of_equals_is_the_best_and_less_where_less_is_better(recipe: Recipe, tmp_path: Path) -> None:
    seed = recipe.train.seed
    runner = Scores(scores={(0.1, seed): 0.5, (0.2, seed): 0.9, (0.3, seed): 0.9, (0.4, seed): 0.5})
    tuned = model(recipe, "0.1", "0.2", "0.3", "0.4")
    (tried,) = tune([tuned], tmp_path, runner)
    assert best_values(tuned, tried) == {RATE: "0.2"}
    by_loss = replace(recipe, train=replace(recipe.train, monitor="loss"))
    assert best_values(model(by_loss), tried) == {RATE: "0.1"}


def test_nothing_is_run_where_nothing_is_tuned(recipe: Recipe, tmp_path: Path) -> None:
    runner = Scores(scores={})
    assert tune([model(recipe)], tmp_path, runner) == [[]]
    assert not runner.had
