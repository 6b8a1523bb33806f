"""AudioSet as a manifest: the official CSV files and a folder of clips under whatever names a downloader left.

    python recipes/prepare_audioset.py AudioSet clips/ data/audioset --train balanced_train_segments.csv
    python recipes/prepare_audioset.py AudioSet clips/ data/audioset --check 8

SOURCE holds `balanced_train_segments.csv`, `unbalanced_train_segments.csv`, `eval_segments.csv` (with the three lines
of comments, or cleaned with a header) and `class_labels_indices.csv`; `ontology.json`, where it is there too, names
classes that the index lacks. CLIPS is searched with all folders in it for files called by the video's id: `ID`,
`YID`, `ID_START`, `ID_START_END`, times in seconds or milliseconds, any extension of a container; sound may lie in a
file of its own. The evaluation segments are the test split; of the training segments a share is held out to validate.

Written to OUT: `manifest.csv`; `missing.csv`, how many clips of every class were found; with `--check N`, which
decodes all clips in N processes, `checked.csv`: every clip that is silent, black or cannot be read. What is silent or
black there counts as lacking that modality in the manifest. A second run checks what the first one did not come to.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

VIDEO = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".flv", ".3gp", ".m4v")
AUDIO = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac")
SILENT = 1e-4  # root mean square of the samples, full scale 1: -80 dB
BLACK = 8.0  # mean of the pixels in the brightest of four frames, of 255
FINE = "fine"


class Segment(NamedTuple):
    """A line of a segments file: YouTube id, the seconds from and to which it goes, machine ids of its labels."""

    video: str
    start: float
    end: float
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.video}_{self.start:g}"


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

    names = class_names(args.source)
    train = {s.name: s for file in args.train for s in read_segments(args.source / file, names)}
    test = {s.name: s for s in read_segments(args.source / args.eval, names)}
    if both := sorted(train.keys() & test.keys()):
        raise SystemExit(f"{both[0]} is to be trained and tested on, with {len(both) - 1} more")
    stems = index_files(args.clips)
    args.out.mkdir(parents=True, exist_ok=True)
    found = {name: files for name, segment in (train | test).items() if any(files := find(segment, stems))}
    results = check_all(found.values(), args.out / "checked.csv", args.check) if args.check else {}

    rows = []
    for name, segment in (train | test).items():
        if name in found and any(usable := parts(found[name], results)):
            held_out = zlib.crc32(name.encode()) % 10000 < args.val * 10000
            split = "test" if name in test else "val" if held_out else "train"
            label = ";".join(dict.fromkeys(names[c] for c in segment.classes))
            video, audio = (Path(os.path.relpath(file, args.out)).as_posix() if file else "" for file in usable)
            rows.append({"id": name, "split": split, "label": label, "video": video, "audio": audio})
    if not rows:
        raise SystemExit(f"none of {len(train) + len(test)} segments has a clip in {args.clips}; see --help for names")
    write_csv(args.out / "manifest.csv", rows, tuple(rows[0]))
    report(train, test, {row["id"] for row in rows}, names, args.out)
    splits = Counter(row["split"] for row in rows)
    counts = ", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test"))
    print(f"{len(rows)} of {len(train) + len(test)} segments: {counts}; {len(found) - len(rows)} found but of no use")


class Files(NamedTuple):
    """What there is of a segment: pictures, perhaps with sound, and sound in a file of its own."""

    video: str | None
    audio: str | None


def class_names(source: Path) -> dict[str, str]:
    """Machine id -> display name, in the order of `class_labels_indices.csv`."""
    path = source / "class_labels_indices.csv"
    rows = list(read_csv(path))
    if not rows or not {"index", "mid", "display_name"} <= set(rows[0]):
        raise SystemExit(f"{path}: expected the columns index, mid, display_name")
    names = {row["mid"]: row["display_name"] for row in rows}
    ontology = source / "ontology.json"
    if ontology.is_file():
        try:
            entries = json.loads(ontology.read_text(encoding="utf-8"))
            names = {entry["id"]: entry["name"] for entry in entries} | names
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{ontology}: expected a list of classes with id and name: {error}") from None
    if bad := [name for name in names.values() if ";" in name]:
        raise SystemExit(f"{path}: class {bad[0]!r} cannot serve: a manifest joins labels by ';'")
    return names


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    except FileNotFoundError:
        raise SystemExit(f"expected {path}, which is not there") from None


def read_segments(path: Path, names: dict[str, str]) -> Iterator[Segment]:
    """The lines of a segments file, comments and a header left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise SystemExit(f"expected {path}, which is not there") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        (cells,) = csv.reader([line], skipinitialspace=True)
        if cells[0].lower() in ("ytid", "video_id", "youtube_id"):
            continue
        where = f"{path}, line {number}"
        if len(cells) != 4:
            raise SystemExit(f'{where}: expected YTID, start, end, "labels", got {line!r:.120}')
        try:
            start, end = float(cells[1]), float(cells[2])
        except ValueError:
            raise SystemExit(f"{where}: expected seconds, got {cells[1]!r} and {cells[2]!r}") from None
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
    for factor, form in ((1, "{:g}"), (1, "{:.1f}"), (1, "{:.3f}"), (1000, "{:.0f}")):
        start, end = form.format(segment.start * factor), form.format(segment.end * factor)
        times += [f"_{start}_{end}", f"_{start}-{end}", f"_{start}"]
    known = [stems[name] for t in ("", *times) for p in ("", "Y") if (name := f"{p}{segment.video}{t}") in stems]
    return Files(
        next((files.video for files in known if files.video), None),
        next((files.audio for files in known if files.audio), None),
    )


def parts(files: Files, results: dict[str, str]) -> tuple[str | None, str | None]:
    """The files to take pictures and sound from, often one; None for what was checked and is of no use."""
    sound = files.audio or files.video
    video = files.video if results.get(str(files.video), FINE) == FINE else None
    return video, sound if results.get(f"{sound}#audio", FINE) == FINE else None


def check_all(found: Iterable[Files], path: Path, processes: int) -> dict[str, str]:
    """File -> `fine`, or what is wrong with it; `file#audio` for the sound in a clip. Kept in `path` as it goes."""
    kept = [row for row in read_csv(path) if row["result"]] if path.is_file() else []
    write_csv(path, kept, ("file", "result"))  # without a line that a stopped run left half
    done = {row["file"]: row["result"] for row in kept}
    wanted = {key for files in found for key in keys_of(files)}
    left = sorted(wanted - done.keys())
    with path.open("a", newline="", encoding="utf-8") as file, ProcessPoolExecutor(processes) as pool:
        writer = csv.writer(file, lineterminator="\n")
        for number, (key, result) in enumerate(zip(left, pool.map(check, left, chunksize=8), strict=True), 1):
            done[key] = result
            writer.writerow((key, result))
            if number % 1000 == 0:
                file.flush()
                print(f"checked {number} of {len(left)}")
    return {key: done[key] for key in wanted}


def keys_of(files: Files) -> Iterator[str]:
    if files.video:
        yield files.video
    sound = files.audio or files.video
    assert sound is not None
    yield f"{sound}#audio"


def check(key: str) -> str:
    """Whether the pictures of `file`, or the sound of `file#audio`, can be read and show or say anything."""
    from locomt.data import DataError, read_audio, read_frames

    sound = key.endswith("#audio")
    try:
        if sound:
            level = float(read_audio(key.removesuffix("#audio"), 16000).square().mean().sqrt())
            return "silent" if level < SILENT else FINE
        brightest = float(read_frames(key, 4, size=32).float().flatten(1).mean(1).max())
        return "black" if brightest < BLACK else FINE
    except (DataError, OSError) as error:
        return " ".join(str(error).split())


def report(
    train: dict[str, Segment], test: dict[str, Segment], there: set[str], names: dict[str, str], out: Path
) -> None:
    """How much of every class there is, to `missing.csv`; on screen the classes that lack most."""
    count = partial(class_counts, names=names)
    wanted = {"train": count(train.values()), "test": count(test.values())}
    found = {
        split: count(s for s in segments.values() if s.name in there)
        for split, segments in (("train", train), ("test", test))
    }
    rows = [
        {"class": name} | {f"{split}_{what}": str(counts[split][name]) for split in wanted for what, counts in
                           (("listed", wanted), ("found", found))}
        for name in dict.fromkeys(names.values())
        if wanted["train"][name] or wanted["test"][name]
    ]  # fmt: skip
    write_csv(out / "missing.csv", rows, tuple(rows[0]))
    lacking = sorted(rows, key=lambda row: int(row["train_found"]) / max(1, int(row["train_listed"])))[:5]
    for row in lacking:
        if row["train_found"] != row["train_listed"]:
            print(f"{row['class']}: {row['train_found']} of {row['train_listed']} training clips")


def class_counts(segments: Iterable[Segment], names: dict[str, str]) -> Counter[str]:
    return Counter(name for s in segments for name in {names[c] for c in s.classes})


def write_csv(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


if __name__ == "__main__":
    main()
