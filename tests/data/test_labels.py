"""Labels: the list of them, and a cell of them as a tensor."""

from pathlib import Path
from typing import Any

import pytest
import torch

from locomt.data import DataConfig, label_list
from locomt.data.labels import LabelError, parse_label

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
