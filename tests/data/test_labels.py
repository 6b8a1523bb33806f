"""Labels: the list of them, and a cell of them as a tensor."""

from pathlib import Path
from typing import Any

import pytest
import torch

from locomt.data import DataConfig, label_list
from locomt.data.labels import LabelError, parse_events, parse_label

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
        ({"task": "regression"}, "-1.5", torch.tensor([-1.5])),
        ({"task": "regression", "steps": ["f"]}, "1;2.5", torch.tensor([[1.0], [2.5]])),
    ],
)
def test_a_cell_as_a_tensor(changes: dict[str, Any], cell: str, wanted: torch.Tensor) -> None:
    parsed = parse_label(cell, config(**changes), PLACES)
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
    target = parse_label(cell, made, PLACES)
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
        (TEMPORAL, "", "empty cell"),
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
        parse_label(cell, config(**changes), PLACES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "cells", "wanted"),
    [
        ({}, ["owl", "cat", "owl", ""], ["cat", "owl"]),
        ({}, ["10", "9", "1"], ["1", "9", "10"]),
        ({"task": "multilabel"}, ["owl;cat", ";", "dog"], ["cat", "dog", "owl"]),
        ({"steps": ["f"]}, ["b;a;b"], ["a", "b"]),
        ({"task": "regression"}, ["1.5"], []),
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


def test_no_labels_to_list(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,split,label,f\n1,training,a,x\n")
    with pytest.raises(LabelError, match="no row of split 'train'"):
        label_list(config(path))
