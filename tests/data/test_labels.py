"""Labels: the list of them, and a cell of them as a tensor."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from locomt.data import DataConfig, ManifestError, label_list, read_manifest
from locomt.tasks import LabelError
from locomt.tasks.class_names import places_of
from locomt.tasks.events import parse_events

PLACES = {"cat": 0, "dog": 1, "owl": 2}
FEATURES = {"f": {"kind": "features", "column": "f", "dim": 2, "max_length": 9}}


def config(manifest: Path | str = "m.csv", **changes: Any) -> DataConfig:
    return DataConfig(**{"manifest": str(manifest), "modalities": FEATURES, **changes})


@pytest.mark.parametrize(
    ("changes", "cell", "wanted"),
    [
        ({}, "dog", torch.tensor(1)),
        ({"steps": ["f"]}, "dog;cat; owl", torch.tensor([1, 0, 2])),
        ({"task": "multilabel"}, "owl; cat", torch.tensor([1.0, 0.0, 1.0])),
        ({"task": "multilabel"}, ";", torch.tensor([0.0, 0.0, 0.0])),
        ({"task": "multilabel"}, "[]", torch.tensor([0.0, 0.0, 0.0])),
        ({"task": "multilabel"}, "owl\u00a0;\u200bcat", torch.tensor([1.0, 0.0, 1.0])),
        ({"task": "regression"}, "3.4e38", torch.tensor([3.4e38])),
        ({"task": "regression"}, "-1.5", torch.tensor([-1.5])),
        ({"task": "regression", "steps": ["f"]}, "1;2.5", torch.tensor([[1.0], [2.5]])),
    ],
)
def test_a_cell_as_a_tensor(changes: dict[str, Any], cell: str, wanted: torch.Tensor) -> None:
    parsed = config(**changes).target.parse(cell, PLACES)
    assert torch.equal(parsed, wanted)
    assert parsed.dtype == wanted.dtype


TEMPORAL: dict[str, Any] = {"task": "temporal", "seconds": 2, "step": 0.5}


@pytest.mark.parametrize(
    ("cell", "changes", "on"),
    [
        (";", {}, {}),
        ("dog@0.5-1.25;owl@0-2", {}, {"dog": [1, 2], "owl": [0, 1, 2, 3]}),
        ("dog@0.2-1.2; dog@1.8-2", {}, {"dog": [0, 1, 3]}),  # 0.6, 1 and 0.4 of a step; 0.4 of one
        ("dog@0.45-0.6", {}, {"dog": [1]}),  # half of none, most of that
        ("dog@0.25-0.75", {}, {"dog": [0, 1]}),
        ("cat@0-1;dog@0.5-1.5;cat@0.75-2", {}, {"cat": [0, 1, 2, 3], "dog": [1, 2]}),  # they overlap
        ("dog@0.1-0.3", {"step": 0.1}, {"dog": [1, 2]}),  # 0.3 / 0.1 < 3
        ("cat @ 5e-1 - 1.0", {}, {"cat": [1]}),
        ("dog@1.9-2.0", {"step": 0.3}, {"dog": [6]}),  # the last step, 1.8 to 2.1, reaches beyond the clip
    ],
)
def test_events_on_time_steps(cell: str, changes: dict[str, Any], on: dict[str, list[int]]) -> None:
    made = config(**{**TEMPORAL, **changes})
    target = made.target.parse(cell, PLACES)
    assert target.shape == (made.time_steps, 3)
    assert {label: target[:, i].nonzero().flatten().tolist() for label, i in PLACES.items()} == {
        label: on.get(label, []) for label in PLACES
    }


def test_names_of_events_may_hold_signs() -> None:
    assert parse_events("a@b - 3@0-1.5;x-y@.5-1") == [("a@b - 3", 0, 1.5), ("x-y", 0.5, 1)]


@pytest.mark.parametrize(
    ("changes", "cell", "message"),
    [
        ({}, "", "expected a label, got an empty cell"),
        ({}, "dgo", "label 'dgo' is not on the list; did you mean 'dog'?"),
        ({}, "x", "label 'x' is not on the list; the labels are cat, dog, owl"),
        ({}, "dog;cat", "label 'dog;cat' is not on the list"),
        ({"task": "multilabel"}, "dog;", "label '' is not on the list"),
        ({"task": "multilabel"}, "", "empty cell"),
        ({"steps": ["f"]}, "dog;;cat", "label '' is not on the list"),
        ({"task": "regression"}, "high", "expected a finite number as label, got 'high'"),
        ({"task": "regression"}, "nan", "expected a finite number as label, got 'nan'"),
        ({"task": "regression"}, "1;2", "expected a finite number as label, got '1;2'"),
        ({"task": "regression"}, "35.1e55", "got '35.1e55', which float32 cannot hold: it ends at 3.4e+38"),
        ({"task": "regression"}, "-3.5e38", "got '-3.5e38', which float32 cannot hold"),
        ({"task": "regression"}, "1e400", "expected a finite number as label, got '1e400'"),
        ({"task": "regression"}, "1_000", "expected a finite number as label, got '1_000'"),
        ({"task": "regression", "steps": ["f"]}, "1;1e39", "got '1e39', which float32 cannot hold"),
        ({"task": "regression", "steps": ["f"]}, "[0.5, 1]", "joined by ';', as in a;b, or a real list"),
        ({}, ";", "expected a label, got an empty cell"),
        ({}, "[]", "expected a label, got an empty cell"),
        ({"task": "regression"}, ";", "expected a label, got an empty cell"),
        (
            {"task": "multilabel"},
            "['dog', 'owl']",
            "joined by ';', as in a;b, or a real list in JSON lines or Parquet, got the text \"['dog', 'owl']\"",
        ),
        ({"task": "multilabel"}, "\x1b[2J", r"label '\x1b[2J' is not on the list"),
        (TEMPORAL, "", "empty cell"),
        (TEMPORAL, "dog@0-1e400", "event 'dog@0-1e400': expected finite seconds"),
        (
            TEMPORAL,
            "dog@0-1,cat@1-2",
            "expected events joined by ';', as in dog@0.5-1.25;speech@0-2, got 'dog@0-1,cat@1-2'",
        ),
        (TEMPORAL, "dog@0-1 | cat@1-2", "expected events joined by ';'"),
        (TEMPORAL, "['dog@0-1']", "joined by ';', as in a;b"),
        (TEMPORAL, "dog", "expected events such as dog@0.5-1.25, from and to seconds, joined by ';', got 'dog'"),
        (TEMPORAL, "dog@0-1;", "joined by ';', got ''"),
        (TEMPORAL, "dog@-1-1", "got 'dog@-1-1'"),
        (TEMPORAL, "dog@0-1.2.3", "got 'dog@0-1.2.3'"),
        (TEMPORAL, "dog@nan-1", "got 'dog@nan-1'"),
        (TEMPORAL, "@0-1", "got '@0-1'"),
        (TEMPORAL, "dog@1-0.5", "event 'dog@1-0.5': expected it to end after it starts, at 1 s"),
        (TEMPORAL, "dog@1-1", "expected it to end after it starts"),
        (TEMPORAL, "dgo@0-1", "label 'dgo' is not on the list; did you mean 'dog'?"),
        (TEMPORAL, "dog@1-2.1", "event 'dog' ends at 2.1 s, and the clip at data.seconds = 2"),
    ],
)
def test_what_is_no_label(changes: dict[str, Any], cell: str, message: str) -> None:
    with pytest.raises(LabelError) as caught:
        config(**changes).target.parse(cell, PLACES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "cells", "wanted"),
    [
        ({}, ["owl", "cat", "owl", ""], ["cat", "owl"]),
        ({}, ["10", "9", "1"], ["1", "9", "10"]),
        ({"task": "multilabel"}, ["owl;cat", ";", "dog"], ["cat", "dog", "owl"]),
        ({"steps": ["f"]}, ["b;a;b"], ["a", "b"]),
        ({"task": "regression"}, ["1.5"], []),
        ({"task": "ordinal"}, ["10", "-1", "2.5", "", "10"], ["-1", "2.5", "10"]),
        (TEMPORAL, ["b@0-1;a@0-2", ";", "no event", "a@1-2"], ["a", "b"]),
        ({"labels": ["z", "a"]}, ["q"], ["z", "a"]),
    ],
)
def test_the_list_is_that_of_the_training_split(
    changes: dict[str, Any], cells: list[str], wanted: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "m.csv"
    rows = [f"{n},train,{cell},x" for n, cell in enumerate(cells)]
    path.write_text("\n".join(["id,split,label,f", *rows, "v,val,zebra,x"]))
    assert label_list(config(path, **changes)) == wanted


LISTS = ["['Speech', 'Music']", '["a","b"]', "['a' 'b']", "('a',)", "{'a', 'b'}", "[0, 1]", "[0 1 0]", "[1]", "(1, 2)",
         "{a,b}", "[a, b]", "array(['a'], dtype=object)", "[{'label': 'dog'}]"]  # fmt: skip


@pytest.mark.parametrize("cell", LISTS)
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_manifest_of_lists_as_programs_print_them_is_refused(cell: str, task: str, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    cells = ["a", cell, cell, ""]
    path.write_text(
        "".join(json.dumps({"id": n, "split": "train", "label": c, "f": "x"}) + "\n" for n, c in enumerate(cells))
    )
    with pytest.raises(ManifestError, match=r"line 2: expected labels joined by ';', as in a;b, or a real list"):
        label_list(config(path, task=task))


@pytest.mark.parametrize(("several", "one"), [("[Dog, Owl]", "[Dog]"), ("{a,b}", "{a}")])
def test_a_list_of_one_is_no_name_where_all_labels_are_lists(several: str, one: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f'id,split,label,f\n1,train,{one},x\n2,train,{one},x\n3,train,"{several}",x\n')
    with pytest.raises(ManifestError, match="line 4: expected labels joined by ';'"):
        label_list(config(path, task="multilabel"))


def test_one_list_among_the_labels_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,split,label,f\n1,train,dog,x\n2,train,\"['dog', 'owl']\",x\n3,train,[music],x\n")
    assert label_list(config(path, task="multilabel")) == ["[music]", "dog"]


def test_labels_are_the_same_however_they_were_typed(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    labels = ["caf\u00e9", " cafe\u0301", "caf\u00e9\u00a0", "\ufeffcaf\u00e9", "tea"]
    rows = [f"{n},train,{label},x" for n, label in enumerate(labels)]
    path.write_text("\n".join(["id,split,label,f", *rows]), encoding="utf-8")
    assert label_list(config(path)) == ["caf\u00e9", "tea"]
    assert label_list(config(path, labels=["cafe\u0301 "])) == ["caf\u00e9"]
    read = read_manifest(path)
    places = places_of(["tea", "cafe\u0301"])  # as a run of before may have them
    assert [int(config(path).target.parse(row.label, places)) for row in read] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["low", "high", "3"],
            "order of its classes, which are no numbers, '3', 'high', 'low'; list them in data.labels",
        ),
        (["3", "3"], "two classes or more (data.labels), got '3'"),
    ],
)
def test_what_order_words_have_is_not_guessed(cells: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\n".join(["id,split,label,f", *(f"{n},train,{cell},x" for n, cell in enumerate(cells))]))
    with pytest.raises(LabelError) as caught:
        label_list(config(path, task="ordinal"))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert label_list(config(path, task="ordinal", labels=["low", "3", "high"])) == ["low", "3", "high"]


def test_another_name_for_the_training_split_is_hinted_at(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,split,label,f\n1,Training,a,x\n2,test,a,x\n")
    with pytest.raises(LabelError, match=r"there are Training, test; did you mean 'Training'\?"):
        label_list(config(path))


def test_no_labels_to_list(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,split,label,f\n1,training,a,x\n")
    with pytest.raises(LabelError, match="no row of split 'train'"):
        label_list(config(path))
