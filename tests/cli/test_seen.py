"""Long work on stderr: lines in a pipe, bars on a terminal, nothing on stdout and nothing for Python's callers."""

import contextlib
import json
import os
import pty
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.cli.main import main
from locomt.cli.output import console
from locomt.cli.seen import Lines, OnStderr, duration
from locomt.progress import heard_by, stage

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def locomt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path / "project")

    def run(*argv: object) -> tuple[int, str, str]:
        code = main([str(word) for word in argv])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locomt.cli.seen.FIRST", 0)
    monkeypatch.setattr("locomt.cli.seen.EVERY", 0)


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A terminal for stderr within the block, after which all that came to it is there."""
    master, slave = pty.openpty()
    got: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # which is how a terminal says that nobody writes to it any more
            while found := os.read(master, 4096):
                got.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    with monkeypatch.context() as patch, open(slave, "w", encoding="utf-8") as stream:
        patch.setenv("COLUMNS", "120")
        patch.setenv("TERM", "xterm")
        patch.setattr("locomt.cli.seen.LOOK", 0)
        patch.setattr(sys, "stderr", stream)
        console.cache_clear()  # it asks once whether there is a terminal
        yield got
    console.cache_clear()
    reader.join()
    os.close(master)


@pytest.mark.usefixtures("often")
def test_in_a_pipe_training_tells_its_numbers(locomt: Command) -> None:
    code, out, err = locomt("train", "project/clips.yaml", "--run", "run", "--json")
    assert code == 0
    assert json.loads(out)["run"] == "run"
    line = r"training: \d of 6 steps, loss [\d.]+, rate [\d.e-]+, [\d.e+]+ samples/s, epoch (\d) of 2, 0:\d\d gone, "
    assert re.findall(line, err) == ["1"] * 3 + ["2"] * 2
    assert "training: 6 of 6 steps in 0:0" in err
    assert "\x1b" not in err
    assert "\r" not in err


def test_a_pipe_is_not_flooded(locomt: Command) -> None:
    _, _, err = locomt("train", "project/clips.yaml", "--run", "run")
    assert "steps, " not in err


def test_on_a_terminal_a_bar_shows_numbers_and_goes(locomt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as got:
        code, out, _ = locomt("train", "project/clips.yaml", "--run", "run", "--json")
    assert code == 0
    assert json.loads(out)["run"] == "run"
    text = re.sub(r"\x1b\[[\d;]*m", "", b"".join(got).decode())  # without colours
    bar = r"training ━+ [3-6]/6 · 0:0\d left · loss [\d.]+ · rate [\d.e-]+ · [\d.]+ samples/s · epoch [12] of 2"
    assert re.search(bar, text)
    assert "epoch 2/2  train_loss " in text
    last = text.rpartition("\x1b[2K")[2]  # what stands where the last bar was
    assert "training" not in last
    assert "\x1b[?25h" in last  # the cursor is back


@pytest.mark.usefixtures("often")
def test_many_runs_are_counted_and_one_of_them_is_shown_within(locomt: Command) -> None:
    words = ("compare", "project/clips.yaml", "--models", "motion,sound", "--seeds", "1", "--json")
    code, out, err = locomt(*words)
    assert (code, len(json.loads(out)["runs"])) == (0, 2)
    header = [line for line in err.splitlines() if line.startswith("2 runs, 1 at a time, on CPU, 1 thread, float32: ")]
    assert len(header) == 1
    assert "device: " not in err  # the header of each run
    assert re.search(r"^runs: 1 of 2, clips sound seed 0, 0:\d\d gone, .*; training: \d of 6 steps, ", err, re.M)
    cautions = json.loads(out)["cautions"]
    assert [line.split(":")[0] for line in cautions][:3] == [
        "split 'val' has 6 samples", "split 'test' has 5 samples", "one seed"
    ]  # fmt: skip
    assert [err.count(f"caution: {line}\n") for line in cautions] == [1] * len(cautions)
    page = Path("compare", "report.html").read_text()
    assert "Caution: split &#39;test&#39; has 5 samples" in page


@pytest.mark.usefixtures("often")
def test_scoring_is_shown(locomt: Command) -> None:
    locomt("train", "project/clips.yaml", "--run", "run")
    code, out, err = locomt("evaluate", "run", "--json")
    assert (code, json.loads(out)["samples"]) == (0, 5)
    assert re.search(r"^scoring test: 5 of 5 samples in 0:0\d$", err, re.M)


def test_only_the_first_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], often: None
) -> None:
    for rank, said in (("1", ""), ("0", "a line\nreading: 1 of 2 files, 0:00 gone, about 0:00 left\n")):
        monkeypatch.setitem(os.environ, "RANK", rank)
        with heard_by(OnStderr()), stage("reading", "files", 2) as seen:
            seen.note("a line")
            seen.add()
        assert capfd.readouterr().err.startswith(said)
        assert bool(said) == (rank == "0")


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with heard_by(Lines()), stage("reading", "files", 100) as seen:
        for second in range(1, 101):
            now = float(second)
            seen.add()
    assert capfd.readouterr().err.splitlines() == [
        "reading: 10 of 100 files, 0:10 gone, about 1:30 left",
        "reading: 40 of 100 files, 0:40 gone, about 1:00 left",
        "reading: 70 of 100 files, 1:10 gone, about 0:30 left",
        "reading: 100 of 100 files in 1:40",
    ]


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 7, 750, 3723)] == ["0:00", "0:07", "12:30", "1:02:03"]
