"""How far long work is: who hears of it, and what."""

import pytest

from heard import Heard
from locomt import progress
from locomt.progress import each, heard_by, stage


def test_whoever_listens_hears_of_every_step_and_of_inner_work_within_the_outer() -> None:
    with heard_by(heard := Heard()), stage("runs", "runs", 1) as runs:
        for letter in each("reading", "letters", "ab"):
            runs.note(letter)
        runs.add()
    assert heard.began_and_ended == [
        ("began", "runs"), ("began", "reading"), ("ended", "reading"), ("ended", "runs")
    ]  # fmt: skip
    assert heard.moves == [("reading", 1, 2), ("reading", 2, 2), ("runs", 1, 1)]
    assert heard.notes == ["a", "b"]


def test_nobody_listens_unless_asked_and_only_within_the_block() -> None:
    heard = Heard()
    assert not progress.is_heard()
    with heard_by(heard):
        assert progress.is_heard()
    assert not progress.is_heard()
    with stage("reading", "files", 2) as seen:
        seen.add()
    assert (seen.done, heard.began_and_ended) == (1, [])


def test_a_stage_ends_where_it_fails() -> None:
    with heard_by(heard := Heard()), pytest.raises(OSError, match="gone"), stage("reading", "files"):
        raise OSError("gone")
    assert heard.began_and_ended[-1] == ("ended", "reading")


def test_what_is_left_follows_from_what_was_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("locomt.progress.time.monotonic", lambda: now)
    with stage("training", "steps") as seen:
        seen.begin(20, done=10)  # which an earlier process did
        assert seen.left is None
        now = 106.0
        seen.at(13)
        assert (seen.spent, seen.left) == (6.0, 14.0)
        now = 108.0
        assert (seen.spent, seen.left) == (8.0, 12.0)
        seen.at(13)  # nothing more is done
        assert seen.left == 12.0
        now = 130.0
        assert seen.left == 0.0
        now = 140.0
        seen.at(20)
        assert seen.left == 0.0
