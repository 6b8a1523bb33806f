"""Files as AudioSet and MedVidCL have them: made up, in the official formats."""

from pathlib import Path

import numpy as np

from locomt.demo.clips import Clips, encode_clip

CLASSES = (("/m/09x0r", "Speech"), ("/m/05zppz", "Male speech, man speaking"), ("/m/0bt9lr", "Dog"))
COMMENTS = """\
# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=22160, num_segs=22160, num_unique_labels=527, num_positive_labels=52882
# YTID, start_seconds, end_seconds, positive_labels
"""
TRAIN = (
    ("--aE2O5G5WE", 0, '"/m/0bt9lr,/m/09x0r"'),
    ("-0RWZT-miFs", 30, '"/m/09x0r"'),
    ("_a-b_c1_d-e", 5.5, '"/m/05zppz,/m/09x0r"'),
    ("abc_def-123", 120, '"/m/0bt9lr"'),
    ("inside_only", 10, '"/m/0bt9lr"'),
    ("missing_one", 10, '"/m/0bt9lr"'),
)
EVAL = (("YvalTest--1", 20, '"/m/09x0r"'), ("_evalTest_2", 20, '"/m/0bt9lr"'))
LABELS = ("Medical Instructional", "Medical Non-instructional", "Non-medical")
TITLES = ("How to dress a burn", "What is a burn?", "Burning down the house")


def audioset_lines(rows: tuple[tuple[str, float, str], ...]) -> str:
    return "".join(f"{name}, {start:.3f}, {start + 10:.3f}, {labels}\n" for name, start, labels in rows)


def audioset_csv(rows: tuple[tuple[str, float, str], ...]) -> str:
    """An official file of segments."""
    return COMMENTS + audioset_lines(rows)


def audioset_clip(path: Path, *, black: bool = False, silent: bool = False, seconds: int = 1) -> None:
    """Noise to see and hear."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    frames = random.integers(0, 1 if black else 256, (8 * seconds, 32, 32, 3)).astype(np.uint8)
    sound = random.normal(0, 1e-7 if silent else 0.1, 16000 * seconds).astype(np.float32)
    encode_clip(path, frames, sound, Clips(frames=8, size=32), "mpeg4", "aac")


def medvidcl_videos(split: str, count: int = 6) -> list[dict[str, str]]:
    return [
        {
            "video_id": f"{'-_'[n % 2]}{split}{n}",  # ids may begin with a dash
            "video_link": "https://www.youtube.com/watch?v=x",
            "video_title": f"{TITLES[n % 3]}\n {n}",
            "video_sub_title": "" if n == 1 else f"so today  we talk about number {n}",
            "label": LABELS[n % 3],
        }
        for n in range(count)
    ]
