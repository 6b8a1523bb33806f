"""Manifests in every form, and what is said about those that cannot serve."""

import builtins
import csv
import json
import math
import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.data import ManifestError, read_manifest
from locomt.data.cells import text_of

ROWS = [
    {"id": "001", "split": "train", "label": "cooking", "clip": "clips/001.mp4", "title": "How to boil, an egg"},
    {"id": "002", "split": "val", "label": "music", "clip": "clips/002.mp4", "title": ""},
    {"id": "003", "split": "test", "label": "1.5", "clip": "", "title": "two\nlines"},
]


def write(folder: Path, form: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = folder / f"clips.{form}"
    if form == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "ndjson", "parquet"])
def test_all_forms_say_the_same(form: str, tmp_path: Path) -> None:
    rows = read_manifest(write(tmp_path, form))
    assert [row.cells for row in rows] == ROWS
    first = 1 if form != "csv" else 2
    assert [row.number for row in rows] == [first, first + 1, first + 2]
    assert (rows[0].id, rows[0].split, rows[0].label) == ("001", "train", "cooking")


@given(
    texts=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=9)] * 2),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_comes_through(texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [{"id": str(n), "split": "train", "label": a, "title": b} for n, (a, b) in enumerate(texts)]
    folder = tmp_path_factory.mktemp("texts")
    for form in ("csv", "jsonl", "parquet"):
        assert [row.cells for row in read_manifest(write(folder, form, rows))] == rows


def test_lines_are_counted_where_the_row_begins(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text('id,split,label\n1,train,"a\nb\nc"\n\n2,train,d\n')
    assert [row.number for row in read_manifest(path)] == [2, 6]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_typed_cells(form: str, tmp_path: Path) -> None:
    rows = [{"id": 7, "split": "train", "label": ["a", "b"], "clip": None}, {"id": 8, "split": "train", "label": ["c"]}]
    read = read_manifest(write(tmp_path, form, rows), ("id", "split", "label", "clip"))
    assert [row.cells for row in read] == [
        {"id": "7", "split": "train", "label": "a;b", "clip": ""},
        {"id": "8", "split": "train", "label": "c", "clip": ""},
    ]


def number_cells(form: str, folder: Path, column: list[Any], **types: Any) -> list[str]:
    """The labels that a typed column gives."""
    if form == "parquet":
        names = [str(n) for n in range(len(column))]
        table = pyarrow.table({"id": names, "split": ["train"] * len(names), "label": pyarrow.array(column, **types)})
        pyarrow.parquet.write_table(table, folder / "typed.parquet")
        path = folder / "typed.parquet"
    else:
        path = write(folder, form, [{"id": n, "split": "train", "label": value} for n, value in enumerate(column)])
    return [row.label for row in read_manifest(path)]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_missing_value_is_an_empty_cell_and_a_whole_float_an_integer(form: str, tmp_path: Path) -> None:
    column = [0.0, math.nan, 2.0, None, -3.0, 0.5, -0.0]
    assert number_cells(form, tmp_path, column) == ["0", "", "2", "", "-3", "0.5", "0"]
    assert number_cells(form, tmp_path, [1e300, math.inf]) == ["1e+300", "inf"]


def test_nan_in_a_text_column_of_json_lines_is_a_missing_modality(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "split": "train", "label": NaN, "title": NaN}\n')
    assert read_manifest(path)[0].cells == {"id": "1", "split": "train", "label": "", "title": ""}


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=1, max_size=5))
def test_integers_with_gaps_come_through_as_floats(numbers: list[int | None]) -> None:
    texts = [text_of(None if number is None else float(number)) for number in numbers]
    assert texts == ["" if number is None else str(number) for number in numbers]


@pytest.mark.parametrize(
    ("column", "types", "wanted"),
    [
        ([0.1, 3.0, None, math.nan], {"type": pyarrow.float32()}, ["0.1", "3", "", ""]),
        ([True, None], {}, ["True", ""]),
        ([Decimal("3.00"), Decimal("3.50"), None], {}, ["3", "3.5", ""]),
        ([datetime(2024, 1, 2, 3), None], {"type": pyarrow.timestamp("ns")}, ["2024-01-02 03:00:00", ""]),
        ([date(2024, 1, 2)], {}, ["2024-01-02"]),
        ([["a", "b"], [], None, ["c"]], {}, ["a;b", ";", "", "c"]),
        ([[1.0, 2.0]], {}, ["1;2"]),
        ([[0.1, 2.0], [], None], {"type": pyarrow.list_(pyarrow.float32())}, ["0.1;2", ";", ""]),
    ],
)
def test_types_of_parquet(column: list[Any], types: dict[str, Any], wanted: list[str], tmp_path: Path) -> None:
    assert number_cells("parquet", tmp_path, column, **types) == wanted


def test_dictionary_columns_of_parquet(tmp_path: Path) -> None:
    labels = pyarrow.array(["dog", "cat", "dog", None]).dictionary_encode()
    table = pyarrow.table({"id": list("abcd"), "split": ["train"] * 4, "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert [row.label for row in read_manifest(tmp_path / "a.parquet")] == ["dog", "cat", "dog", ""]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a;b", "c"], "expected a label an item of the list, but 'a;b' holds ';', by which a manifest joins labels"),
        (["a", " "], "expected a label an item of the list, but ' ' is empty"),
        (["a", None], "expected a list of texts or numbers, got None in it"),
        ([1.0, math.nan], "expected a list of texts or numbers, got nan in it"),
        ([["a"], ["b"]], "expected a list of texts or numbers, got ['a'] in it"),
    ],
)
def test_an_item_of_a_list_is_one_label_or_refused(form: str, items: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        number_cells(form, tmp_path, [items])
    assert f"line 1: column 'label': {message}" in str(caught.value)


def test_a_list_elsewhere_than_among_the_labels_may_hold_anything(tmp_path: Path) -> None:
    rows = [{"id": 1, "split": "train", "label": "a", "title": ["x; y", "z"], "more": []}]
    assert read_manifest(write(tmp_path, "jsonl", rows))[0].cells["title"] == "x; y;z"
    assert read_manifest(write(tmp_path, "jsonl", rows))[0].cells["more"] == ""


def test_labels_and_splits_without_what_no_one_sees(tmp_path: Path) -> None:
    rows = [{"id": "1", "split": " train\u00a0", "label": "\u200bcafe\u0301 "}]
    (row,) = read_manifest(write(tmp_path, "jsonl", rows))
    assert (row.split, row.label) == ("train", "caf\u00e9")


def test_what_is_neither_a_file_nor_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")  # reading it would wait for ever
    for path in (tmp_path / "a.csv", Path("/dev/null")):
        with pytest.raises(ManifestError, match="expected a file or a folder, got a device or a pipe"):
            read_manifest(path)


def test_byte_order_mark_and_long_cells(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text("\ufeffid,split,label\n1,train," + "x" * 200_000 + "\n", encoding="utf-8")
    limit = csv.field_size_limit()
    assert len(read_manifest(path)[0].label) == 200_000
    assert csv.field_size_limit() == limit


HEAD = "id,split,label,clip\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,splt,label,clip\n1,train,a,b\n", "expected a column 'split', got 'id', 'splt', 'label', 'clip'; "
         "did you mean 'splt'?"),
        ("a.csv", "id,split,label\n1,train,a\n", "expected a column 'clip', got 'id', 'split', 'label'; name it"),
        ("a.csv", "", "expected a row a sample, got none"),
        ("a.csv", HEAD, "expected a row a sample, got none"),
        ("a.csv", "id,id,label,clip\n1,2,a,b\n", "line 1: column 'id' twice"),
        ("a.csv", "id,,label,clip\n1,2,a,b\n", "line 1: a column without a name"),
        ("a.csv", HEAD + "1,train,a,b\n2,train,a,b,c\n", "line 3: expected 4 cells as in the header, got 5"),
        ("a.csv", HEAD + "1,train,a\n", "line 2: expected 4 cells as in the header, got 3"),
        ("a.csv", HEAD + '1,train,"a"b,c\n', "line 2: "),
        ("a.csv", HEAD + "1,train,a,b\n2,train,a,b\n1,val,a,b\n", "line 4: id '1' is that of line 2 already"),
        ("a.csv", HEAD + "1,train,a,b\n ,train,a,b\n", "line 3: expected an id"),
        ("a.csv", HEAD + "1,,a,b\n", "line 2: expected the name of a split"),
        ("a.csv", HEAD.encode() + b"1,train,\xff,b\n", "expected text in UTF-8, got 0xff"),
        ("a.jsonl", '{"id": 1}\n{"id": 2,\n', "line 2: not valid JSON"),
        ("a.jsonl", "[1, 2]\n", "line 1: expected an object"),
        ("a.jsonl", '{"id": ' + "[" * 100_000, "line 1: not valid JSON: "),
        ("a.jsonl", '{"id": ' + "9" * 5000 + "}", "line 1: not valid JSON: "),
        ("a.jsonl", '{"id": {"x": 1}}\n', "line 1: column 'id': expected text, a number or a list"),
        ("a.csv", '"id"x,split,label,clip\n1,train,a,b\n', "line 1: ',' expected after '\"'"),
        ("a.csv", "id;split;label;clip\n1;train;a;b\n", "line 1: expected commas between the cells, got ';'; save it"),
        ("a.csv", '"id";"split"\n"1";"train"\n', "line 1: expected commas between the cells, got ';'"),
        ("a.csv", 'clip;id;split;"label, all"\n', "line 1: expected commas between the cells, got ';'"),
        ("a.csv", "sep=;\nid;split\n1;train\n", "line 1: expected commas between the cells, got ';'"),
        ("a.csv", "\ufeffid\tsplit\tlabel\tclip\n", "line 1: expected commas between the cells, got tabs"),
        ("a.csv", "id|split|label|clip\n", "line 1: expected commas between the cells, got '|'"),
        ("a.csv", "name;x,split,label,clip\n1,train,a,b\n", "expected a column 'id', got 'name;x', "),
        ("a.csv", HEAD + "1,train,a,x\n1,\x1b[31mtrain,a,x\n", "line 3: id '1' is that of line 2 already"),
        ("a.csv", "id,split,label,cl\x1b[31mp\n1,train,a,x\n", r"expected a column 'clip', got 'id', 'split', 'label', "
         r"'cl\x1b[31mp'"),
        ("a.tsv", "", "expected a manifest that ends in .csv, .jsonl, .ndjson, .parquet, got '.tsv'; write it with"),
        ("a.jsonl", '{"id": 1, "split": "a", "id": 2}', "line 1: not valid JSON: 'id' is there twice"),
        ("a.parquet", "no parquet", "not a Parquet file"),
        ("a.xlsx", "", "expected a manifest that ends in .csv, .jsonl, .ndjson, .parquet, got '.xlsx'"),
    ],
)  # fmt: skip
def test_refusals_name_file_and_line(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, ("id", "split", "label", "clip"))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a manifest, but there is no file"):
        read_manifest(tmp_path / "clips.csv")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "parquet")
    original = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ManifestError, match=r"pip install 'locomt\[parquet\]'"):
        read_manifest(path)
