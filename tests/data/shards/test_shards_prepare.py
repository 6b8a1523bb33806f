"""Shards: what comes out of them is what comes out of the files, whatever happened while they were made."""

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from heard import Heard
from locomt.data import BadSample, Batch, DataConfig, ManifestDataset, Sample, collate, label_list, read_manifest
from locomt.data.shards.check import check_shards
from locomt.data.shards.index import read_samples
from locomt.data.shards.plan import PrepareError, begun_in
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from locomt.lock import LockError
from locomt.nn.config import ConfigError
from locomt.progress import heard_by
from shard_clips import EXACT, MODALITIES, SAMPLES, contents


def on(shards: Path, config: DataConfig) -> DataConfig:
    return replace(config, manifest=str(shards / "shards.json"))


def assert_same(a: Any, b: Any) -> None:
    """Samples bit by bit; bad samples in all but where their file lies."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, BadSample):
        assert (a.id, a.row, a.reason) == (b.id, b.row, b.reason)
        return
    assert a.id == b.id
    assert torch.equal(a.label, b.label)
    assert len(a.clips) == len(b.clips)
    for one, other in zip(a.clips, b.clips, strict=True):
        assert list(one) == list(other)
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert torch.equal(one[name], other[name]), name


def test_lossless_shards_give_what_the_files_give(config: DataConfig, shards: Path) -> None:
    prepared = on(shards, config)
    assert label_list(replace(prepared, labels=None)) == label_list(replace(config, labels=None))
    kinds = set()
    for split in ("train", "val"):
        files, stored = (ManifestDataset(c, split, ["a", "b"]) for c in (config, prepared))
        assert len(files) == len(stored) > 0
        for n in range(len(files)):
            assert_same(files[n], stored[n])
            kinds.add(type(stored[n]))
    assert kinds == {Sample, BadSample}


def test_one_modality_alone_is_bad_only_where_it_is_bad_itself(config: DataConfig, shards: Path) -> None:
    for name in MODALITIES:
        alone = replace(config, modalities={name: config.modalities[name]})
        files, stored = (ManifestDataset(c, "train", ["a", "b"]) for c in (alone, on(shards, alone)))
        for n in range(len(files)):
            assert_same(files[n], stored[n])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_across_workers_has_every_sample_once_and_the_batches_of_the_files(
    workers: int, config: DataConfig, shards: Path
) -> None:
    order = torch.randperm(len(ManifestDataset(config, "train")), generator=torch.Generator().manual_seed(3)).tolist()
    epochs = []
    for c in (config, on(shards, config)):
        dataset = ManifestDataset(c, "train", ["a", "b"])
        loader: DataLoader[Batch] = DataLoader(
            dataset, batch_size=3, sampler=order, num_workers=workers, collate_fn=lambda s, c=c: collate(s, config=c)
        )
        epochs.append(list(loader))
    for files, stored in zip(*epochs, strict=True):
        assert files.ids == stored.ids
        assert torch.equal(files.labels, stored.labels)
        assert all(torch.equal(files.inputs[name], stored.inputs[name]) for name in MODALITIES if name in files.inputs)
    seen = [name for batch in epochs[1] for name in [*batch.ids, *(bad.id for bad in batch.bad)]]
    assert sorted(seen) == sorted(row.id for row in read_manifest(config.manifest) if row.split == "train")


def test_the_report_names_every_file_that_failed(config: DataConfig, shards: Path) -> None:
    report = json.loads((shards / "report.json").read_text())
    failed = {(entry["row"], entry["modality"]): (entry["file"], entry["reason"]) for entry in report["failed"]}
    for row, modality, file, reason in (
        (2, None, "clips.csv", "every modality of the row is empty"),
        (5, "video", "clips/3.mkv", "truncated"),
        (5, "audio", "clips/3.mkv", "truncated"),
        (7, "audio", "clips/5.mkv", "all-zero audio throughout"),
        (9, "video", "clips/typo.mkv", "there is no such file"),
        (10, "audio", "clips.csv", "leads out of the manifest's folder"),
        (11, None, "clips.csv", "label 'c' is not on the list"),
        (12, "lips", "clips/10.npy", "got NaN in row 1 of 2"),
    ):
        assert failed[row, modality][0] == file
        assert reason in failed[row, modality][1]
    assert {row for row, _ in failed} == {2, 5, 7, 9, 10, 11, 12, 14}
    assert (report["samples"], report["whole"]) == (SAMPLES, SAMPLES - 8)
    assert sum(report["reasons"].values()) == len(failed) - 3  # rows 5, 9 and 10: pictures and sound alike
    assert report["reasons"]["there is no such file"] == 1
    bad = set()
    for split in ("train", "val"):
        dataset = ManifestDataset(config, split, ["a", "b"])
        bad |= {sample.row for sample in (dataset[n] for n in range(len(dataset))) if isinstance(sample, BadSample)}
    assert bad == {row for row, _ in failed}


def test_all_frames_are_stored_where_that_is_asked_for(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "all", replace(EXACT, fps=0))
    source = replace(config.modalities["video"], frames=7)
    wider = replace(config, modalities={"video": source})
    cropped = replace(config, crop=0.2, modalities={name: config.modalities[name] for name in ("video", "audio")})
    for c, places in ((config, ()), (wider, ()), (cropped, (0.0, 0.31, 1.0))):
        files, stored = (ManifestDataset(d, "train", ["a", "b"], clips=1) for d in (c, on(tmp_path / "all", c)))
        for n in range(len(files)):
            assert_same(files[n], stored[n])
            for place in places:
                assert_same(files[n, place], stored[n, place])
    files, stored = (ManifestDataset(d, "val", ["a", "b"], clips=3) for d in (cropped, on(tmp_path / "all", cropped)))
    for n in range(len(files)):
        assert_same(files[n], stored[n])


def test_some_frames_a_second_keep_those_of_the_recipe_and_are_close_to_others(
    config: DataConfig, tmp_path: Path
) -> None:
    video = replace(config, modalities={"video": config.modalities["video"]})
    prepare(video, tmp_path / "some", replace(EXACT, fps=5))
    files, stored = (ManifestDataset(c, "train", ["a", "b"]) for c in (video, on(tmp_path / "some", video)))
    for n in range(len(files)):
        assert_same(files[n], stored[n])
    several = replace(video, modalities={"video": replace(config.modalities["video"], frames=6)})
    stored = ManifestDataset(on(tmp_path / "some", several), "train", ["a", "b"])
    assert any(isinstance(stored[n], Sample) and len(stored[n].inputs["video"]) == 6 for n in range(len(stored)))
    part = stored.shards.part(stored.rows[1], "video")
    assert part.total == 9  # frames at 25 a second: 0.36 s
    assert part.places == sorted({1, 4, 7} | {0, 5})


def test_lossy_shards_are_close(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "lossy")
    files, stored = (ManifestDataset(c, "train", ["a", "b"]) for c in (config, on(tmp_path / "lossy", config)))
    compared = 0
    for n in range(len(files)):
        a, b = files[n], stored[n]
        assert type(a) is type(b)
        if not isinstance(a, Sample) or "video" not in a.inputs:
            continue
        compared += 1
        difference = (a.inputs["video"].float() - b.inputs["video"].float()).abs()
        assert 0 < difference.mean() < 1.5
        assert (a.inputs["audio"] - b.inputs["audio"]).abs().mean() < 0.1
    assert compared >= 3


# It leaves the tars to the garbage collector to be closed.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_webdataset_reader_can_read_them(config: DataConfig, shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, shards.glob("*.tar")))
    found = {}
    for sample in webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode():
        assert sample["__key__"] not in found
        found[sample["__key__"]] = sample
    places = {place.key: row for row, place in read_samples(shards / "shards.json") if place and place.size}
    assert found.keys() == places.keys()
    for key, sample in found.items():
        row = places[key]
        assert (sample["json"]["id"], sample["json"]["label"]) == (row.id, row.label)
        assert sample.get("title.txt", "") == row.cells["title"]
        if "lips.npy" in sample:
            wanted = np.load(Path(config.manifest).parent / row.cells["lips"])[:4]
            assert np.array_equal(sample["lips.npy"], wanted.astype(np.float32))


def test_a_shard_is_a_tar_of_plain_files_that_belong_to_no_one(shards: Path) -> None:
    members = []
    for path in shards.glob("*.tar"):
        with tarfile.open(path) as tar:
            members += tar.getmembers()
    assert len(members) > SAMPLES
    assert all((m.mtime, m.uid, m.gid, m.uname, m.isreg()) == (0, 0, 0, "", True) for m in members)
    assert check_shards(shards / "shards.json") == []


def test_the_same_bytes_whatever_the_number_of_workers(config: DataConfig, shards: Path, tmp_path: Path) -> None:
    begun: list[bool] = []
    with heard_by(heard := Heard()):
        prepare(config, tmp_path / "two", EXACT, workers=2, on_start=lambda: begun.append(not heard.moves))
    assert contents(tmp_path / "two") == contents(shards)
    assert begun == [True]
    assert heard.moves == [("reading", done, SAMPLES) for done in range(SAMPLES + 1)]


@pytest.mark.parametrize(
    ("change", "storage", "message"),
    [
        ({"modalities": {**MODALITIES, "video": {**MODALITIES["video"], "size": 48}}}, EXACT,
         "modalities.video.size was 32 and is now 48"),
        ({"modalities": {"title": MODALITIES["title"]}}, EXACT, "modalities.video"),
        ({}, replace(EXACT, images="jpeg"), "storage.images was 'png' and is now 'jpeg'"),
        ({}, replace(EXACT, seed=1), "storage.seed was 0 and is now 1"),
    ],
)  # fmt: skip
def test_another_recipe_is_refused_with_what_differs(
    change: dict[str, Any], storage: Storage, message: str, config: DataConfig, shards: Path
) -> None:
    before = contents(shards)
    with pytest.raises(PrepareError, match=message):
        prepare(replace(config, **change), shards, storage)
    assert contents(shards) == before


def test_another_manifest_is_refused_with_what_differs(clips: Path, config: DataConfig, tmp_path: Path) -> None:
    manifest = tmp_path / "clips.csv"
    text = (clips / "clips.csv").read_text()
    small = replace(config, manifest=str(manifest), modalities={"title": config.modalities["title"]})
    manifest.write_text(text)
    prepare(small, tmp_path / "out", EXACT)
    manifest.write_text(text.replace("title 4", "title four"))
    with pytest.raises(PrepareError, match=r"row 6, column\.title was 'title 4' and is now 'title four'"):
        prepare(small, tmp_path / "out", EXACT)
    manifest.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(PrepareError, match="the manifest had 14 rows and now has 13"):
        prepare(small, tmp_path / "out", EXACT)


def test_what_is_free_may_change(config: DataConfig, shards: Path) -> None:
    free = replace(config, task="multilabel", max_bad=0.5, train_split="val")
    prepare(free, shards, EXACT)
    audio = replace(config.modalities["audio"], seconds=0.2, mels=48, mean=0.0)
    lips = replace(config.modalities["lips"], max_length=2)
    other = replace(config, modalities={"audio": audio, "lips": lips})
    files, stored = (ManifestDataset(c, "val", ["a", "b"]) for c in (other, on(shards, other)))
    for n in range(len(files)):
        assert_same(files[n], stored[n])


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("video", {"size": 48}, "data.modalities.video.size is 48, but the shards of .* were prepared with 32"),
        ("video", {"frames": 4}, "data.modalities.video.frames is 4.*with --fps any number can be had"),
        ("audio", {"rate": 8000}, "data.modalities.audio.rate is 8000"),
        ("lips", {"max_length": 5}, "data.modalities.lips.max_length is 5, .* prepared with 4"),
        ("lips", {"column": "clip"}, "data.modalities.lips.column is 'clip'"),
    ],
)
def test_shards_that_do_not_hold_what_is_asked_for(
    name: str, fields: dict[str, Any], message: str, config: DataConfig, shards: Path
) -> None:
    changed = {**config.modalities, name: replace(config.modalities[name], **fields)}
    with pytest.raises(ConfigError, match=message):
        ManifestDataset(on(shards, replace(config, modalities=changed)), "train")


def test_shards_without_a_modality_or_without_the_frames_of_crops(config: DataConfig, shards: Path) -> None:
    face = {"face": config.modalities["video"]}
    with pytest.raises(ConfigError, match="holds video, audio, lips, title, and no 'face'"):
        ManifestDataset(on(shards, replace(config, modalities=face)), "train")
    with pytest.raises(ConfigError, match=r"data\.crop takes other frames .*--fps"):
        ManifestDataset(on(shards, replace(config, crop=0.2)), "train")


def test_places_that_cannot_serve(
    clips: Path, config: DataConfig, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(clips)
    with pytest.raises(PrepareError, match="no empty folder and holds no shards that were begun"):
        prepare(config, clips, EXACT)
    assert contents(clips) == before
    with pytest.raises(PrepareError, match="is of shards already"):
        prepare(on(shards, config), tmp_path / "again", EXACT)
    with pytest.raises(ConfigError, match=r"data\.crop .* --fps"):
        prepare(replace(config, crop=0.2), tmp_path / "crop", EXACT)
    monkeypatch.setattr("locomt.lock.PATIENCE", 0.1)
    for out in (shards, tmp_path / "new"):
        with begun_in(out), pytest.raises(LockError, match=f"is in use: process {os.getpid()} on .* writes there"):
            prepare(config, out, EXACT)
    # Nothing was put down that the other would take for its own.
    assert not (tmp_path / "new").exists()


def test_nothing_to_be_read_is_an_error(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id,split,label,clip\n1,train,a,x.mp4\n2,train,b,y.mp4\n")
    video = replace(config, manifest=str(tmp_path / "m.csv"), modalities={"video": config.modalities["video"]})
    with pytest.raises(PrepareError, match=r"nothing of 2 samples could be read; the first: x.mp4: there is no such"):
        prepare(video, tmp_path / "out", EXACT)
