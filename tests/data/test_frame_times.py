"""Frames by time: those shown at the middle of equal parts of the duration, and no others for steady clips."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from locomt.data import read_frames
from locomt.data.media.crop import Crop, moments
from locomt.data.media.frame_times import FrameTimes, pick, spread
from locomt.data.media.read import MediaFiles
from media_clips import add_audio, add_video, tone, write_clip, write_video
from timed_clips import UNEVEN, grey, milliseconds, shades, shown

RATES = [Fraction(1, 3), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(240)]
UNITS = [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 12800)]


@given(
    rate=st.sampled_from(RATES),
    unit=st.sampled_from(UNITS),
    rounded=st.sampled_from([round, math.floor]),
    total=st.integers(1, 400),
    count=st.integers(1, 100),
    late=st.fractions(0, 2),
    stated=st.booleans(),
)
def test_a_steady_clip_gives_the_middle_of_equal_numbers_of_frames(
    rate: Fraction, unit: Fraction, rounded: Any, total: int, count: int, late: Fraction, stated: bool
) -> None:
    """However its container rounds times."""
    ticks = [rounded((late + place / rate) / unit) for place in range(total)]
    end = float((ticks[-1] + rounded(1 / rate / unit)) * unit) if stated else None
    times = FrameTimes([float(tick * unit) for tick in ticks], end, float(unit))
    assert pick(total, times, count, None) == spread(total, count)
    crop = Crop(float(late + total / rate / 4), float(late + total / rate / 2), (0.25, 0.5))
    places = crop.places(total, times.begins)
    assert pick(total, times, count, crop) == [places[place] for place in spread(len(places), count)]


@given(
    gaps=st.lists(st.integers(1, 5000), min_size=2, max_size=30),
    count=st.integers(1, 40),
    begin=st.integers(-1000, 1000),
)
def test_any_clip_gives_what_is_shown_at_the_middle_of_equal_parts(gaps: list[int], count: int, begin: int) -> None:
    ticks = np.cumsum([begin, *gaps])
    *begins, end = (float(tick) / 1000 for tick in ticks)
    times = FrameTimes(begins, end, 1e-6)
    if not times.even:
        wanted = shown(begins, end, count, begins[0])
        middles = [begins[0] + (2 * part + 1) * (end - begins[0]) / (2 * count) for part in range(count)]
        clear = [min(abs(middle - start) for start in begins) > 1e-4 for middle in middles]
        found = pick(len(begins), times, count, None)
        assert [a for a, b in zip(found, clear, strict=True) if b] == [
            a for a, b in zip(wanted, clear, strict=True) if b
        ]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_half_of_a_slow_clip_is_half_of_the_frames(name: str, tmp_path: Path) -> None:
    options = {"bf": "2", "g": "10"}
    path = write_video(
        tmp_path / name, grey(39), "libx264", rate=30, times=milliseconds(UNEVEN), options={**options, "qp": "0"}
    )
    assert shades(read_frames(path, 8)) == [0, 1, 3, 4, 5, 6, 8, 20]  # at 0.625, 1.875, ... 9.375 s
    assert shown(UNEVEN, 10, 8) == [0, 1, 3, 4, 5, 6, 8, 20]
    assert shades(read_frames(path, 4, crop=Crop(6.5, 9.5, (0.65, 0.95)))) == shown(UNEVEN, 9.5, 4, 6.5)
    with MediaFiles() as files:
        file = files.open(path)
        at = torch.cat(file.read_crops(1, moments((0.0, 10.0), 10.0, 8), size=None))
    assert shades(at) == [0, 1, 3, 4, 5, 6, 8, 20]  # a temporal task sees the same


def test_the_last_frame_is_shown_until_its_end(tmp_path: Path) -> None:
    """A picture at 0 s, one at 1 s that stays for three seconds: an MP4 says so by the length of its last frame."""
    path = write_video(tmp_path / "a.mp4", grey(3), "libx264", rate=1, times=[0, 1000, 4000])
    assert shades(read_frames(path, 5)) == shown([0, 1, 4], 5, 5)
    assert pick(2, FrameTimes([0.0, 1.0], 4.0, 0.001), 4, None) == [0, 1, 1, 1]
    assert pick(2, FrameTimes([0.0, 1.0], None, 0.001), 4, None) == [0, 0, 1, 1]
    assert pick(3, FrameTimes([0.0, 3.0, 4.0], None, 0.001), 6, None) == [0, 0, 0, 1, 2, 2]


def test_pictures_that_begin_late_and_end_before_the_sound(tmp_path: Path) -> None:
    begins = [1, 2, 2.1, 2.2, 2.3, 2.4]
    path = write_clip(
        tmp_path / "a.mkv",
        lambda output: add_video(output, grey(6), rate=10, times=milliseconds(begins)),
        lambda output: add_audio(output, tone(5, 8000)[None], 8000),
    )
    assert shades(read_frames(path, 5)) == shown(begins, 2.5, 5, 1.0)  # of the time in which there is something to see
    assert shades(read_frames(path, 2, crop=Crop(0.0, 0.5, (0, 0.1)))) == [0, 0]
    assert shades(read_frames(path, 2, crop=Crop(3.0, 5.0, (0.6, 1)))) == [5, 5]
    assert shades(read_frames(path, 4, crop=Crop(0.0, 2.0, (0, 0.4)))) == [0, 0, 0, 0]


def test_what_is_shown_within_a_crop_may_have_begun_before_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", grey(4), rate=1, times=[0, 10_000, 20_000, 21_000])
    assert shades(read_frames(path, 4, crop=Crop(8.0, 12.0, (0, 1)))) == [0, 0, 1, 1]
    assert shades(read_frames(path, 2, crop=Crop(3.0, 5.0, (0, 1)))) == [0, 0]
