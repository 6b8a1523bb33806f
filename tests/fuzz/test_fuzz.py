"""Damaged input of every kind: read, or refused by name, whatever it is.

By default the same inputs everywhere, as many as take half a minute; `--fuzz-seconds 3600` searches for an hour, with a
new seed. An input at fault is kept, and the message says by what command it is read again.
"""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.children import MODULES, Server, load_targets
from fuzz.reading import Limits, Outcome, read

TARGETS = {  # inputs where no time is given: half a minute in all
    "media": 75,
    "features": 250,
    "manifests": 150,
    "labels": 150,
    "views": 400,
    "recipes": 40,
    "shards": 50,
    "models": 65,
    "pretrained": 150,
    "tokenizers": 250,
    "predictors": 30,
    "runs": 15,
    "checkpoints": 10,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = request.config.getoption("--fuzz-folder")
    server = Server(Path(folder) if folder else tmp_path_factory.mktemp("fuzz"))
    yield server
    server.close()


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_read_or_refused(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    option = request.config.getoption
    if option("--fuzz-input"):
        shutil.copytree(folder := Path(option("--fuzz-input")), tmp_path / folder.name)
        outcome = read(load_targets(MODULES)[name], tmp_path / folder.name, Limits())
        assert not outcome.is_fault, str(outcome)
        return
    server: Server = request.getfixturevalue("server")
    seconds, seed = option("--fuzz-seconds"), option("--fuzz-seed")
    if seed is None:
        seed = random.randrange(10**6) if seconds else 0
    share, last = (seconds / len(TARGETS), 10**9) if seconds else (60.0, TARGETS[name])
    counts: Counter[str] = Counter()
    faults: dict[str, Outcome] = {}
    for outcome in server.run(name, seed, 0, last, share):
        counts[outcome.kind] += 1
        if outcome.is_fault:
            faults.setdefault(f"{outcome.kind} {outcome.place}", outcome)
    print(f"{name}: seed {seed}, " + ", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    assert not faults, "\n\n".join(_told(name, seed, server, fault) for fault in faults.values())
    assert counts["read"]  # else nothing is tried but what is refused at the door
    assert counts["refused"]


def _told(name: str, seed: int, server: Server, fault: Outcome) -> str:
    kept = next((server.folder / "faults" / f"{name}-{seed}-{fault.number}").iterdir(), server.folder)
    again = f"pytest tests/fuzz/test_fuzz.py -k {name} --fuzz-input {kept}"
    return f"{fault.kind} after {fault.seconds} s, {fault.place}\n{again}\n{fault.detail}"
