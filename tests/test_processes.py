"""Workers that are told to stop do so without a word, whatever they are at."""

import multiprocessing
import time
from pathlib import Path

import pytest

from locomt.processes import TERMINATED, workers


def begin_slowly(begun: str) -> None:
    Path(begun).touch()
    time.sleep(60)


def stop_while_beginning(begun: Path) -> None:
    with workers(1, multiprocessing.get_context("spawn"), begin_slowly, str(begun)) as pool:
        pool.submit(abs, -1)
        while not begun.exists():
            time.sleep(0.01)
        raise SystemExit(TERMINATED)


def test_workers_that_are_still_beginning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    with pytest.raises(SystemExit):
        stop_while_beginning(tmp_path / "begun")
    assert time.monotonic() - start < 30
    assert capfd.readouterr() == ("", "")
