"""Many runs: which process has them, and what becomes of it."""

import time
from pathlib import Path

import pytest

import forks
from feature_project import make_project
from locomt.train import load_recipe
from locomt.train.runs import Job, Runner, do

SCRIPT = """
import sys, time
from pathlib import Path
from locomt.train import load_recipe
from locomt.train.runs import Job, Runner

def wait(row):
    (Path(sys.argv[2]) / str(__import__("os").getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    recipe = load_recipe(sys.argv[1])
    jobs = [Job(label=name, recipe=recipe, directory=Path(sys.argv[2]) / name, watch=wait) for name in "ab"]
    Runner(at_once=2).do(jobs)
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
    with forks.start(tmp_path / "script.py", recipe, runs) as parent:
        workers: list[int] = []
        while len(workers) < 2:
            assert parent.poll() is None
            time.sleep(0.1)
            workers = [int(path.name) for path in runs.iterdir() if path.name.isdecimal()]
        assert all(map(alive, workers))
    deadline = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, f"one of {workers} outlived its parent"
        time.sleep(0.1)


def test_what_is_done_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(make_project(tmp_path / "project"))
    jobs = [Job.seeded("tiny", recipe, seed, tmp_path / "runs") for seed in range(3)]
    before = [do(job) for job in jobs[:2]]
    monkeypatch.setattr("locomt.train.runs.workers", None)
    seen: list[str] = []
    plans: list[int] = []
    runner = Runner(at_once=2, on_plan=plans.append, on_run=lambda job, outcome: seen.append(job.label))
    found = runner.do(jobs[:2], lambda job, outcome: seen.append("done"))
    assert [outcome.scores for outcome in found] == [outcome.scores for outcome in before]
    assert [outcome.seconds for outcome in found] == [0, 0]
    assert runner.do(jobs)[2].seconds > 0
    assert seen == ["done", "tiny seed 0", "done", "tiny seed 1", *(f"tiny seed {seed}" for seed in range(3))]
    assert plans == [2, 3]
