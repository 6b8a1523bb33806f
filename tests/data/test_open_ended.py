"""Recordings whose header does not know how long they are, as they come out of a pipe: read to their end."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from locomt.data import MediaError, probe, read_audio
from locomt.data.media.open_ended import source
from locomt.data.media.read import MediaFiles
from media_clips import write_audio

RATE = 16000
SOUND = np.random.default_rng(0).integers(-(2**14), 2**14, 2 * RATE + 123).astype(np.int16)
BYTES = SOUND.nbytes
NONE, FULL = 2**32 - 1, 2**64 - 1


def riff(size: int, data: int, sound: np.ndarray = SOUND, before: bytes = b"", after: bytes = b"") -> bytes:
    head = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body = sound.astype("<i2").tobytes()
    return (
        b"RIFF%sWAVEfmt %s" % (struct.pack("<I", size), head)
        + before
        + b"data"
        + struct.pack("<I", data)
        + body
        + after
    )


def rf64(size: int, data: int, samples: int) -> bytes:
    extended = b"ds64" + struct.pack("<IQQQI", 28, size, data, samples, 0)
    plain = riff(NONE, NONE)
    return b"RF64" + plain[4:12] + extended + plain[12:]


def wave64(size: int, data: int) -> bytes:
    rest = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    head = b"fmt " + rest + struct.pack("<QHHIIHH", 40, 1, 1, RATE, 2 * RATE, 2, 16)
    begin = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000") + struct.pack("<Q", size) + b"wave" + rest
    return begin + head + b"data" + rest + struct.pack("<Q", data) + SOUND.astype("<i2").tobytes()


def caf(data: int) -> bytes:
    head = struct.pack(">d4sIIIII", RATE, b"lpcm", 0, 2, 1, 1, 16)
    body = SOUND.astype(">i2").tobytes()
    return b"caff\0\1\0\0desc" + struct.pack(">q", 32) + head + b"data" + struct.pack(">q", data) + bytes(4) + body


def aiff(size: int, frames: int, data: int) -> bytes:
    head = struct.pack(">IHIHHQ", 18, 1, frames, 16, 16383 + 13, RATE << 50)
    body = SOUND.astype(">i2").tobytes()
    return b"FORM" + struct.pack(">I", size) + b"AIFFCOMM" + head + b"SSND" + struct.pack(">III", data, 0, 0) + body


LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf62.12.102\0"
UNKNOWN = {
    "pipe.wav": riff(NONE, NONE),
    "pipe_with_tags.wav": riff(NONE, NONE, before=LIST),
    "only_data.wav": riff(BYTES + 36, NONE),
    "zeros.wav": riff(0, 0),
    "only_data_zero.wav": riff(36, 0),
    "sox.wav": riff(0x7FFFF024, 0x7FFFF000),
    "two_gigabytes.wav": riff(2**31 + 28, 2**31 - 8),
    "four_gigabytes.wav": riff(NONE - 7, NONE - 43),
    "half_a_sample.wav": riff(NONE, NONE) + b"\1",
    "minus_one.rf64": rf64(FULL, FULL, FULL),
    "zeros.rf64": rf64(0, 0, 0),
    "ffmpeg.w64": wave64(FULL, 2**63 - 1),
    "zeros.w64": wave64(0, 24),
    "minus_one.caf": caf(-1),
    "zeros.aiff": aiff(0, 0, 0),
    "sox.aiff": aiff(0x7F00002E, 0x7F000000 // 2, 0x7F000008),
}
KNOWN = {
    "wav": riff(BYTES + 36, BYTES),
    "only_riff_unknown.wav": riff(NONE, BYTES),
    "with_tags.wav": riff(BYTES + 36 + len(LIST), BYTES, after=LIST),
    "rf64": rf64(BYTES + 72, BYTES, len(SOUND)),
    "w64": wave64(104 + BYTES, 24 + BYTES),
    "caf": caf(BYTES + 4),
    "aiff": aiff(46 + BYTES, len(SOUND), BYTES + 8),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_does_not_know_its_length_is_read_to_its_end(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(UNKNOWN[name])
    assert np.array_equal(read_audio(path, RATE).numpy(), SOUND.astype(np.float32) / 2**15)
    assert probe(path).seconds == pytest.approx(len(SOUND) / RATE, abs=1e-5)
    with MediaFiles() as files:
        assert files.open(path).span == pytest.approx((0, len(SOUND) / RATE), abs=1e-5)


@pytest.mark.parametrize("name", KNOWN)
def test_what_knows_it_is_left_to_ffmpeg(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(KNOWN[name])
    with source(path) as opened:
        assert opened == f"file:{path}"  # and no Python between
    assert np.array_equal(read_audio(path, RATE).numpy(), SOUND.astype(np.float32) / 2**15)


@pytest.mark.parametrize("lost", [300, 20000, 4096 * 5 + BYTES % 4096], ids=["little", "much", "whole packets"])
@pytest.mark.parametrize("name", ["wav", "with_tags.wav", "rf64", "w64", "caf"])
def test_what_knows_it_and_was_cut_is_truncated(name: str, lost: int, tmp_path: Path) -> None:
    """Be it between two packets, where FFmpeg takes the rest for the whole."""
    path = tmp_path / name
    path.write_bytes(KNOWN[name][: len(KNOWN[name]) - lost - len(LIST) * (name == "with_tags.wav")])
    with pytest.raises(MediaError, match="truncated"):
        read_audio(path, RATE)


@pytest.mark.parametrize("after", [b"", LIST, LIST + LIST])
@pytest.mark.parametrize("size", [0, NONE])
def test_a_recording_of_nothing_holds_no_samples(size: int, after: bytes, tmp_path: Path) -> None:
    """Tags that follow an empty one are no sound."""
    if size == NONE:
        after = b""
    (tmp_path / "a.wav").write_bytes(riff(36 + len(after), size, SOUND[:0], after=after))
    with pytest.raises(MediaError, match="holds no samples"):
        read_audio(tmp_path / "a.wav", RATE)


def test_others_that_do_not_know_it(tmp_path: Path) -> None:
    """What was recorded live has no duration, FLAC of a pipe no count of its samples; none is taken for truncated."""
    wanted = SOUND.astype(np.float64) / 2**15
    content = bytearray(write_audio(tmp_path / "a.flac", wanted[None], RATE, "flac").read_bytes())
    content[8 + 13] &= 0xF0  # 36 bits of STREAMINFO
    content[8 + 14 : 8 + 18] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    (tmp_path / "a.au").write_bytes(
        b".snd" + struct.pack(">IIIII", 24, NONE, 3, RATE, 1) + SOUND.astype(">i2").tobytes()
    )
    frame = av.AudioFrame.from_ndarray(SOUND[None], format="s16", layout="mono")
    frame.sample_rate = RATE
    with av.open(str(tmp_path / "live.mka"), "w", format="matroska", options={"live": "1"}) as output:
        stream = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        output.mux([*stream.encode(frame), *stream.encode(None)])
    for name in ("a.flac", "a.au", "live.mka"):
        assert np.array_equal(read_audio(tmp_path / name, RATE).numpy(), wanted.astype(np.float32)), name


@pytest.mark.parametrize("name", [*UNKNOWN, *KNOWN])
def test_any_beginning_of_a_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    """Headers that end amid a number, and sizes that lead anywhere."""
    content = {**UNKNOWN, **KNOWN}[name][:200]
    path = tmp_path / name
    rng = np.random.default_rng(0)
    for length in range(1, len(content), 7):
        damaged = bytearray(content[:length])
        for place in rng.integers(4, max(5, length), 3):
            if place < length:
                damaged[place] = int(rng.integers(256))
        for bytes_ in (content[:length], bytes(damaged)):
            path.write_bytes(bytes_)
            try:
                with source(path):
                    pass
            except MediaError as error:
                assert str(path) in str(error)  # noqa: PT017
