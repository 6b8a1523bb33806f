"""Workers that are told to stop do so without a word, whatever they are at."""

import multiprocessing
import time
from pathlib import Path

import pytest

from locomt.data.processes import TERMINATED, workers


def begin_slowly(begun: str) -> None:
    Path(begun).touch()
    time.sleep(60)


def test_workers_that_are_still_beginning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    begun, start = tmp_path / "begun", time.monotonic()
    context = multiprocessing.get_context("spawn")
    with pytest.raises(SystemExit), workers(1, context, begin_slowly, str(begun)) as pool:
        waiting = pool.submit(abs, -1)
        while not begun.exists():
            time.sleep(0.01)
        raise SystemExit(TERMINATED)
    assert time.monotonic() - start < 30
    assert waiting.exception() is not None
    assert capfd.readouterr() == ("", "")
