"""One damaged, odd or hostile media file of each kind, and what each of them has to say to it."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from media_clips import add_audio, add_video, pictures, tone, write_audio, write_clip, write_video

NO_MEDIA = "no media file of a known format"
NO_VIDEO, NO_AUDIO = "there is no video stream", "there is no audio stream"
READ = ""
HOUR, RATE = 3600, 8000
"""Seconds; samples a second of the long recordings and of what reads them, as resampling takes long."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: what the file is called.
        make: writes it.
        video, audio: what is found in the reason why its pictures or its sound are refused (a pattern); empty: they
            are read.
    """

    name: str
    make: Callable[[Path], object]
    video: str
    audio: str


def clip(path: Path, codec: str = "libx264", sound: str = "aac", **options: Any) -> Path:
    """One second of pictures and sound."""
    return write_clip(
        path,
        lambda output: add_video(output, pictures(25, 32, 32), codec, **options),
        lambda output: add_audio(output, tone(1, 16000)[None], 16000, sound),
    )


def renamed(path: Path, name: str, make: Callable[[Path], object]) -> None:
    """Write a file under a name that it would have, then give it another."""
    make(path.with_name(name))
    path.with_name(name).rename(path)


def cut(path: Path, place: float | bytes, make: Callable[[Path], object] = clip) -> None:
    """Keep a file up to a share of it, or up to the middle of an atom of MP4."""
    make(path)
    content = path.read_bytes()
    if isinstance(place, bytes):
        at = content.index(place) - 4
        end = at + int.from_bytes(content[at : at + 4], "big") // 2
    else:
        end = round(len(content) * place)
    path.write_bytes(content[:end])


def without_packets(path: Path) -> None:
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        output.add_stream("flac", rate=16000, layout="mono")
        output.start_encoding()


def only_video_has_packets(path: Path) -> None:
    with av.open(str(path), "w") as output:
        encode = add_video(output, pictures(10, 32, 32))
        output.add_stream("flac", rate=16000, layout="mono")
        encode()


def wav(rate: int, channels: int, samples: np.ndarray, form: int = 1) -> bytes:
    """A recording as its header says, whatever that is."""
    data, bits = samples.tobytes(), samples.dtype.itemsize * 8
    frame = channels * bits // 8
    head = struct.pack("<IHHIIHH", 16, form, channels, rate, rate * frame, frame, bits)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data
    )


def huge_png(side: int = 12000) -> bytes:
    """A whole picture of one colour: some 80 kB that would take 432 MB as RGB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge_frames(path: Path) -> None:
    """A clip that says 32 x 32, and whose second frame is another."""
    write_video(path.with_name("small.png"), pictures(1, 32, 32), "png", container="image2")
    small = path.with_name("small.png").read_bytes()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        for place, content in enumerate((small, huge_png())):
            packet = av.Packet(content)
            packet.stream, packet.is_keyframe = stream, True
            packet.pts = packet.dts = place * 40
            packet.time_base, packet.duration = Fraction(1, 1000), 40
            output.mux(packet)


def playlist(path: Path) -> None:
    clip(path.with_name("other.mp4"))
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n")


def script(path: Path) -> None:
    clip(path.with_name("other.mp4"))
    path.write_text("ffconcat version 1.0\nfile 'other.mp4'\n")


def session(path: Path) -> None:
    path.write_text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n")


def hour_of_pictures(path: Path) -> None:
    times = range(0, HOUR * 1000, 10_000)
    write_video(path, pictures(len(times), 16, 16), "libx264", options={"g": "10"}, times=times)


def hour_of_sound(path: Path) -> None:
    """A tone in its middle second, else silence."""
    sound = np.full(HOUR * RATE, 128, np.uint8)
    begin = (len(sound) - RATE) // 2
    sound[begin : begin + RATE] = np.round(128 + 50 * tone(1, RATE, 440, 1)).astype(np.uint8)
    path.write_bytes(wav(RATE, 1, sound))


def write_reference(path: Path, elsewhere: Path) -> None:
    """A QuickTime file whose pictures lie in another one, named by an alias, as editing programs write them."""
    write_video(elsewhere, pictures(3, 32, 32), "mjpeg")
    content = elsewhere.read_bytes()
    moov = content.index(b"moov") - 4
    alias, whole = bytearray(150), str(elsewhere).encode()
    alias[130:134] = struct.pack(">HH", 1, 1)  # as many levels up from here as down to there
    alias += struct.pack(">HH", 2, len(whole)) + whole + bytes(len(whole) % 2) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + bytes(alias)
    at = content.index(b"dref", moov) - 4
    size = int.from_bytes(content[at : at + 4], "big")
    reference = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    changed = bytearray(content[moov:])
    changed[at - moov : at - moov + size] = reference
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):  # the first of each encloses it: there is one track
        place = changed.index(parent) - 4
        longer = int.from_bytes(changed[place : place + 4], "big") + len(reference) - size
        changed[place : place + 4] = longer.to_bytes(4, "big")
    path.write_bytes(content[: content.index(b"ftyp") - 4 + int.from_bytes(content[:4], "big")] + bytes(changed))


def late_sound(path: Path) -> None:
    """Pictures of two minutes and then sound, which FFmpeg does not find when it looks at the beginning."""
    pieces = []
    for name, add in (
        ("pictures.flv", lambda output: add_video(output, pictures(130, 16, 16), "flv", rate=1)),
        ("sound.flv", lambda output: add_audio(output, tone(1, 44100)[None], 44100, "mp3")),
    ):
        content, at = write_clip(path.with_name(name), add).read_bytes(), 13
        while at < len(content):
            size = 15 + int.from_bytes(content[at + 1 : at + 4], "big")
            pieces.append(bytearray(content[at : at + size]))
            at += size
        path.with_name(name).unlink()
    for number, piece in enumerate(piece for piece in pieces if piece[0] == 8):
        piece[4:7] = (130_000 + 26 * number).to_bytes(3, "big")
    path.write_bytes(content[:13] + b"".join(piece for piece in pieces if piece[0] in (8, 9)))


CHANNELS = np.stack([tone(1, 48000, 200 + 50 * n, 0.3) for n in range(16)])


def many_planes(path: Path) -> None:
    """16 channels, each by itself: more than a frame of PyAV has places for."""
    samples = np.round(CHANNELS * 2**15).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout="hexadecagonal")
    frame.sample_rate = 48000
    with av.open(str(path), "w") as output:
        stream = output.add_stream("wavpack", rate=48000, layout="hexadecagonal")
        stream.format = "s16p"
        planes = av.AudioResampler("s16p", "hexadecagonal", 48000)
        for part in (*planes.resample(frame), *planes.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))


LOUD = np.full(16000, 3e38, np.float32) * np.where(np.arange(16000) % 2, 1, -1).astype(np.float32)
BYTES = np.random.default_rng(0).integers(0, 255, 64000).astype(np.uint8)

KINDS = [
    # What is not whole.
    Kind("no_index.mp4", lambda path: cut(path, b"moov"), NO_MEDIA, NO_MEDIA),
    Kind("no_end.mp4", lambda path: cut(path, b"mdat", lambda p: clip_with_index_first(p)), "truncated", "truncated"),
    Kind("no_end.mkv", lambda path: cut(path, 0.5), "truncated|damaged", "truncated|damaged"),
    Kind("empty.mp4", lambda path: path.touch(), "the file is empty", "the file is empty"),
    Kind("zeros.mp4", lambda path: path.write_bytes(bytes(5000)), NO_MEDIA, NO_MEDIA),
    Kind("no_packets.avi", without_packets, "the video stream holds no frames", "the audio stream holds no samples"),
    Kind("no_sound.mkv", only_video_has_packets, READ, "the audio stream holds no samples"),
    Kind("no_samples.wav", lambda path: path.write_bytes(wav(16000, 1, BYTES[:0])), NO_VIDEO, "holds no samples"),
    # What has one stream only.
    Kind("audio_only.wav", lambda path: write_audio(path, tone(1, 16000)[None], 16000), NO_VIDEO, READ),
    Kind("video_only.mp4", lambda path: write_video(path, pictures(10, 32, 32), "libx264"), READ, NO_AUDIO),
    # What is called something else: the content decides.
    Kind("clip.wav", lambda path: renamed(path, "clip_.mp4", clip), READ, READ),
    Kind("text.mp4", lambda path: path.write_text("Notes on clips.\n" * 99), NO_MEDIA, NO_MEDIA),
    Kind(
        "picture.mp4",
        lambda path: renamed(path, "a.png", lambda p: write_video(p, pictures(1, 32, 32), "png", container="image2")),
        READ,
        NO_AUDIO,
    ),
    # What is unusual, and fine.
    Kind("uneven.mkv", lambda path: clip(path, sound="pcm_s16le", times=[n * n * 2 for n in range(25)]), READ, READ),
    Kind("rotated.mp4", lambda path: clip(path, rotation=90), READ, READ),
    Kind("ten_bits_h264.mp4", lambda path: clip(path, pixels="yuv420p10le"), READ, READ),
    Kind("ten_bits_hevc.mp4", lambda path: clip(path, "libx265", pixels="yuv420p10le"), READ, READ),
    Kind("thin.mov", lambda path: write_video(path, pictures(3, 1, 64), "png", rotation=180), READ, NO_AUDIO),
    Kind("late_sound.flv", late_sound, READ, NO_AUDIO),
    Kind("one_pixel.mkv", lambda path: write_video(path, pictures(3, 1, 1)), READ, NO_AUDIO),
    Kind("hour_of_pictures.mp4", hour_of_pictures, READ, NO_AUDIO),
    Kind("hour_of_sound.wav", hour_of_sound, NO_VIDEO, READ),
    Kind("many_channels.wav", lambda path: path.write_bytes(wav(16000, 64, BYTES)), NO_VIDEO, READ),
    Kind("many_planes.wv", many_planes, NO_VIDEO, READ),
    # What claims too much, or is no sound.
    Kind("huge.png", lambda path: path.write_bytes(huge_png()), "at most 128 megapixels, got 12000 x 12000", NO_AUDIO),
    Kind("huge_frames.mov", huge_frames, "damaged", NO_AUDIO),
    Kind(
        "slow.wav",
        lambda path: path.write_bytes(wav(1, 1, BYTES[:20000])),
        NO_VIDEO,
        "80 samples a second or more, got 1",
    ),
    Kind("long.wav", lambda path: path.write_bytes(wav(500, 1, np.resize(BYTES, 7 * HOUR * 500))), NO_VIDEO, "6 hours"),
    Kind("silent.wav", lambda path: write_audio(path, np.zeros((1, 16000)), 16000), NO_VIDEO, "all-zero audio"),
    Kind(
        "nan.wav", lambda path: path.write_bytes(wav(16000, 1, LOUD * np.nan, 3)), NO_VIDEO, "expected finite samples"
    ),
    Kind("loud.wav", lambda path: path.write_bytes(wav(16000, 1, LOUD, 3)), NO_VIDEO, "expected sound of full scale 1"),
    # What leads elsewhere.
    Kind("playlist.mp4", playlist, NO_MEDIA, NO_MEDIA),
    Kind("playlist.m3u8", playlist, NO_MEDIA, NO_MEDIA),
    Kind("script.mkv", script, NO_MEDIA, NO_MEDIA),
    Kind("session.sdp", session, NO_MEDIA, NO_MEDIA),
]


def clip_with_index_first(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as output:
        encode = [
            add_video(output, pictures(25, 32, 32), "libx264"),
            add_audio(output, tone(1, 16000)[None], 16000, "aac"),
        ]
        for stream in encode:
            stream()
