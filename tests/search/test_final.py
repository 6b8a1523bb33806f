"""The last choice of a search: what takes part, how often it is trained, and what is chosen."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.cli.main import main
from locomt.search.budget import Budget, SearchError
from locomt.search.candidate import Candidate, named
from locomt.search.final import decide, differing
from locomt.search.front import Entry
from locomt.search.ledger import Ledger
from locomt.search.question import Question
from locomt.search.search import CHOSEN, search
from locomt.search.space import Space
from locomt.search.work import Work
from locomt.train import load_recipe
from locomt.train.runs import Job, Outcome, Runner
from locomt.views import ViewTable

WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "1")
NAMES = ("motion", "sound")


def table(*crosses: int) -> ViewTable:
    """So many cross heads of eight in each layer."""
    rows = (" ".join(f"{view}:{n}" for view, n in (("self", 8 - k), ("motion~sound", k)) if n) for k in crosses)
    return ViewTable.parse("\n".join(rows), NAMES)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Question:
    recipe = load_recipe(
        make_project(tmp_path_factory.mktemp("final"), unimodal_loss=0.0), (*WIDER, "--model.heads", "8")
    )
    return Question(recipe=recipe, budget=Budget.parse("1"))


@dataclass(frozen=True, kw_only=True)
class Scores(Runner):
    """Takes the place of training: a run scores what `worth` says of its table and seed."""

    worth: Callable[[str, int], float]
    had: list[tuple[str, int]] = field(default_factory=list)

    def do(self, jobs: Sequence[Job], on_done: Callable[[Job, Outcome], object] = print) -> list[Outcome]:
        outcomes = []
        for job in jobs:
            one = job.label.split(" seed ")[0], job.recipe.train.seed
            if one not in self.had:
                self.had.append(one)
            summary = {f"val_{job.recipe.monitor}": self.worth(*one)}
            outcomes.append(Outcome(summary=summary, scores=None, seconds=1.0))
            on_done(job, outcomes[-1])
        return outcomes


class Trained:
    """A search among tables of which `Scores` knows what they are worth."""

    def __init__(self, wanted: Question, worth: Callable[[str, int], float], out: Path) -> None:
        space = Space(wanted.recipe.fusion_config(("left", "right", "up")))
        runner = Scores(worth=worth)
        self.had, self.work = runner.had, Work(Ledger(wanted, space, out), runner)

    def search(self, tables: dict[str, ViewTable]) -> list[tuple[Candidate, Entry]]:
        candidates = named(tables, self.work.recipe)
        return list(zip(candidates, self.work.train(candidates), strict=True))


TABLES = {f"{k}": table(k % 3 * 4, k // 3 * 4) for k in range(9)}


def test_the_better_half_goes_on_with_more_seeds(wanted: Question, tmp_path: Path) -> None:
    """Seed 0 is misled: by it alone the worst tables look best among the first four."""
    worth = lambda name, seed: 0.5 + int(name) / 100 if seed == 0 else 0.9 - int(name) / 100  # noqa: E731
    trained = Trained(wanted, worth, tmp_path)
    found = trained.search(TABLES)
    assert len(trained.had) == 9
    last = decide(trained.work, found, 16)
    # places for 4 of 16 runs: 4 x 2 more, then 2 x 4 more
    runs = {name: [seed for own, seed in trained.had if own == name] for name in TABLES}
    assert {name: len(seeds) for name, seeds in runs.items() if len(seeds) > 1} == {"8": 3, "7": 3, "6": 7, "5": 7}
    assert len(trained.had) == 9 + 16
    assert runs["5"] == list(range(7))
    assert [(entry["names"], entry["seeds"]) for entry in last] == [(["5"], list(range(7))), (["6"], list(range(7)))]
    assert last[0]["mean"] == pytest.approx((0.55 + 6 * 0.85) / 7)
    assert last[0]["training_runs"] == 7


@pytest.mark.parametrize(
    ("runs", "counts"), [(2, [2, 2]), (7, [4, 4]), (8, [2, 2, 4, 4]), (24, [2] * 4 + [4, 4, 8, 8])]
)
def test_what_there_is_is_spent(wanted: Question, tmp_path: Path, runs: int, counts: list[int]) -> None:
    trained = Trained(wanted, lambda name, seed: int(name) / 10, tmp_path)
    decide(trained.work, trained.search(TABLES), runs)
    own = sorted(sum(name == other for other, _ in trained.had) for name in TABLES)
    assert [count for count in own if count > 1] == counts
    assert runs - 1 <= len(trained.had) - 9 <= runs


def test_tables_that_are_nearly_the_same_take_part_once(wanted: Question, tmp_path: Path) -> None:
    trained = Trained(wanted, lambda name, seed: {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}[name], tmp_path)
    tables = {"a": table(4, 4), "b": table(5, 3), "c": table(5, 5), "d": table(7, 4)}
    assert [differing(tables["a"], other) for other in tables.values()] == [0, 2 / 16, 2 / 16, 3 / 16]
    last = decide(trained.work, trained.search(tables), 4)
    assert [entry["names"] for entry in last] == [["a"], ["d"]]
    assert decide(trained.work, trained.search({"a": tables["a"], "b": tables["b"]}), 4) == []


def test_less_is_better_where_it_is(wanted: Question, tmp_path: Path) -> None:
    recipe = replace(wanted.recipe, train=replace(wanted.recipe.train, monitor="loss"))
    trained = Trained(replace(wanted, recipe=recipe), lambda name, seed: int(name) / 10, tmp_path)
    assert {name for entry in decide(trained.work, trained.search(TABLES), 2) for name in entry["names"]} == {"0", "1"}


def test_scores_of_other_weights_are_put_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables of an elastic model are trained alone in the final, and the recipe is for that."""
    config, out = make_project(tmp_path / "project", unimodal_loss=0.0), tmp_path / "out"
    line = ["search", str(config), "--budget", "1", "--method", "elastic", "--tables", "8", "--final", "4"]
    assert main([*line, *WIDER, "--model.heads", "8", "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    final = [entry for entry in document["tables"] if entry["start"] is None]
    assert [entry["seeds"] for entry in final] == [[0, 1], [0, 1]]
    assert document["chosen"] in final
    assert document["training_runs"] == 1 + 3 * 2 + 4  # two epochs of three passes, where the recipe has one
    assert load_recipe(out / CHOSEN).train.start is None
    again = search(
        Question(recipe=load_recipe(config, (*WIDER, "--model.heads", "8")), budget=Budget.parse("1"), method="elastic",
               tables=8, final=4), out
    )  # fmt: skip
    assert again["chosen"]["scores"] == document["chosen"]["scores"]


def test_one_run_chooses_nothing(wanted: Question) -> None:
    with pytest.raises(SearchError, match="final: expected 2 training runs or more, to choose among tables, got 1"):
        replace(wanted, final=1)
