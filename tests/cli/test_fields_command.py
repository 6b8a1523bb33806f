import json
import subprocess
from pathlib import Path

import pytest

from locomt.cli.main import COMMANDS, main
from locomt.train.fields import recipe_fields


def test_all_fields_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [line.split()[1] for line in lines] == [field.name for field in recipe_fields()]
    assert any(" sgd " in line and "`sgd` (with momentum) or `adamw`" in line for line in lines)


def test_a_field_by_itself_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "train.patience"]) == 0
    assert "The schedule stays that of all `epochs`." in capsys.readouterr().out
    assert main(["fields", "patience", "--json"]) == 0
    (field,) = json.loads(capsys.readouterr().out)
    assert (field["path"], field["type"], field["default"]) == ("train.patience", "int", 0)


def test_a_name_that_no_field_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "patiense"]) == 2
    assert capsys.readouterr().err == "locomt fields: unknown name 'patiense'; did you mean 'patience'?\n"


def test_help_of_train_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert "`locomt fields`" in text
    assert len(text.splitlines()) < 25


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit, match="0"):
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert "--resume" in script
    if shell == "bash":
        (tmp_path / "locomt").write_text(script)
        ask = 'source locomt; COMP_WORDS=(locomt do); COMP_CWORD=1; _shtab_locomt locomt do; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout.split() == ["doctor"]


def test_completion_without_shtab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert capsys.readouterr().err.endswith("needs shtab: pip install 'locomt[completion]'\n")
