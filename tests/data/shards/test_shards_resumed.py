"""Preparing that was stopped, killed or spoilt goes on to the same bytes; what was begun otherwise is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from locomt.data import DataConfig
from locomt.data.shards.plan import PrepareError
from locomt.data.shards.prepare import prepare
from shard_clips import EXACT, SAMPLES, contents

PROGRAM = """
import os, random, signal, sys, time
from pathlib import Path

from locomt.data import DataConfig
from locomt.data.shards.prepare import prepare
from shard_clips import EXACT, MODALITIES


def attempt(workers):
    config = DataConfig(manifest=sys.argv[1], modalities=MODALITIES, labels=["a", "b"])
    prepare(config, Path(sys.argv[2]), EXACT, workers=workers)


if __name__ == "__main__" and sys.argv[3] == "workers":
    attempt(2)
elif __name__ == "__main__":
    # Processes that have all imported already are killed, each a little later, until one of them gets to the end.
    rng, killed = random.Random(0), 0
    while True:
        child = os.fork()
        if not child:
            attempt(0)
            os._exit(0)
        time.sleep(rng.uniform(0, 0.02 * 1.1**killed))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            assert status == 0
            break
        killed += 1
    print(killed)
"""


@pytest.fixture
def command(config: DataConfig, tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join(sys.path)

    def start(how: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, str(tmp_path / "program.py"), config.manifest, str(tmp_path / "killed"), how]
        return subprocess.Popen(
            arguments,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    return start


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")
def test_killed_again_and_again_it_ends_in_the_same_bytes(
    command: Callable[[str], subprocess.Popen[str]], shards: Path, tmp_path: Path
) -> None:
    with command("alone") as process:
        killed, _ = process.communicate(timeout=120)
    assert int(killed) >= 3
    assert contents(tmp_path / "killed") == contents(shards)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no SIGKILL")
def test_killed_amid_its_workers_it_leaves_none_behind_and_goes_on(
    command: Callable[[str], subprocess.Popen[str]], config: DataConfig, shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    with command("workers") as process:
        while process.poll() is None and not list(out.glob(".*.tmp")):
            time.sleep(0.001)
        process.kill()
        process.communicate(timeout=60)  # all its processes hold the other end of the pipe, until they are gone
    assert not (out / "shards.json").exists()
    assert len(list((out / "journal").glob("*-*.json"))) < len(list(shards.glob("*.tar")))
    prepare(config, out, EXACT)
    assert contents(out) == contents(shards)


def write_until(stop: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets `os.replace` work so many times, then fail as if the process had died."""
    original, done = os.replace, 0

    def replace_file(source: Any, target: Any) -> None:
        nonlocal done
        done += 1
        if done > stop:
            raise KeyboardInterrupt
        original(source, target)

    monkeypatch.setattr(os, "replace", replace_file)
    return original


def test_stopped_before_any_file_comes_to_its_place(
    config: DataConfig, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, renames = tmp_path / "stopped", len(contents(shards))
    small = replace(config, modalities={"title": config.modalities["title"]})
    prepare(small, tmp_path / "whole", EXACT)
    for _ in range(renames + 1):
        with monkeypatch.context() as patch:
            write_until(1, patch)
            try:
                prepare(small, out, EXACT)
            except KeyboardInterrupt:
                assert not (out / "shards.json").exists()
    prepare(small, out, EXACT)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_is_finished_is_not_done_again_and_what_was_mended_is_on_request(
    clips: Path, config: DataConfig, shards: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "clips", tmp_path / "shards"
    shutil.copytree(clips, root)
    here = replace(config, manifest=str(root / "clips.csv"))
    shutil.copytree(shards, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    prepare(here, out, EXACT)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.tar")} == before
    shutil.copy(root / "clips" / "4.mkv", root / "clips" / "typo.mkv")
    report = prepare(here, out, EXACT, retry=True)
    assert 9 not in {entry["row"] for entry in report["failed"]}
    fresh = prepare(here, tmp_path / "fresh", EXACT)
    assert fresh == report
    assert contents(out) == contents(tmp_path / "fresh")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: "{",
        lambda note: "[" * 100_000,
        lambda note: "[1]",
        lambda note: json.dumps({**note, "sha256": None}),
        lambda note: json.dumps({**note, "places": {}}),
        lambda note: json.dumps({**note, "places": {key: {} for key in note["places"]}}),
        lambda note: json.dumps({**note, "places": dict.fromkeys(note["places"], 3)}),
        lambda note: re.sub('"failed": {}', '"failed": {"other": {"file": "x", "reason": "y"}}', json.dumps(note)),
    ],
)
def test_a_shard_whose_note_is_not_what_was_written_is_written_again(
    spoil: Callable[[dict[str, Any]], str], config: DataConfig, shards: Path, tmp_path: Path
) -> None:
    shutil.copytree(shards, out := tmp_path / "shards")
    note = next((out / "journal").glob("train-*.json"))
    note.write_text(spoil(json.loads(note.read_text(encoding="utf-8"))), encoding="utf-8")
    prepare(config, out, EXACT)
    assert contents(out) == contents(shards)
    assert note.read_text(encoding="utf-8") == (shards / "journal" / note.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["plan.json", "rows.jsonl"])
@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b"null\n" * SAMPLES, b'{"cells": 3}\n' * SAMPLES]
)
def test_a_damaged_plan_is_named(name: str, content: bytes, config: DataConfig, shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, out := tmp_path / "shards")
    (out / "journal" / name).write_bytes(content)
    with pytest.raises(PrepareError, match=re.escape(name) if name == "rows.jsonl" else "plan.json|was begun with"):
        prepare(config, out, EXACT)


def test_a_shard_that_was_cut_or_removed_is_written_again(config: DataConfig, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    shutil.copytree(shards, out)
    tars = sorted(out.glob("*.tar"))
    tars[0].unlink()
    tars[1].write_bytes(tars[1].read_bytes()[:-100])
    prepare(config, out, EXACT)
    assert contents(out) == contents(shards)
