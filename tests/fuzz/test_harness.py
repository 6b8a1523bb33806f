"""The harness finds each kind of fault, puts it down to the right input, and makes the same inputs again."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from fuzz.children import Server
from fuzz.faulty import FAULTS, TARGETS
from fuzz.formats import FORMATS, UNFIT, Case, damage_case, damage_file, read_case, write_case
from fuzz.media import make_features, make_media
from fuzz.mutate import alter, damage, damage_text
from fuzz.reading import Limits

LIMITS = Limits(seconds=2.0, bytes=2**28)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("harness"), ["fuzz.faulty"], LIMITS)
    yield server
    server.close()


@pytest.mark.parametrize("name", [reader.__name__ for reader in FAULTS])
def test_each_kind_of_fault_is_found_and_the_input_kept(name: str, server: Server) -> None:
    outcomes = list(server.run(name, 0, 5, 7, 60))
    wanted = next(kind for reader, kind in FAULTS.items() if reader.__name__ == name)
    assert [(outcome.number, outcome.kind) for outcome in outcomes] == [(5, wanted), (6, wanted)]
    if wanted in ("traceback", "crash", "hang") and name != "end_itself":
        assert name in outcomes[0].detail  # where it stood
    kept = server.folder / "faults" / f"{name}-0-5"
    seeds = read_case(server.folder / name / "seeds")
    assert read_case(kept) == {f"a/{k}": v for k, v in _input(seeds, name, 5).items()}


def _input(seeds: Case, name: str, number: int) -> Case:
    """What an input of a target holds, made here."""
    rng = Random(f"{name} 0 {number}")
    case = {path.partition("/")[2]: content for path, content in seeds.items()}
    rng.choice(["a"])
    return next(target for target in TARGETS if target.name == name).damaged(rng, case)


def test_what_reads_as_it_should_has_no_fault(server: Server) -> None:
    outcomes = list(server.run("read_whole", 0, 0, 300, 60))
    counts = Counter(outcome.kind for outcome in outcomes)
    assert [outcome.number for outcome in outcomes] == list(range(300))
    assert set(counts) == {"read", "refused"}
    assert min(counts.values()) > 50


def test_time_ends_it(server: Server) -> None:
    assert len(list(server.run("read_whole", 0, 0, 10**9, 0.2))) < 10**6


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("files")
    make_media(folder)
    make_features(folder)
    (folder / "x.json").write_text(json.dumps({"a": [1, {"b": "c"}], "d": None}))
    (folder / "x.csv").write_text("id,label\n1,a\n2,b\n")
    (folder / "x.yaml").write_text("a: {b: 1}\nc: [d, e]\n")
    return read_case(folder)


def test_every_kind_of_damage_does_something_and_the_same_for_a_seed(files: Case) -> None:
    different: Counter[object] = Counter()
    for name, content in files.items():
        assert content is not None
        for way in (*FORMATS.get(Path(name).suffix, ()), damage):
            for seed in range(8):
                with suppress(*UNFIT, UserWarning):
                    different[way] += way(Random(seed), content) != content
        again = [[damage_file(Random(n), name, content) for n in range(3)] for _ in range(2)]
        assert again[0] == again[1]
    for suffix in {Path(name).suffix for name in files}:
        assert all(different[way] >= 4 for way in FORMATS.get(suffix, ())), suffix


def test_damage_of_texts_values_and_folders(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, "text", None, True], "b": {"c": {}}}
    before = json.dumps(value)
    others = {repr(alter(Random(n), value)) for n in range(200)}
    assert len(others) > 100
    assert json.dumps(value) == before
    assert len({damage_text(Random(n), b"self:6 a~b:6\n", ("multi",)) for n in range(100)}) > 80
    case = {"a/x.json": b"{}", "y.bin": b"abc"}
    for n in range(50):
        damaged = damage_case(Random(n), case, whole=(".bin",))
        assert damaged["y.bin"] == b"abc"
        write_case(damaged, tmp_path / str(n))
    assert case == {"a/x.json": b"{}", "y.bin": b"abc"}
