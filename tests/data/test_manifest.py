"""Manifests in every form, and what is said about those that cannot serve."""

import builtins
import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.data import ManifestError, read_manifest
from locomt.data.manifest import resolve

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


@pytest.mark.parametrize("cell", ["a.mp4", "clips/a.mp4", "./a.mp4", "clips/../a.mp4", " a.mp4 ", "-a.mp4", "..a.mp4"])
def test_files_beside_the_manifest(cell: str, tmp_path: Path) -> None:
    found = resolve(cell, tmp_path / "clips.csv")
    assert found.is_relative_to(tmp_path)
    assert ".." not in found.parts


@pytest.mark.parametrize("cell", ["../a.mp4", "clips/../../a.mp4", "/etc/passwd", "..", "C:\\a.mp4", "//server/a.mp4"])
def test_files_elsewhere_are_refused_unless_allowed(cell: str, tmp_path: Path) -> None:
    manifest = tmp_path / "clips.csv"
    with pytest.raises(ManifestError, match="leads out of the manifest's folder") as caught:
        resolve(cell, manifest)
    assert "data.allow_outside: true" in str(caught.value)
    assert resolve(cell, manifest, allow_outside=True).is_absolute()


def test_a_link_that_leads_elsewhere_is_refused_unless_allowed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data", tmp_path / "outside"
    (inside / "clips").mkdir(parents=True)
    outside.mkdir()
    for folder in (inside / "clips", outside):
        (folder / "a.mp4").write_bytes(b"x")
    (inside / "more").symlink_to(outside)
    (inside / "b.mp4").symlink_to(outside / "a.mp4")
    (inside / "c.mp4").symlink_to("clips/a.mp4")
    manifest = inside / "clips.csv"
    for cell in ("more/a.mp4", "b.mp4"):
        with pytest.raises(ManifestError, match=r"leads out of the manifest's folder through a link, to .*a\.mp4"):
            resolve(cell, manifest)
        assert resolve(cell, manifest, allow_outside=True) == inside / cell
    assert resolve("c.mp4", manifest) == inside / "c.mp4"
    (tmp_path / "linked").symlink_to(inside)  # the folder itself may be reached through a link
    assert resolve("c.mp4", tmp_path / "linked" / "clips.csv").is_file()


def test_an_absolute_path_within_the_manifests_folder(tmp_path: Path) -> None:
    assert resolve(str(tmp_path / "clips" / "a.mp4"), tmp_path / "clips.csv") == tmp_path / "clips" / "a.mp4"
    with pytest.raises(ManifestError, match="leads out of the manifest's folder"):
        resolve(f"{tmp_path}-elsewhere/a.mp4", tmp_path / "clips.csv")
