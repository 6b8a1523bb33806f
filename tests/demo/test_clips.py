"""Clips made on the spot: whole or absent, the same from the same seed, and uninformative one modality at a time."""

import csv
import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from heard import Heard
from locomt.demo import clips as module
from locomt.demo.clips import COLOURS, LABELS, SQUARE, TONES, Clips, ClipsError, make_clips
from locomt.progress import Stage, heard_by

SMALL = Clips(train=32, val=16, test=16, size=32, frames=4, seconds=0.4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("made") / "clips", SMALL)


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        container.seek(0)
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return frames, sound


def test_every_split_holds_every_combination_equally_often(made: Path) -> None:
    for split, size in (("train", 32), ("val", 16), ("test", 16)):
        rows = [row for row in rows_of(made) if row["split"] == split]
        counts = Counter((row["seen"], row["heard"]) for row in rows)
        assert len(counts) == 16
        assert set(counts.values()) == {size // 16}


@pytest.mark.parametrize("modality", ["seen", "heard"])
def test_one_modality_says_nothing_about_the_label(made: Path, modality: str) -> None:
    pairs = Counter((row[modality], row["label"]) for row in rows_of(made))
    assert len(pairs) == 16
    assert len(set(pairs.values())) == 1


def test_both_modalities_say_the_label(made: Path) -> None:
    for row in rows_of(made):
        seen, heard = list(COLOURS).index(row["seen"]), list(TONES).index(row["heard"])
        assert row["label"] == LABELS[SQUARE[seen][heard]]
    for line in (*SQUARE, *zip(*SQUARE, strict=True)):
        assert sorted(line) == [0, 1, 2, 3]


def test_adding_up_what_is_seen_and_heard_is_not_enough() -> None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    # Variables: a score of each label for each colour and each tone, and for each cell whether it comes out right.
    cells = [(seen, heard) for seen in range(4) for heard in range(4)]
    constraints, bounds = [], []
    for place, (seen, heard) in enumerate(cells):
        right = SQUARE[seen][heard]
        for wrong in set(range(4)) - {right}:
            line = np.zeros(48)
            line[4 * right + seen] += 1
            line[16 + 4 * right + heard] += 1
            line[4 * wrong + seen] -= 1
            line[16 + 4 * wrong + heard] -= 1
            line[32 + place] = -100
            constraints.append(line)
            bounds.append(1 - 100)
    found = milp(
        -np.repeat([0, 1], [32, 16]),
        constraints=LinearConstraint(np.array(constraints), np.array(bounds), np.inf),
        integrality=np.repeat([0, 1], [32, 16]),
        bounds=Bounds(np.repeat([-25, 0], [32, 16]), np.repeat([25, 1], [32, 16])),
        options={"disp": False},
    )
    assert round(-found.fun) / 16 == module.ADDITIVE_LIMIT


def test_clips_are_real_video_with_sound(made: Path) -> None:
    row = rows_of(made)[0]
    with av.open(str(made.parent / row["clip"])) as container:
        used = json.loads((made.parent / "clips.json").read_text())
        assert (used["video"], used["audio"]) == ("libx264", "aac")
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.streams.audio[0].rate == SMALL.rate
    frames, sound = decode(made.parent / row["clip"])
    assert frames.shape == (SMALL.frames, SMALL.size, SMALL.size, 3)
    assert sound.size >= SMALL.seconds * SMALL.rate
    assert np.abs(sound).max() > 0.05


@pytest.mark.parametrize("colour", list(COLOURS))
def test_the_colour_can_be_seen(made: Path, colour: str) -> None:
    row = next(row for row in rows_of(made) if row["seen"] == colour)
    frames, _ = decode(made.parent / row["clip"])
    pixels = frames.reshape(-1, 3).astype(float)
    chroma = pixels - pixels.mean(axis=1, keepdims=True)
    strongest = chroma[np.argsort(-(chroma**2).sum(axis=1))[:50]].mean(axis=0)
    wanted = {name: np.array(rgb) - np.mean(rgb) for name, rgb in COLOURS.items()}
    match = {name: strongest @ c / np.linalg.norm(c) / np.linalg.norm(strongest) for name, c in wanted.items()}
    assert max(match, key=match.__getitem__) == colour


def test_the_same_seed_makes_the_same_clips(made: Path, tmp_path: Path) -> None:
    again = make_clips(tmp_path / "clips", SMALL)
    assert again.read_text() == made.read_text()
    for row in rows_of(made)[::9]:
        for one, other in zip(decode(made.parent / row["clip"]), decode(again.parent / row["clip"]), strict=True):
            assert np.array_equal(one, other)


def test_another_seed_makes_other_clips(made: Path, tmp_path: Path) -> None:
    tiny = Clips(train=16, val=16, test=16, size=32, frames=4, seconds=0.4, seed=1)
    other = make_clips(tmp_path / "clips", tiny)
    assert [row["label"] for row in rows_of(other)][:16] != [row["label"] for row in rows_of(made)][:16]


def test_whole_clips_are_used_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "encode_clip", lambda *_: pytest.fail("made again"))
    assert make_clips(made.parent, SMALL) == made


def test_clips_of_other_settings_are_left_alone(made: Path) -> None:
    with pytest.raises(ClipsError, match="holds clips made with seed 0, not 5; name another folder"):
        make_clips(made.parent, Clips(train=32, val=16, test=16, size=32, frames=4, seconds=0.4, seed=5))
    assert made.exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ClipsError, match="holds something else"):
        make_clips(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    class Stopping(Heard):
        def moved(self, stage: Stage) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), heard_by(Stopping()):
        make_clips(tmp_path / "clips", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_is_missing_has_a_substitute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VIDEO_ENCODERS", ("no_such_encoder", "mpeg4"))
    monkeypatch.setattr(module, "AUDIO_ENCODERS", ("no_such_encoder", "mp2"))
    tiny = Clips(train=16, val=16, test=16, size=32, frames=4, seconds=0.4)
    manifest = make_clips(tmp_path / "clips", tiny)
    assert json.loads((manifest.parent / "clips.json").read_text())["video"] == "mpeg4"
    frames, sound = decode(manifest.parent / "train-0000.mp4")
    assert len(frames) == 4
    assert sound.any()


def test_no_encoder_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VIDEO_ENCODERS", ("no_such_encoder",))
    with pytest.raises(ClipsError, match="PyAV has none of the encoders no_such_encoder"):
        make_clips(tmp_path / "clips", SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 20}, "train: expected a multiple of 16"),
        ({"test": 0}, "test: expected a multiple of 16"),
        ({"size": 30}, "size: expected a multiple of 16 pixels"),
        ({"frames": 1}, "expected 2 frames or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ClipsError, match=message):
        Clips(**settings)
