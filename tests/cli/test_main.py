import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from locomt import __version__
from locomt.cli import main as program
from locomt.cli.main import COMMANDS, describe, load_command, main, split_overrides

HEAVY = ("lightning", "torchmetrics", "matplotlib", "transformers", "tensorboard", "av", "scipy", "sklearn")


def locomt(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "locomt", *argv], capture_output=True, text=True, check=False)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Every command is this module: its `run` returns or raises `outcome` and keeps what it was given."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="+")
        parser.add_argument("--resume", action="store_true")

    def run(args: argparse.Namespace, overrides: list[str]) -> int:
        module.args, module.overrides = args, overrides
        if isinstance(module.outcome, BaseException):
            raise module.outcome
        return module.outcome

    module = SimpleNamespace(
        HELP="Do it.", EXAMPLE="locomt train a.yaml", TAKES_OVERRIDES=True, outcome=0,
        add_arguments=add_arguments, run=run,
    )  # fmt: skip
    monkeypatch.setattr(program, "load_command", lambda name: module)
    monkeypatch.delenv("LOCOMT_TRACEBACK", raising=False)
    return module


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_what_a_command_needs(name: str) -> None:
    command = load_command(name)
    assert command.HELP.count("\n") == 0
    assert 10 < len(command.HELP) <= 110
    assert command.EXAMPLE.startswith(f"locomt {name}")
    assert callable(command.run)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_its_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert load_command(name).EXAMPLE in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--help"], []])
def test_help_lists_the_commands_with_a_line_each(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(argv)
    text = " ".join(capsys.readouterr().out.split())
    for name in COMMANDS:
        assert f"{name} {load_command(name).HELP}" in text


@pytest.mark.parametrize("argv", [["--help"], ["cost", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import sys\nfrom locomt.cli.main import main\n"
        f"try: main({argv})\nexcept SystemExit: pass\n"
        "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = done.stdout.rpartition("imported:")[2].split()
    assert "locomt" in imported
    assert not set(imported) & {*HEAVY, "torch", "numpy", "rich"}


def test_module_is_the_program() -> None:
    done = locomt("--version")
    assert (done.returncode, done.stdout) == (0, f"locomt {__version__}\n")


def test_mistake_is_one_line_without_traceback() -> None:
    done = locomt("evaluate", "no/such/run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("locomt evaluate: ")
    assert done.stderr.count("\n") == 1


def test_unknown_command_names_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    line = capsys.readouterr().err
    assert line == f"locomt: expected a command out of {', '.join(COMMANDS)}, got 'trian'; did you mean 'train'?\n"


@pytest.mark.parametrize("option", ["--resmue", "--res", "-x"])
def test_unknown_option_is_refused_in_one_line(
    fake: SimpleNamespace, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main(["train", "a.yaml", option]) == 2
    line = capsys.readouterr().err
    assert line == f"locomt train: did not expect {option!r} (see `locomt train --help`)\n"


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["-0abc.npy"], "locomt train -- -0abc.npy"),
        (["a.yaml", "-0abc.npy", "--", "b"], "locomt train a.yaml -- -0abc.npy b"),
        (["-1 a.npy", "-b.npy", "a"], "locomt train a -- '-1 a.npy' -b.npy"),
        (["a.yaml", "--c.npy"], "locomt train a.yaml -- --c.npy"),
    ],
)
def test_files_whose_names_begin_with_a_dash(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "--c.npy").touch()
    assert main(["train", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"if it is the name of a file, put `--` before it: `{form}`")


def test_negative_values_and_files_after_two_dashes_are_taken(fake: SimpleNamespace) -> None:
    assert main(["train", "--model.depth", "-1e-3", "--", "-0abc.npy"]) == 0
    assert (fake.args.files, fake.overrides) == (["-0abc.npy"], ["--model.depth", "-1e-3"])


def test_missing_argument_is_named_in_one_line(fake: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train"])
    line = capsys.readouterr().err
    assert line == ("locomt train: the following arguments are required: files (see `locomt train --help`)\n")


def test_overrides_reach_a_command_that_takes_them(fake: SimpleNamespace) -> None:
    argv = ["train", "--model.depth", "4", "a.yaml", "--train.rate=-1", "b.yaml", "--resume"]
    assert main(argv) == 0
    assert fake.args.files == ["a.yaml", "b.yaml"]
    assert fake.args.resume
    assert fake.overrides == ["--model.depth", "4", "--train.rate=-1"]


def test_overrides_are_refused_by_others(fake: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    fake.TAKES_OVERRIDES = False
    assert main(["predict", "a", "--model.depth", "4"]) == 2
    assert "--model.depth sets a field of a recipe" in capsys.readouterr().err


def test_negative_values_belong_to_their_field() -> None:
    assert split_overrides(["--a.b", "-1", "x"]) == (["x"], ["--a.b", "-1"])


def test_file_names_with_dots_are_no_fields() -> None:
    assert split_overrides(["a.yaml", "--out", "b.json", "--", "--c.d"]) == (
        ["a.yaml", "--out", "b.json", "--", "--c.d"], [],
    )  # fmt: skip


@pytest.mark.parametrize("argv", [["--a.b"], ["--a.b", "--resume"]])
def test_a_field_without_a_value_is_a_mistake(argv: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected a value after --a\.b"):
        split_overrides(argv)


@pytest.mark.parametrize(
    ("outcome", "code", "line"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (ValueError("field 'a':\n  expected b"), 2, "locomt train: field 'a': expected b\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "locomt train: x: No such file or directory\n"),
        (KeyboardInterrupt(), 130, "locomt train: interrupted\n"),
    ],
)  # fmt: skip
def test_exit_codes(
    fake: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    outcome: int | BaseException,
    code: int,
    line: str,
) -> None:
    fake.outcome = outcome
    assert main(["train", "a.yaml"]) == code
    assert capsys.readouterr() == ("", line)


def test_bugs_are_not_dressed_up_as_mistakes(fake: SimpleNamespace) -> None:
    fake.outcome = AssertionError("a bug")
    with pytest.raises(AssertionError, match="a bug"):
        main(["train", "a.yaml"])


def test_traceback_on_request(fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.outcome = ValueError("wrong")
    monkeypatch.setenv("LOCOMT_TRACEBACK", "1")
    with pytest.raises(ValueError, match="wrong"):
        main(["train", "a.yaml"])


def test_an_error_without_words_gives_its_name() -> None:
    assert describe(ValueError()) == "ValueError"


def test_a_reader_that_goes_away_is_no_mistake() -> None:
    reader = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)
    assert reader.stdin is not None
    reader.wait()
    done = subprocess.run(
        [sys.executable, "-m", "locomt", "doctor", "--json"],
        stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_leave_the_cores_to_others(
    fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main(["train", "a"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == after
