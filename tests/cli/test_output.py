import json
import logging
import re
import sys
from pathlib import Path

import pytest

from locomt.cli.main import main
from locomt.cli.output import console, print_json, print_table
from locomt.cli.terminal import guarded, shown


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


EVIL = "a\x1b]0;OWNED\x07\x1b[2J\x9b31m\u202egnp\u2066\u200b\x7f\r\nb"
SAFE = r"a\x1b]0;OWNED\x07\x1b[2J\x9b31m\u202egnp\u2066\u200b\x7f\r"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b]")


def test_nothing_that_comes_with_data_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        print(EVIL)
        print(EVIL, file=sys.stderr)
        sys.stderr.writelines([EVIL, "\n"])
        logging.StreamHandler().emit(logging.LogRecord("locomt", logging.WARNING, "", 1, EVIL, None, None))
        console().print(EVIL, markup=False, highlight=False, soft_wrap=True)
        print_table(EVIL, ("name",), [(EVIL,)])
        print_json({EVIL: EVIL})
    out, err = capsys.readouterr()
    assert not CONTROL.search(out)
    assert not CONTROL.search(err)
    assert out.count(SAFE) == 3  # plain, and in the table on one line
    assert SAFE + r"\nb" in out
    assert err.count(SAFE) == 4
    assert json.loads(out[out.index("{") :]) == {EVIL: EVIL}


def test_the_error_of_a_command_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_text('data: {"\\e[31m\\e]0;x\\a": 1}')
    assert main(["cost", str(tmp_path / "evil.yaml")]) == 2
    err = capsys.readouterr().err
    assert r"\x1b[31m\x1b]0;x\x07" in err
    assert not CONTROL.search(err)
    assert err.count("\n") == 1


def test_bars_of_downloads_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        sys.stderr.write("\r 10%|x\x1b[31m")
        sys.stderr.write("\n\x1b[A")
    assert capsys.readouterr().err == "\r 10%|x\\x1b[31m\n\x1b[A"


def test_text_of_any_script_stays_as_it_is() -> None:
    text = "é 日本語 క్\u200cష 👨\u200d👩\u200d👧 a\tb\nc"
    assert shown(text) == text
