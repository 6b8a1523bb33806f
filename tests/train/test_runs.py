"""Many runs: which process has them, and what becomes of it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.train import load_recipe
from locomt.train.runs import Job, do, do_all

SCRIPT = """
import sys, time
from pathlib import Path
from locomt.train import load_recipe
from locomt.train.runs import Job, do_all

def wait(row):
    (Path(sys.argv[2]) / str(__import__("os").getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    recipe = load_recipe(sys.argv[1])
    do_all([Job(label=name, recipe=recipe, directory=Path(sys.argv[2]) / name, watch=wait) for name in "ab"], at_once=2)
"""


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Even where that one is killed: a run that is gone on with has no other process writing into it."""
    recipe = make_project(tmp_path / "project")
    (tmp_path / "script.py").write_text(SCRIPT)
    runs = tmp_path / "runs"
    runs.mkdir()
    parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(recipe), str(runs)])
    try:
        workers: list[int] = []
        while len(workers) < 2:
            assert parent.poll() is None
            time.sleep(0.1)
            workers = [int(path.name) for path in runs.iterdir() if path.name.isdecimal()]
        assert all(map(alive, workers))
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, f"one of {workers} outlived its parent"
        time.sleep(0.1)


def test_what_is_done_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(make_project(tmp_path / "project"))
    jobs = [
        Job(label=f"{n}", recipe=replace(recipe, train=replace(recipe.train, seed=n)), directory=tmp_path / f"{n}")
        for n in range(3)
    ]
    before = [do(job) for job in jobs[:2]]
    monkeypatch.setattr("locomt.train.runs.workers", None)
    seen: list[str] = []
    found = do_all(jobs[:2], at_once=2, on_done=lambda job, outcome: seen.append(job.label))
    assert [outcome.scores for outcome in found] == [outcome.scores for outcome in before]
    assert [outcome.seconds for outcome in found] == [0, 0]
    assert do_all(jobs, at_once=2, on_done=lambda job, outcome: seen.append(job.label))[2].seconds > 0
    assert seen == ["0", "1", "0", "1", "2"]
