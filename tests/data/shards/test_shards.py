"""Shards that someone has damaged, or made to harm: refused by name, and never followed."""

import hashlib
import io
import json
import pickle
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locomt.data import BadSample, DataConfig, ManifestDataset, Sample
from locomt.data.errors import ShardError
from locomt.data.shards.check import check_shards
from locomt.data.shards.prepare import prepare

SECRET = "do not read this"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    rows = ["id,split,label,lips"]
    for n in range(4):
        np.save(root / f"{n}.npy", np.full((3, 3), n))
        rows.append(f"{n},train,{'ab'[n % 2]},{n}.npy")
    (root / "m.csv").write_text("\n".join(rows) + "\n")
    prepare(config_of(root / "m.csv"), root / "shards")
    return root / "shards"


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "shards")
    (tmp_path / "secret").write_text(SECRET)
    return tmp_path / "shards"


def config_of(manifest: Path) -> DataConfig:
    lips = {"kind": "features", "column": "lips", "dim": 3, "max_length": 4}
    return DataConfig(manifest=str(manifest), modalities={"lips": lips})


def read_all(shards: Path) -> list[Sample | BadSample]:
    dataset = pickle.loads(pickle.dumps(ManifestDataset(config_of(shards / "shards.json"), "train", ["a", "b"])))
    return [dataset[n] for n in range(len(dataset))]


def vouch(shards: Path) -> None:
    """Make `shards.json` say that all files are as they should be, as whoever tampers with them would."""
    index = json.loads((shards / "shards.json").read_text())
    index["sha256"] = hashlib.sha256((shards / "samples.jsonl").read_bytes()).hexdigest()
    for name, shard in index["shards"].items():
        content = (shards / name).read_bytes()
        shard |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (shards / "shards.json").write_text(json.dumps(index))


def rewrite(shards: Path, change: Callable[[tarfile.TarInfo], tarfile.TarInfo]) -> None:
    """Another tar in which the members may be others, of the same sizes at the same places."""
    (tar,) = shards.glob("*.tar")
    with tarfile.open(tar) as source:
        members = [(info, source.extractfile(info).read()) for info in source.getmembers()]
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as target:
        for info, content in members:
            target.addfile(changed := change(info), io.BytesIO(content) if changed.isreg() else None)
    vouch(shards)


def become(kind: bytes, link: str = "") -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def change(info: tarfile.TarInfo) -> tarfile.TarInfo:
        return info.replace(deep=True) if "-1." not in info.name else _typed(info, kind, link)

    return change


def _typed(info: tarfile.TarInfo, kind: bytes, link: str) -> tarfile.TarInfo:
    info.type, info.linkname = kind, link
    return info


def renamed(name: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def change(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if "-1." in info.name:
            info.name = name
        return info

    return change


def test_shards_as_they_were_written(shards: Path) -> None:
    assert all(isinstance(sample, Sample) for sample in read_all(shards))
    assert check_shards(shards / "shards.json") == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (become(tarfile.SYMTYPE, "../secret"), "refused: member '000000001-1.* is a link, to '../secret'"),
        (become(tarfile.SYMTYPE, "/etc/passwd"), "is a link, to '/etc/passwd'"),
        (become(tarfile.LNKTYPE, "../secret"), "is a link, to '../secret'"),
        (become(tarfile.FIFOTYPE), "refused: member '000000001-1.* is no file"),
        (become(tarfile.CHRTYPE), "is no file"),
        (become(tarfile.DIRTYPE), "is no file"),
        (renamed("../../evil.json"), "the name of member '../../evil.json' leads out of the tar's folder"),
        (renamed("/etc/cron.d/evil"), "the name of member '/etc/cron.d/evil' leads out"),
        (renamed("a/../../evil"), "the name of member 'a/../../evil' leads out"),
        (renamed("C:\\evil"), "leads out"),
        (renamed("..\\evil"), "leads out"),
    ],
)
def test_links_and_escaping_names_are_refused_by_name(
    change: Callable[[tarfile.TarInfo], tarfile.TarInfo], reason: str, shards: Path
) -> None:
    rewrite(shards, change)
    bad = [sample for sample in read_all(shards) if isinstance(sample, BadSample)]
    assert "1" in {sample.id for sample in bad}
    first = next(sample for sample in bad if sample.id == "1")
    assert first.file.endswith(".tar")
    assert_match(reason, first.reason)
    assert SECRET not in first.reason
    faults = check_shards(shards / "shards.json")
    assert any(_matches(reason, fault) for fault in faults)
    assert not (shards.parent / "evil.json").exists()


def test_a_member_of_a_size_beyond_all_bounds_is_named(shards: Path) -> None:
    (tar,) = shards.glob("*.tar")
    info = tarfile.TarInfo("000000009-9.json")
    info.size = 2**60
    with tar.open("r+b") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
    vouch(shards)
    assert any(fault.startswith(f"{tar}: not a whole tar: ") for fault in check_shards(shards / "shards.json"))


def _matches(pattern: str, text: str) -> bool:
    escaped = ".*".join(re.escape(part) for part in pattern.split(".*"))
    return re.search(escaped, text) is not None


def assert_match(pattern: str, text: str) -> None:
    assert _matches(pattern, text), (pattern, text)


def test_a_sample_that_was_swapped_for_another(shards: Path) -> None:
    def swap(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.name = info.name.translate(str.maketrans("12", "21"))
        return info

    rewrite(shards, swap)
    bad = {sample.id: sample.reason for sample in read_all(shards) if isinstance(sample, BadSample)}
    assert {"1", "2"} <= bad.keys()
    assert "expected the file '000000001-1.json'" in bad["1"]


def test_a_flipped_bit_is_a_bad_sample_and_found_by_the_check(shards: Path) -> None:
    (tar,) = shards.glob("*.tar")
    content = bytearray(tar.read_bytes())
    with tarfile.open(tar) as archive:
        member = archive.getmember("000000002-2.lips.npy")
    content[member.offset_data + member.size - 1] ^= 1
    tar.write_bytes(content)
    bad = [sample for sample in read_all(shards) if isinstance(sample, BadSample)]
    assert [(sample.id, sample.file) for sample in bad] == [("2", str(tar))]
    assert "damaged: the content of '000000002-2.lips.npy' is not what was written" in bad[0].reason
    assert any("another SHA-256" in fault for fault in check_shards(shards / "shards.json"))


def change_samples(shards: Path, **fields: Any) -> None:
    lines = [json.loads(line) for line in (shards / "samples.jsonl").read_text().splitlines()]
    lines[0]["place"] |= fields
    (shards / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vouch(shards)


@pytest.mark.parametrize(
    "fields",
    [
        {"shard": "../secret"},
        {"shard": "/etc/passwd"},
        {"offset": -1},
        {"offset": 10**15},
        {"size": 10**12},
        {"shard": ["train-000000.tar"]},
        {"offset": "0"},
        {"size": None},
        {"failed": 3},
        {"more": 1},
    ],
)
def test_an_index_that_leads_elsewhere_stops_at_once(fields: dict[str, Any], shards: Path) -> None:
    change_samples(shards, **fields)
    with pytest.raises(ShardError, match=r"samples\.jsonl: line 1: not what `locomt prepare` writes"):
        read_all(shards)


@pytest.mark.parametrize("fields", [{"offset": 512}, {"size": 1}, {"crc32": 1}, {"key": "../x"}])
def test_an_index_that_leads_to_nothing_makes_a_bad_sample(fields: dict[str, Any], shards: Path) -> None:
    change_samples(shards, **fields)
    samples = read_all(shards)
    assert isinstance(samples[0], BadSample)
    assert samples[0].file.endswith(".tar")
    assert all(isinstance(sample, Sample) for sample in samples[1:])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda index: {**index, "version": 2}, "expected shards of version 1, got 2"),
        (lambda index: {**index, "shards": {"../x.tar": {}}}, "expected tars beside it, .*, got '../x.tar'"),
        (lambda index: {**index, "shards": {"x.tar": {}}}, "not what `locomt prepare` writes"),
        (lambda index: {"version": 1}, "not what `locomt prepare` writes"),
        (lambda index: [1], "not what `locomt prepare` writes"),
        (lambda index: {**index, "modalities": {"lips": 1}}, "not what `locomt prepare` writes"),
    ],
)
def test_an_index_that_is_none(spoil: Callable[[Any], Any], message: str, shards: Path) -> None:
    index = json.loads((shards / "shards.json").read_text())
    (shards / "shards.json").write_text(json.dumps(spoil(index)))
    with pytest.raises(ShardError, match=message):
        read_all(shards)


def test_shards_that_are_not_whole(shards: Path) -> None:
    (tar,) = shards.glob("*.tar")
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-1])
    with pytest.raises(ShardError, match=r"\.tar: expected \d+ bytes as in shards.json, got \d+"):
        read_all(shards)
    tar.unlink()
    with pytest.raises(ShardError, match=r"\.tar: there is no such file, but shards.json lists it"):
        read_all(shards)
    assert any("there is no such file" in fault for fault in check_shards(shards / "shards.json"))
    tar.write_bytes(whole)
    (shards / "stray.tar").write_bytes(whole)
    assert check_shards(shards / "shards.json") == [f"{shards / 'stray.tar'}: not listed in shards.json"]
    with (shards / "samples.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ShardError, match=r"changed since shards\.json was written"):
        read_all(shards)


FAR = {"parts": {"lips": {"offset": 10**15, "members": [["npy", 5, 0]]}}}


def describe(shards: Path, change: Callable[[Any], Any]) -> None:
    """Let every sample say something else of itself, and the index vouch for it."""
    (tar,) = shards.glob("*.tar")
    with tarfile.open(tar) as source:
        members = [(info, source.extractfile(info).read()) for info in source.getmembers()]
    places = {}
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as target:
        for info, content in members:
            if info.name.endswith(".json"):
                content = json.dumps(change(json.loads(content))).encode()
                places[info.name] = {"offset": target.offset, "size": len(content), "crc32": zlib.crc32(content)}
            target.addfile(replace_size(info, len(content)), io.BytesIO(content))
    lines = [json.loads(line) for line in (shards / "samples.jsonl").read_text().splitlines()]
    for line in lines:
        line["place"] |= places[f"{line['place']['key']}.json"]
    (shards / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vouch(shards)


@pytest.mark.parametrize(
    "lie",
    [{"parts": {}}, {"parts": {"lips": {"offset": 0, "members": [["npy", -5, 0]]}}}, FAR, {"parts": 3}, [[]], None],
)
def test_a_sample_whose_own_description_lies(lie: Any, shards: Path) -> None:
    describe(shards, lambda _: lie)
    assert all(isinstance(sample, BadSample) and ".tar" in sample.file for sample in read_all(shards))


def replace_size(info: tarfile.TarInfo, size: int) -> tarfile.TarInfo:
    changed = tarfile.TarInfo(info.name)
    changed.size = size
    return changed


def test_rows_keep_the_numbers_that_they_had(shards: Path) -> None:
    config = replace(config_of(shards / "shards.json"), labels=("a",))
    dataset = ManifestDataset(config, "train", ["a"])
    assert [s.row for s in (dataset[n] for n in range(4)) if isinstance(s, BadSample)] == [3, 5]


def rewritten(shards: Path, write: Callable[[tarfile.TarFile, tarfile.TarInfo, bytes], None]) -> list[str]:
    """What the check says of a tar that is written anew, and vouched for."""
    (tar,) = shards.glob("*.tar")
    with tarfile.open(tar) as source:
        members = [(info, source.extractfile(info).read()) for info in source.getmembers()]
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as target:
        for info, content in members:
            write(target, replace_size(info, info.size), content)
    vouch(shards)
    return check_shards(shards / "shards.json")


def test_members_that_come_twice_or_under_another_name(shards: Path) -> None:
    def twice(target: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
        for _ in range(1 + info.name.endswith(".npy")):
            target.addfile(info, io.BytesIO(content))

    def elsewhere(target: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
        info.pax_headers = {"path": "../../evil"}
        target.addfile(info, io.BytesIO(content))

    assert sorted(fault.partition(": ")[2] for fault in rewritten(shards, twice)) == [
        f"member '{n:09d}-{n}.lips.npy' is there twice" for n in (0, 1, 2, 3)
    ]
    assert any("the name of member '../../evil' leads out" in fault for fault in rewritten(shards, elsewhere))
    assert all(isinstance(sample, BadSample) for sample in read_all(shards))  # a long header is no sample's part


@pytest.mark.parametrize("size", [10**9, 8**11 - 1])
def test_a_member_that_says_it_is_longer_than_its_tar(size: int, shards: Path) -> None:
    (tar,) = shards.glob("*.tar")
    content = bytearray(tar.read_bytes())
    with tarfile.open(tar) as archive:
        info = archive.getmember("000000002-2.lips.npy")
    longer = replace_size(info, size)
    content[info.offset : info.offset + 512] = longer.tobuf(tarfile.USTAR_FORMAT)
    tar.write_bytes(content)
    vouch(shards)
    bad = [sample for sample in read_all(shards) if isinstance(sample, BadSample)]
    assert [sample.id for sample in bad] == ["2"]
    assert f"got '000000002-2.lips.npy' of {size}" in bad[0].reason
    assert check_shards(shards / "shards.json")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_tar_that_ends_early_and_is_vouched_for(share: float, shards: Path) -> None:
    (tar,) = shards.glob("*.tar")
    tar.write_bytes(tar.read_bytes()[: int(tar.stat().st_size * share)])
    vouch(shards)
    with pytest.raises(ShardError, match="lies beyond the end of"):
        read_all(shards)
    assert check_shards(shards / "shards.json")
