"""Every kind of damaged, odd or hostile media file, on every way in: it works, or it is refused by name."""

import csv
import io
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from bad_files import BYTES, CHANNELS, HOUR, KINDS, RATE, Kind, clip, hour_of_pictures, hour_of_sound, write_reference
from locomt.cli.output import print_json, print_table
from locomt.data import (
    AudioSource,
    BadSample,
    DataConfig,
    FileDataset,
    ManifestDataset,
    MediaError,
    Sample,
    probe,
    read_audio,
    read_frames,
)
from locomt.data.media import container as media
from locomt.data.media import frames as video
from locomt.data.media.frame_times import spread
from locomt.data.shards.prepare import prepare
from locomt.train.bad import BadSampleLog
from media_clips import decode_all, pictures, write_video

MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 0.5, "rate": RATE, "mels": 16},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds, and a manifest of them in their order."""
    folder = tmp_path_factory.mktemp("bad")
    for kind in KINDS:
        kind.make(folder / kind.name)
    write_manifest(folder / "m.csv", [kind.name for kind in KINDS])
    return folder


def write_manifest(path: Path, cells: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "clip"])
        writer.writerows([str(n), "train", "a", cell] for n, cell in enumerate(cells))


def config_of(manifest: Path, modality: str, **changes: Any) -> DataConfig:
    modalities = {modality: MODALITIES[modality]}
    return DataConfig(**{"manifest": str(manifest), "modalities": modalities, "max_bad": 1.0, **changes})


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_works_or_is_refused_by_name(kind: Kind, modality: str, folder: Path) -> None:
    row = KINDS.index(kind)
    dataset = ManifestDataset(config_of(folder / "m.csv", modality), "train", ["a"])
    check(dataset[row], kind, modality, folder, row=row + 2)
    check(FileDataset(config_of(folder / "m.csv", modality), [folder / kind.name])[0], kind, modality, folder, row=1)


def check(sample: Sample | BadSample, kind: Kind, modality: str, folder: Path, row: int) -> None:
    refusal = getattr(kind, modality)
    if refusal:
        assert isinstance(sample, BadSample)
        assert re.search(refusal, sample.reason)
        assert (sample.file, sample.row) == (str(folder / kind.name), row) or row == 1
    else:
        assert isinstance(sample, Sample), sample
        assert sample.inputs[modality].isfinite().all()
        assert len(sample.inputs[modality]) >= 1


def test_shards_say_the_same_of_each(folder: Path, tmp_path: Path) -> None:
    for modality in MODALITIES:
        config = config_of(folder / "m.csv", modality)
        report = prepare(config, tmp_path / modality)
        # Whether its spectrogram is finite shows only when it is made, which is when shards are read.
        kinds = [kind for kind in KINDS if getattr(kind, modality)]
        late = {"loud.wav"} & {kind.name for kind in kinds}
        assert {failure["file"] for failure in report["failed"]} | late == {kind.name for kind in kinds}
        stored = ManifestDataset(config_of(tmp_path / modality / "shards.json", modality), "train", ["a"])
        raw = ManifestDataset(config, "train", ["a"])
        for row, kind in enumerate(KINDS):
            one, other = raw[row], stored[row]
            assert type(one) is type(other)
            if isinstance(one, BadSample) and isinstance(other, BadSample) and kind.name not in late:
                assert one.reason == other.reason


def test_frames_of_an_hour_are_not_all_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hour_of_pictures(path := tmp_path / "hour.mp4")
    every, seen, decode = decode_all(path), [], video._decode
    monkeypatch.setattr(video, "_decode", lambda *args: (seen.append(frame.pts) or frame for frame in decode(*args)))
    frames = read_frames(path, 4)
    assert probe(path).seconds == pytest.approx(HOUR, rel=0.01)
    assert len(every) == 360
    assert np.array_equal(frames.numpy(), np.stack([every[place] for place in spread(360, 4)]))
    assert 4 <= len(seen) <= 4 * 16  # groups of 10, and what a decoder holds back


def test_the_middle_of_an_hour_of_sound(tmp_path: Path) -> None:
    hour_of_sound(path := tmp_path / "hour.wav")
    heard = AudioSource(column="c", seconds=1, rate=RATE, mels=16, mean=0, std=1).load(path)
    around = AudioSource(column="c", seconds=3, rate=RATE, mels=16, mean=0, std=1).load(path)
    assert len(heard) == 100
    assert heard.amax(dim=1)[5:-5].min() > around.amax(dim=1)[:90].max() + 5
    assert heard.amax(dim=1)[5:-5].min() > around.amax(dim=1)[-90:].max() + 5


def test_uneven_times_choose_frames_by_their_order_and_rotation_turns_them(folder: Path) -> None:
    for name in ("uneven.mkv", "rotated.mp4"):
        every = decode_all(folder / name)
        assert np.array_equal(read_frames(folder / name, 25).numpy(), np.stack(every))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
def test_ten_bits_look_as_eight(codec: str, tmp_path: Path) -> None:
    images = pictures(3, 64, 64)
    ten, eight = (
        read_frames(write_video(tmp_path / f"{form}.mkv", images, codec, pixels=form), 3, size=16).float()
        for form in ("yuv420p10le", "yuv420p")
    )
    assert (ten - eight).abs().mean() < 4


def test_many_channels_are_averaged(folder: Path) -> None:
    assert np.abs(read_audio(folder / "many_planes.wv", 48000).numpy() - CHANNELS.mean(axis=0)).max() < 1e-4
    wanted = BYTES.reshape(-1, 64).mean(axis=1) / 128 - 1
    assert np.abs(read_audio(folder / "many_channels.wav", 16000).numpy() - wanted).max() < 1e-4


ADDRESSES = [
    "http://127.0.0.1:{port}/a.mp4",
    "tcp://127.0.0.1:{port}",
    "hls+http://127.0.0.1:{port}/a.m3u8",
    "concat:good.mp4|good.mp4",
    "concatf:list.txt",
    "file:good.mp4",
    "subfile,,start,0,end,99,,:good.mp4",
    "cache:good.mp4",
    "crypto:good.mp4",
    "data:video/mp4;base64,AAAA",
    "pipe:0",
    "fd:0",
    "async:good.mp4",
    "tee:a|b",
    "lavfi:testsrc",
    "/dev/video0",
    "-",
]


@pytest.mark.parametrize("outside", [False, True])
def test_cells_are_names_of_files_and_nothing_else(
    outside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path / "good.mp4")
    monkeypatch.setattr(media.av, "open", lambda *_, **__: pytest.fail("something was opened"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        write_manifest(tmp_path / "m.csv", [address.format(port=port) for address in ADDRESSES])
        dataset = ManifestDataset(config_of(tmp_path / "m.csv", "video", allow_outside=outside), "train", ["a"])
        for row, address in enumerate(ADDRESSES):
            for sample in (dataset[row], FileDataset(dataset.config, [address.format(port=port)])[0]):
                assert isinstance(sample, BadSample)
                assert re.search("there is no such file|leads out of the manifest's folder", sample.reason)
        assert_no_one_called(server)


def assert_no_one_called(server: socket.socket) -> None:
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
    "hls with a key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF:9,\n'
    "other.mp4\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{address}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1"><BaseURL>{address}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{address}\n"
    "m=video 5004 RTP/AVP 96\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">{address}'
    "</CompositionPlaylist>",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9">'
    '<image xlink:href="{address}"/></svg>',
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".mpd", ".sdp", ".xml", ".ffconcat", ".svg", ".ts"])
@pytest.mark.parametrize("kind", LISTS)
def test_no_list_is_followed_whatever_it_is_called(kind: str, suffix: str, tmp_path: Path) -> None:
    clip(tmp_path / "other.mp4")
    path = tmp_path / f"list{suffix}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in (f"http://127.0.0.1:{server.getsockname()[1]}/a.ts", "other.mp4", str(tmp_path / "other.mp4")):
            path.write_text(LISTS[kind].format(address=address))
            for read in (probe, lambda path: read_frames(path, 1), lambda path: read_audio(path, 8000)):
                with pytest.raises(MediaError, match="no media file of a known format"):
                    read(path)
        assert_no_one_called(server)


def test_a_track_that_lies_in_another_file_is_not_read_from_there(tmp_path: Path) -> None:
    write_reference(tmp_path / "reference.mov", tmp_path / "secret.mov")
    with av.open(str(tmp_path / "reference.mov"), container_options={"enable_drefs": "1"}) as container:
        assert len(list(container.decode(video=0))) == 3  # FFmpeg would follow it if it were asked to
    with pytest.raises(MediaError, match="the video stream holds no frames"):
        read_frames(tmp_path / "reference.mov", 1)


NAMES = ["a\0.mp4", "\0", "\ud800.mp4", "x" * 5000, "a/" * 3000]


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("name", NAMES, ids=["NUL inside", "NUL", "half a pair", "long", "deep"])
def test_names_that_no_file_can_have_make_a_bad_sample(name: str, outside: bool, tmp_path: Path) -> None:
    rows = [{"id": str(n), "split": "train", "label": "a", "clip": cell} for n, cell in enumerate((name, "good.mkv"))]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_video(tmp_path / "good.mkv", pictures(2))
    dataset = ManifestDataset(config_of(tmp_path / "m.jsonl", "video", allow_outside=outside), "train", ["a"])
    bad = dataset[0]
    assert isinstance(bad, BadSample)
    assert (bad.row, bad.file) == (1, str(tmp_path / "m.jsonl"))
    assert re.search("cannot be the name of a file|too long", bad.reason)
    assert isinstance(dataset[1], Sample)


def test_a_link_in_a_folder_of_classes_is_not_followed_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "clips" / "train" / "a").mkdir(parents=True)
    write_video(tmp_path / "secret.mkv", pictures(2))
    (tmp_path / "clips" / "train" / "a" / "x.mkv").symlink_to(tmp_path / "secret.mkv")
    dataset = ManifestDataset(config_of(tmp_path / "clips", "video"), "train", ["a"])
    assert isinstance(sample := dataset[0], BadSample)
    assert "through a link" in sample.reason
    allowed = ManifestDataset(config_of(tmp_path / "clips", "video", allow_outside=True), "train", ["a"])
    assert isinstance(allowed[0], Sample)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A folder of classes in which a clip and a broken one have names that are not UTF-8."""
    (tmp_path / "clips" / "train" / "a").mkdir(parents=True)
    clip, broken = (
        os.fsdecode(os.fsencode(tmp_path / "clips/train/a") + name) for name in (b"/\xff.mkv", b"/\xfe.mkv")
    )
    try:
        write_video(tmp_path / "clip.mkv", pictures(3)).rename(clip)
    except OSError:
        pytest.skip("this file system has no such names")
    Path(broken).write_text("no clip")
    return tmp_path / "clips"


def test_names_that_are_not_utf8_are_read_prepared_and_reported(strange: Path, tmp_path: Path) -> None:
    config = config_of(strange, "video")
    bad, good = (ManifestDataset(config, "train", ["a"])[row] for row in range(2))
    assert isinstance(bad, BadSample)
    assert isinstance(good, Sample)
    for _ in range(2):  # begun, then taken up again
        report = prepare(config, tmp_path / "shards")
        assert [failure["file"] for failure in report["failed"]] == ["train/a/\udcfe.mkv"]
        assert json.loads((tmp_path / "shards" / "report.json").read_text(encoding="utf-8")) == report
    stored = ManifestDataset(config_of(tmp_path / "shards" / "shards.json", "video"), "train", ["a"])
    assert [type(stored[row]) for row in range(2)] == [BadSample, Sample]
    assert stored[1].id == good.id
    log = BadSampleLog({"train": 2}, 1.0, tmp_path / "bad.jsonl")
    log.add("train", [bad])
    assert json.loads((tmp_path / "bad.jsonl").read_text(encoding="utf-8"))["file"] == bad.file


def test_answers_name_them_on_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdout", stream)
    print_json([{"file": "\udcfe.mkv"}])
    print_table("", ("file",), [("\udcfe.mkv",)])
    stream.flush()
    written = stream.buffer.getvalue().decode()
    assert written.count("\\udcfe.mkv") == 2
