"""Commands that are told to stop: one line, the exit code that shells know, no process and no half file left."""

import os
import signal
import time
from pathlib import Path

import pytest

import forks
from feature_project import make_project
from locomt.cli.main import main

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")


def family(process: int) -> set[int]:
    """A process and those that it started, and those that these started."""
    found = {process}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = path.read_text().partition(" ")
        except OSError:
            continue
        if int(rest.rpartition(")")[2].split()[1]) == process:
            found |= family(int(pid))
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(words: list[str], begun: Path, pattern: str, number: signal.Signals) -> tuple[int, list[str]]:
    """What a command says last when it gets a signal as soon as such a file is there, and its exit code."""
    with forks.start("-m", "locomt", *words) as process:
        while not list(begun.glob(pattern)):
            assert process.poll() is None, process.err.read_text()
            time.sleep(0.1)
        own = family(process.pid)
        process.send_signal(number)
        code = process.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, own)):
        assert time.monotonic() < deadline, "a process has outlived the command"
        time.sleep(0.1)
    assert process.out.read_text() == ""
    return code, process.err.read_text().splitlines()


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow)],
)
def test_compare(tmp_path: Path, number: signal.Signals, code: int, word: str) -> None:
    recipe, out = make_project(tmp_path / "project", epochs=10_000), tmp_path / "out"
    line = ["compare", str(recipe), "--models", "locomt,mbt,sound", "--seeds", "1", "--jobs", "2", "--out", str(out)]
    found, said = stop(line, out, "runs/clips/*/seed-0/metrics.csv", number)
    assert (found, said[-1]) == (code, f"locomt compare: {word}")
    assert said[0].startswith("3 classes, ")
    assert sum(line.startswith("4 runs, 2 at a time, ") for line in said) == 1
    assert not list(out.rglob(".*"))
    assert len(list(out.glob("runs/clips/*"))) <= 2  # what was waiting was not begun


def test_prepare(tmp_path: Path) -> None:
    recipe, out = make_project(tmp_path / "project"), tmp_path / "out"
    with (recipe.parent / "clips.csv").open("a") as manifest:  # some that take their time
        for number in range(20_000):
            manifest.write(f"more{number},train,up,train{number % 12}_motion.npy,\n")
    line = ["prepare", str(recipe), "--out", str(out), "--workers", "2", "--shard-samples", "16"]
    code, said = stop(line, out, "*.tar", signal.SIGTERM)
    assert (code, said[-1]) == (143, "locomt prepare: terminated")
    assert said[-2] == "stopped; the same command goes on after the shards that are done"
    assert not list(out.rglob(".*"))


def test_a_run_that_is_killed_is_gone_on_with_and_never_by_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = make_project(tmp_path / "project", epochs=10_000), tmp_path / "run"
    line = ["train", str(recipe), "--run", str(run), "--resume"]
    with forks.start("-m", "locomt", *line) as process:
        while not (run / "checkpoints" / "best.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.1)
        monkeypatch.setattr("locomt.lock.PATIENCE", 0.1)
        config = (run / "config.yaml").read_bytes()
        assert main([*line, "--train.epochs", "3"]) == 2
        assert f"{run} is in use: process {process.pid} on " in capsys.readouterr().err
        assert (run / "config.yaml").read_bytes() == config
    (run / "checkpoints" / ".last.ckpt.1.tmp").touch()
    (run / ".model.1.tmp").mkdir()
    assert (run / ".lock").exists()
    assert main([*line, "--train.learning_rate", "0.1"]) == 2  # there is the other run's lock, and it is dead
    assert "was begun with train.learning_rate 0.05, the recipe now says 0.1" in capsys.readouterr().err
    assert not list(run.rglob(".*"))
    assert os.path.exists(run / "checkpoints" / "last.ckpt")
