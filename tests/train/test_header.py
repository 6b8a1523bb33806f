"""What is said before training and while it goes on, and that nothing is where nobody listens."""

from pathlib import Path

import pytest

from feature_project import make_project
from heard import Heard
from locomt.cost import flops, parameters
from locomt.data import label_list
from locomt.progress import heard_by
from locomt.train.fitting import fit
from locomt.train.header import runs_line
from locomt.train.pace import spoken
from locomt.train.recipe_file import load_recipe


def test_the_header_has_the_figures_of_cost_and_of_the_data(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path / "project"), ["--train.patience", "3"])
    config = recipe.fusion_config(label_list(recipe.data))
    with heard_by(heard := Heard()):
        fit(recipe, tmp_path / "run")
    assert heard.notes[0].endswith(", float32")
    assert heard.notes[1] == (
        f"model: locomt of {parameters(config):,} parameters, {flops(config).total / 1e9:.3g} GFLOPs a sample forward"
    )
    assert heard.notes[2:4] == [
        "data: 12 train, 6 val, 5 test samples, 3 classes; multiclass",
        "training: 2 epochs of 3 batches of 5, until 3 are no better",
    ]
    assert heard.notes[4].startswith("an epoch takes about ")
    assert len(heard.notes) == 5
    steps = [done for what, done, total in heard.moves if (what, total) == ("training", 6)]
    assert steps == [0, 1, 2, 3, 4, 5, 6]


def test_a_resumed_run_counts_from_where_it_was_stopped(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(row: object) -> None:
        raise StopError

    recipe = load_recipe(make_project(tmp_path / "project"))
    with pytest.raises(StopError):
        fit(recipe, tmp_path / "run", on_epoch=stop)
    with heard_by(heard := Heard()):
        fit(recipe, tmp_path / "run", resume=True)
    assert [done for _, done, total in heard.moves if total == 6] == [3, 4, 5, 6]


def test_nothing_is_said_where_nobody_listens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(load_recipe(make_project(tmp_path / "project")), tmp_path / "run")
    assert capfd.readouterr() == ("", "")


def test_of_many_runs_the_ranges_are_told(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path / "project"))
    labels = label_list(recipe.data)
    both = [recipe, recipe.only("motion")]
    costs = sorted(flops(one.fusion_config(labels)).total / 1e9 for one in both)
    line = runs_line(both, [labels, labels], 2, "cpu")
    assert line.startswith("2 runs, 2 at a time, on CPU, ")
    assert line.endswith(f"{costs[0]:.3g} to {costs[1]:.3g} GFLOPs a sample forward, 2 epochs")


def test_times() -> None:
    assert [spoken(s) for s in (0.24, 12, 210, 7560)] == ["0.2 s", "12 s", "3.5 min", "2.1 h"]
