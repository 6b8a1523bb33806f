"""What `locomt fit` and what it leaves refuse, each in a line that says what to do."""

import json
from pathlib import Path

import numpy as np
import pytest

import locomt
from locomt.train.ensemble import write_members
from locomt.train.evaluation import Run
from locomt.train.run_directory import RunError


def table(folder: Path, labels: str, column: str = "feat", values: str = "") -> Path:
    path = folder / "samples.csv"
    rows = [f"{place},{label},{values or f'{place}.npy'}" for place, label in enumerate(labels)]
    path.write_text("\n".join([f"id,label,{column}", *rows]) + "\n")
    for place in range(len(labels)):
        np.save(folder / f"{place}.npy", np.zeros((4, 2), dtype=np.float32))
    return path


@pytest.mark.parametrize(
    ("labels", "column", "values", "message"),
    [
        ("aaaaaaaaaa", "feat", "", "expected two classes or more, got 'a' alone"),
        ("aaaaabbbbb", "feat", "gone/x.npy", "names feature files such as 'gone/x.npy', none of which can be read"),
        ("aaaaabbbbb", "feat", "gone/x.npyx", "names files such as 'gone/x.npyx', none of which is there"),
        ("aaaaabbbbb", "feat", "1.0;2.5", "holds lists of numbers, such as '1.0;2.5'; save each as a .npy file"),
        ("aaaaabbbbb", "group", "one", "expected 3 groups or more in column 'group'"),
        ("aaaaabbbbb", "split", "foo", "its column 'split' has 'foo'; call them train, val and test"),
    ],
)
def test_a_source_that_cannot_serve(tmp_path: Path, labels: str, column: str, values: str, message: str) -> None:
    source = table(tmp_path, labels, column, values)
    if column != "feat":
        lines = source.read_text().splitlines()
        header, *rows = (f"{line},{'feat' if not place else f'{place - 1}.npy'}" for place, line in enumerate(lines))
        source.write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(ValueError, match=message):
        locomt.fit(source, tmp_path / "out", minutes=1)


@pytest.mark.parametrize("text", ["[1]", '"x"', "{bad", '{"tables": "x"}'])
def test_a_damaged_note_of_what_was_asked(tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "asked.json").write_text(text)
    with pytest.raises(ValueError, match=r"asked\.json: |holds a fit with source"):
        locomt.fit(table(tmp_path, "aaaaabbbbb"), out, minutes=1)


@pytest.mark.parametrize("names", [["."], ["../kept"], ["../a", "../b/../a"]])
def test_runs_that_stand_for_runs(tmp_path: Path, names: list[str]) -> None:
    kept = tmp_path / "kept"
    write_members(kept, [tmp_path / "a"])
    (kept / "members.json").write_text(json.dumps(names))
    with pytest.raises(RunError, match=r"stands for several itself|expected a list of different runs"):
        Run.load(kept)
