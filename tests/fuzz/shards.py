"""Shards: the index, the samples, the tars with right checksums and wrong content, the notes of what is done."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from feature_project import write_manifest
from fuzz.archives import build_tar, parse_tar
from fuzz.formats import UNFIT, Case, damage_file
from fuzz.target import Target, check_items, command, one_in
from locomt.data import DataConfig, ManifestDataset
from locomt.data.shards.check import check_shards
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from media_clips import add_audio, add_video, pictures, tone, write_clip

STORED: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 1.0, "rate": 8000, "mels": 16},
    "motion": {"kind": "features", "column": "motion", "dim": 6, "max_length": 4},
    "title": {"kind": "text", "column": "title", "max_length": 8},
}
CROPPED = {"crop": 0.3, "clips": 2}


def make_shards(folder: Path) -> None:
    """Two ways to store four samples, beside the files that they were made from."""
    for name, storage in {
        "jpeg": Storage(samples=2),
        "png": Storage(images="png", sound="npy", fps=0, samples=2),
    }.items():
        raw = folder / name / "raw"
        raw.mkdir(parents=True)
        write_clip(
            raw / "c.mkv",
            lambda output: add_video(output, pictures(6, 24, 32), rate=10),
            lambda output: add_audio(output, tone(0.6, 8000)[None], 8000, "pcm_s16le"),
        )
        np.save(raw / "m.npy", np.ones((3, 6), np.float32))
        rows = [
            {
                "id": f"r{n}",
                "split": split,
                "label": "ab"[n % 2],
                "clip": "c.mkv",
                "motion": "m.npy" if n else "",
                "title": "go",
            }
            for n, split in enumerate(("train", "train", "val", "test"))
        ]
        write_manifest(raw, [*rows, {**rows[0], "id": "broken", "clip": "missing.mkv"}])
        prepare(shards_config(raw / "clips.csv"), folder / name / "shards", storage)


def shards_config(manifest: Path, **changes: Any) -> DataConfig:
    return DataConfig(manifest=str(manifest), modalities=STORED, labels=("a", "b"), **changes)


def mend_shards(rng: Random, case: Case) -> Case:
    """Damage within a tar's members, then sizes and checksums that fit, as whoever tampers with them would have it."""
    try:
        if rng.random() < 0.6:
            name = rng.choice([name for name in case if name.endswith(".tar")])
            case[name] = _damage_member(rng, case[name] or b"")
        _vouch(case)
    except UNFIT:
        pass
    return case


def _damage_member(rng: Random, tar: bytes) -> bytes:
    members = parse_tar(tar)
    n = rng.randrange(len(members))
    name = members[n].tag.decode()
    members[n].body = damage_file(rng, name, members[n].body)
    key, _, end = name.partition(".")
    if end != "json":
        modality, _, end = end.partition(".")
        index = [member.tag.decode() for member in members].index(f"{key}.json")
        document = json.loads(members[index].body)
        part = document["parts"][modality]
        new = [end, len(members[n].body), zlib.crc32(members[n].body)]
        part["members"] = [new if entry[0] == end else entry for entry in part["members"]]
        members[index].body = json.dumps(document).encode()
    return build_tar(members)


def _vouch(case: Case) -> None:
    index, samples = "shards/shards.json", "shards/samples.jsonl"
    lines = [json.loads(line) for line in (case[samples] or b"").splitlines()]
    for name, content in case.items():
        if not name.endswith(".tar") or content is None:
            continue
        offset = 0
        for member in parse_tar(content):
            key, _, end = member.tag.decode().partition(".")
            for line in lines:
                place = line["place"]
                if end == "json" and place and place["key"] == key:
                    place |= {"offset": offset, "size": len(member.body), "crc32": zlib.crc32(member.body)}
            offset += 512 + -(-len(member.body) // 512) * 512
    case[samples] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    document = json.loads(case[index] or b"")
    document["sha256"] = hashlib.sha256(case[samples] or b"").hexdigest()
    for name, entry in document["shards"].items():
        if content := case.get(f"shards/{name}"):
            entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    case[index] = json.dumps(document).encode()


def read_shards(folder: Path) -> None:
    """Every sample, whole and in crops; the check; and, where they are gone on with, the notes."""
    index = folder / "shards" / "shards.json"
    refusals = []
    for changes in ({}, CROPPED) if folder.name == "png" else ({},):
        config = shards_config(index, **changes)
        try:
            for split in ("train", "val", "test"):
                dataset = ManifestDataset(config, split, config.labels or (), clips=config.clips)
                check_items(dataset, range(len(dataset)), config)
            check_shards(index)
        except (ValueError, OSError) as error:
            refusals.append(error)
    if one_in(5, folder):
        command("prepare", index, "--check")
    if one_in(5, folder):
        storage = Storage(images="png", sound="npy", fps=0, samples=2) if folder.name == "png" else Storage(samples=2)
        prepare(shards_config(folder / "raw" / "clips.csv"), folder / "shards", storage)
    if refusals:
        raise refusals[0]


TARGETS = [
    Target("shards", make_shards, read_shards, whole=(".mkv", ".npy", "clips.csv"), mend=mend_shards),
]
