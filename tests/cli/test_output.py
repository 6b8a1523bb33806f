import json

import pytest

from locomt.cli.output import console, print_json, print_table


def test_json_is_one_document_with_null_for_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "é": (True, None)})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "é": [True, None]}
    assert "é" in text


def test_table_keeps_long_cells_and_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[bold] " + "x" * 300
    print_table("A [b] title", ("name", "score"), [(name, "0.5 ± 0.1"), ("y", None)])
    out, err = capsys.readouterr()
    assert name in out
    assert "A [b] title" in out
    assert err == ""


def test_a_title_longer_than_its_table_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("runs/score, split test", ("a", "b"), [("x", 1)])
    assert capsys.readouterr().out.splitlines()[0] == "runs/score, split test"


def test_numbers_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ("name", "score"), [("a", "1,000.5"), ("b", "2 %")])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("│ b ") and line.endswith("    2 % │") for line in lines)


def test_console_writes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("along the way")
    assert capsys.readouterr() == ("", "along the way\n")
