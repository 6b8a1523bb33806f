"""AudioSet as a manifest: the official CSV files and a folder of clips under whatever names a downloader left.

    python recipes/prepare_audioset.py AudioSet clips data/audioset_balanced --check 8
    python recipes/prepare_audioset.py AudioSet clips data/audioset --check 8 \\
        --train balanced_train_segments.csv unbalanced_train_segments.csv

SOURCE holds `balanced_train_segments.csv`, `unbalanced_train_segments.csv`, `eval_segments.csv` (with the three lines
of comments, or cleaned with a header) and `class_labels_indices.csv`; `ontology.json`, where it is there too, names
classes that the index lacks. CLIPS is searched with all folders in it for files called by the video's id: `ID`,
`YID`, `ID_START`, `ID_START_END`, times in seconds or milliseconds, any extension of a container; sound may lie in a
file of its own. The evaluation segments are the test split; of the training segments a share is held out to validate.

Written to OUT: `manifest.csv`; `labels.txt`, the classes in the order of the index; `classes.csv` and `summary.json`,
what of every class and of every split is listed, missing, silent, black, unreadable and used; `missing_segments.csv`,
the segments without a file, in the official format. With `--check N`, which decodes all clips in N processes,
`checked.csv`: what every file was found to be. What is silent, black, unreadable or not cut to its segment counts as
lacking from the manifest. A second run checks what the first one did not come to, and files that have changed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

VIDEO = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".flv", ".3gp", ".m4v")
AUDIO = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac")
SILENT = 1e-4  # root mean square of the samples, full scale 1: -80 dB
BLACK = 8.0  # mean of the pixels in the brightest of four frames, of 255
LONGEST = 15.0  # seconds; no segment is longer than 10, so a longer file is a video that was not cut
FINE, UNCUT = "fine", "not cut to its segment"
KEPT = ("file", "size", "changed", "result")
FAULTS = ("silent", "black", "no_stream")  # no_stream: pictures without sound or the other way round
STATES = ("listed", "missing", *FAULTS, "unreadable", "used")
BATCH, CHUNK = 4096, 8  # files handed to the processes at a time, to each at once
VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")


class Segment(NamedTuple):
    """A line of a segments file: YouTube id, the seconds from and to which it goes, machine ids of its labels."""

    video: str
    start: float
    end: float
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.video}_{self.start:g}"


class Files(NamedTuple):
    """What there is of a segment: pictures, perhaps with sound, and sound in a file of its own."""

    video: str | None
    audio: str | None

    @property
    def keys(self) -> tuple[str, ...]:
        """The pictures as `file`, the sound as `file#audio`."""
        sound = self.audio or self.video
        return (*([self.video] if self.video else []), *([f"{sound}#audio"] if sound else []))


def main() -> None:
    parser = argparse.ArgumentParser(description="AudioSet's CSV files and a folder of clips to a manifest.")
    parser.add_argument("source", type=Path, help="folder with the CSV files")
    parser.add_argument("clips", type=Path, help="folder of clips, searched with all folders in it")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--train", nargs="+", default=["balanced_train_segments.csv"], help="segments to train on")
    parser.add_argument("--eval", default="eval_segments.csv", help="segments to test on")
    parser.add_argument("--val", type=float, default=0.05, help="share of the training clips to validate on (0.05)")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="decode all clips in N processes")
    args = parser.parse_args()
    if not args.clips.is_dir():
        raise SystemExit(f"expected a folder of clips, got {args.clips}")
    if not 0 <= args.val < 1 or args.check < 0:
        raise SystemExit(f"expected --val in [0, 1) and --check of 0 or more, got {args.val} and {args.check}")

    index = class_names(args.source)
    names = index | {mid: name for mid, name in ontology_names(args.source).items() if mid not in index}
    train = {s.name: s for file in args.train for s in read_segments(args.source / file, names)}
    test = {s.name: s for s in read_segments(args.source / args.eval, names)}
    if both := sorted(train.keys() & test.keys()):
        raise SystemExit(f"{both[0]} is to be trained and tested on, with {len(both) - 1} more")
    split_of = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    for name in train:
        if zlib.crc32(name.encode()) % 10000 < args.val * 10000:
            split_of[name] = "val"
    stems = index_files(args.clips)
    args.out.mkdir(parents=True, exist_ok=True)
    segments = train | test
    found = {name: files for name, segment in segments.items() if any(files := find(segment, stems))}
    results = check_all(found.values(), args.out / "checked.csv", args.check) if args.check else {}

    rows = []
    for name in found:
        video, audio = parts(found[name], results)
        if video or audio:
            row = {"id": name, "split": split_of[name]}
            row["label"] = ";".join(dict.fromkeys(names[c] for c in segments[name].classes))
            rows.append(row | {"video": relative(video, args.out), "audio": relative(audio, args.out)})
    if not rows:
        raise SystemExit(f"none of {len(segments)} segments has a clip in {args.clips}; see --help for names")
    states = {name: state_of(found.get(name), results) for name in segments}
    report(segments, split_of, states, names, index.values(), args.out)
    write_csv(args.out / "manifest.csv", rows, tuple(rows[0]))


def relative(file: str | None, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix() if file else ""


def class_names(source: Path) -> dict[str, str]:
    """Machine id -> display name, in the order of `class_labels_indices.csv`."""
    path = source / "class_labels_indices.csv"
    rows = list(read_csv(path))
    if not rows or not {"index", "mid", "display_name"} <= set(rows[0]):
        raise SystemExit(f"{path}: expected the columns index, mid, display_name")
    for place, row in enumerate(rows):
        if row["index"] != str(place) or not row["mid"] or not row["display_name"]:
            raise SystemExit(f"{path}: expected class {place} in row {place + 1} after the header, got {row}")
    names = {row["mid"]: row["display_name"].strip() for row in rows}
    if bad := [name for name in names.values() if ";" in name]:
        raise SystemExit(f"{path}: class {bad[0]!r} cannot serve: a manifest joins labels by ';'")
    return names


def ontology_names(source: Path) -> dict[str, str]:
    """Machine id -> name, of all classes of `ontology.json`; nothing where there is no such file."""
    path = source / "ontology.json"
    if not path.is_file():
        return {}
    try:
        entries = json.loads("".join(read_lines(path)))
        return {str(entry["id"]): str(entry["name"]).replace(";", ",") for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: expected a list of classes with id and name: {error}") from None


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except FileNotFoundError:
        raise SystemExit(f"expected {path}, which is not there") from None
    except UnicodeDecodeError:
        raise SystemExit(f"{path}: expected text in UTF-8") from None


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(read_lines(path))


def read_segments(path: Path, names: Mapping[str, str]) -> Iterator[Segment]:
    """The lines of a segments file, comments and a header left out."""
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.startswith("# "):  # `#NAME?` is what spreadsheets make of an id with a dash
            continue
        (cells,) = csv.reader([line.strip()], skipinitialspace=True)
        if cells[0].lower() in ("ytid", "video_id", "youtube_id"):
            continue
        where = f"{path}, line {number}"
        if len(cells) != 4:
            raise SystemExit(f'{where}: expected YTID, start, end, "labels", got {line.strip()!r:.120}')
        if not VIDEO_ID.fullmatch(cells[0]):
            raise SystemExit(f"{where}: expected a YouTube id of 11 letters, digits, - and _, got {cells[0]!r:.60}")
        try:
            start, end = float(cells[1]), float(cells[2])
        except ValueError:
            start = end = math.nan
        if not 0 <= start < end < math.inf:
            raise SystemExit(f"{where}: expected seconds, start before end, got {cells[1]!r} and {cells[2]!r}")
        classes = tuple(c.strip() for c in cells[3].split(",") if c.strip())
        if not classes or (unknown := [c for c in classes if c not in names]):
            what = f"class {unknown[0]!r}, which class_labels_indices.csv lacks" if classes else "no labels"
            raise SystemExit(f"{where}: expected labels of the index, got {what}")
        yield Segment(cells[0], start, end, classes)


def index_files(folder: Path) -> dict[str, Files]:
    """Stem -> its files. Names are looked up, never taken apart: an id may hold dashes and underscores."""
    stems: dict[str, Files] = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            stem, ending = os.path.splitext(name)
            old = stems.get(stem, Files(None, None))
            if ending.lower() in VIDEO:
                stems[stem] = old._replace(video=old.video or os.path.join(root, name))
            elif ending.lower() in AUDIO:
                stems[stem] = old._replace(audio=old.audio or os.path.join(root, name))
    return stems


def find(segment: Segment, stems: dict[str, Files]) -> Files:
    """The files under any of the names that downloaders give; pictures and sound may have different ones."""
    times = []
    for start, end in zip(spellings(segment.start), spellings(segment.end), strict=True):
        times += [f"_{start}_{end}", f"_{start}-{end}", f"_{start}"]
    known = [stems[name] for t in ("", *times) for p in ("", "Y") if (name := f"{p}{segment.video}{t}") in stems]
    return Files(
        next((files.video for files in known if files.video), None),
        next((files.audio for files in known if files.audio), None),
    )


def spellings(seconds: float) -> tuple[str, ...]:
    """30: 30, 30.0, 30.000, 000030, in milliseconds 30000; of 30.5 also 30."""
    return (
        *(f"{seconds:g}", f"{seconds:.1f}", f"{seconds:.3f}", str(int(seconds)), f"{int(seconds):06d}"),
        f"{seconds * 1000:.0f}",
    )


def parts(files: Files, results: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The files to take pictures and sound from, often one; None for what was checked and is of no use."""
    sound = files.audio or files.video
    video = files.video if results.get(str(files.video), FINE) == FINE else None
    return video, sound if results.get(f"{sound}#audio", FINE) == FINE else None


def state_of(files: Files | None, results: Mapping[str, str]) -> set[str]:
    """What to count a segment as; one that is silent or black may well be used."""
    if files is None:
        return {"listed", "missing"}
    found = {results.get(key, FINE) for key in files.keys} - {FINE}
    states = {"listed"} | {result if result in FAULTS else "unreadable" for result in found}
    return states | {"used"} if any(parts(files, results)) else states


def check_all(found: Iterable[Files], path: Path, processes: int) -> dict[str, str]:
    """File -> `fine`, or what is wrong with it; `file#audio` for the sound in a clip. Kept in `path` as it goes."""
    kept = {}
    lines = read_lines(path) if path.is_file() else []
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # a stopped run left it half
    for row in csv.DictReader(lines):
        kept[row.get("file")] = row
    wanted = list(dict.fromkeys(key for files in found for key in files.keys))
    now = {key: stamp(key) for key in wanted}
    done = {key: row for key in wanted if (row := kept.get(key)) and (row.get("size"), row.get("changed")) == now[key]}
    write_csv(path, list(done.values()), KEPT)
    results = {key: row["result"] for key, row in done.items()}
    left = [key for key in wanted if key not in results]
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, (key, result) in enumerate(check_many(left, processes), 1):
            results[key] = result
            writer.writerow((key, *now[key], result))
            if number % 1000 == 0:
                file.flush()
                print(f"checked {number} of {len(left)}", flush=True)
    return results


def stamp(key: str) -> tuple[str, str]:
    """Size and time of the last change: a file that has another one is checked again."""
    status = os.stat(key.removesuffix("#audio"))
    return str(status.st_size), str(status.st_mtime_ns)


def check_many(keys: Sequence[str], processes: int) -> Iterator[tuple[str, str]]:
    """Check in several processes. Should a file take a decoder's process down, those in question go one by one."""
    from locomt.data import probe, read_audio, read_frames  # noqa: F401  once, for all processes forked from this one

    place = 0
    while place < len(keys):
        pool = ProcessPoolExecutor(processes, initializer=one_thread)
        try:
            while batch := keys[place : place + BATCH]:
                for key, result in zip(batch, pool.map(check, batch, chunksize=CHUNK), strict=True):
                    place += 1
                    yield key, result
        except BrokenProcessPool:
            suspects = keys[place : place + processes * CHUNK]
            place += len(suspects)
            yield from ((key, check_alone(key)) for key in suspects)
        finally:
            pool.shutdown(cancel_futures=True)


def check_alone(key: str) -> str:
    try:
        with ProcessPoolExecutor(1, initializer=one_thread) as pool:
            return pool.submit(check, key).result()
    except BrokenProcessPool:
        return "its decoder crashed"


def one_thread() -> None:
    """Processes share the cores already."""
    import torch

    torch.set_num_threads(1)


def check(key: str) -> str:
    """Whether the pictures of `file`, or the sound of `file#audio`, can be read and show or say anything."""
    from locomt.data import DataError, NoStreamError, probe, read_audio, read_frames

    file = key.removesuffix("#audio")
    try:
        if (probe(file).seconds or 0) > LONGEST:
            return UNCUT
        if file != key:
            level = float(read_audio(file, 16000).square().mean().sqrt())
            return "silent" if level < SILENT else FINE
        brightest = float(read_frames(file, 4, size=32).float().flatten(1).mean(1).max())
        return "black" if brightest < BLACK else FINE
    except NoStreamError:
        return "no_stream"
    except (DataError, OSError) as error:
        return " ".join(str(error).split())


def report(
    segments: Mapping[str, Segment],
    split_of: Mapping[str, str],
    states: Mapping[str, set[str]],
    names: Mapping[str, str],
    index: Iterable[str],
    out: Path,
) -> None:
    """What there is of every split and class, to files and shortly to the screen."""
    splits = ("train", "val", "test")
    totals = Counter((split_of[name], state) for name in segments for state in states[name])
    classes: Counter[tuple[str, str, str]] = Counter()
    for name, segment in segments.items():
        for label in {names[c] for c in segment.classes}:
            classes.update((label, split_of[name], state) for state in states[name])
    labels = dict.fromkeys(names.values())
    rows = [
        {"class": label}
        | {f"{split}_{state}": str(classes[label, split, state]) for split in splits for state in STATES}
        for label in labels
        if any(classes[label, split, "listed"] for split in splits)
    ]
    write_csv(out / "classes.csv", rows, tuple(rows[0]))
    missing = [
        {"YTID": s.video, "start_seconds": f"{s.start:.3f}", "end_seconds": f"{s.end:.3f}"}
        | {"positive_labels": ",".join(s.classes)}
        for name, s in segments.items()
        if "missing" in states[name]
    ]
    write_csv(out / "missing_segments.csv", missing, ("YTID", "start_seconds", "end_seconds", "positive_labels"))
    outputs = dict.fromkeys([*index, *(row["class"] for row in rows)])  # the ontology's others only where they occur
    write_text(out / "labels.txt", "".join(f"{label}\n" for label in outputs))
    summary = {split: {state: totals[split, state] for state in STATES} for split in splits}
    write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    print(f"{'':5}" + "".join(f"{state:>11}" for state in STATES))
    for split in splits:
        print(f"{split:5}" + "".join(f"{totals[split, state]:11}" for state in STATES))
    lacking = sorted(rows, key=lambda row: int(row["train_used"]) / max(1, int(row["train_listed"])))[:5]
    for row in lacking:
        if row["train_used"] != row["train_listed"]:
            print(f"{row['class']}: {row['train_used']} of {row['train_listed']} training clips")


def write_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_csv(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on with the files not checked yet") from None
