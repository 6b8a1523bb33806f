"""MedVidCL as a manifest: titles, subtitles where there are any, feature files and clips, one of three classes.

    python recipes/prepare_medvidcl.py ../shared/data/medvidcl data/medvidcl
    python recipes/prepare_medvidcl.py MedVidCL data/medvidcl --features vit=MedVidCL/ViT --clips MedVidCL/clips

SOURCE holds the official `train.json`, `val.json` and `test.json` (Gupta et al., 2023, "A dataset for medical
instructional video classification and question answering"): lists of videos with `video_id`, `video_title`, `label`
and, in the released set, `video_sub_title`. `--features NAME=FOLDER` names a folder of `<video_id>.npy`, I3D or ViT
rows as the authors give them, and may come up more than once; `--clips` a folder of `<video_id>.mp4` or another
container, for sound and pictures. Nothing is copied: a video without a file lacks that modality, which is counted.

A subword vocabulary is learnt from the texts of the training videos alone and put beside the manifest, in the form
that Hugging Face tokenizers have (`tokenizer: data/medvidcl/tokenizer`; needs `pip install 'locomt[text]'`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

SPLITS = ("train", "val", "test")
LABELS = ("Medical Instructional", "Medical Non-instructional", "Non-medical")
CONTAINERS = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4a", ".mp3", ".wav", ".flac")

Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description="MedVidCL's JSON files, features and clips to a manifest.")
    parser.add_argument("source", type=Path, help="folder with train.json, val.json and test.json")
    parser.add_argument("out", type=Path, help="folder to write the manifest and the tokenizer to")
    parser.add_argument("--features", action="append", default=[], metavar="NAME=FOLDER", help="of <video_id>.npy")
    parser.add_argument("--clips", type=Path, help="folder of <video_id>.mp4 or another container")
    parser.add_argument("--vocabulary", type=int, default=4000, help="subwords; 0 learns none (default: 4000)")
    args = parser.parse_args()

    folders = dict(feature_folder(text) for text in args.features)
    if args.clips:
        folders["clip"] = args.clips
    for name, folder in folders.items():
        if not folder.is_dir():
            raise SystemExit(f"{name}: expected a folder, got {folder}")
    rows = [row for split in SPLITS for row in read_split(args.source, split)]
    for name, folder in folders.items():
        add_files(rows, name, folder, args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.vocabulary:
        learn_vocabulary([row["text"] for row in rows if row["split"] == "train"], args.vocabulary, args.out)
    part = args.out / "manifest.csv.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, args.out / "manifest.csv")
    report(rows, list(folders))


def feature_folder(text: str) -> tuple[str, Path]:
    """`"vit=MedVidCL/ViT"` -> the name of the column and the folder."""
    name, equals, folder = text.partition("=")
    if not equals or not name.isidentifier() or name in ("id", "split", "label", "title", "subtitles", "text", "clip"):
        raise SystemExit(f"--features: expected NAME=FOLDER such as vit=MedVidCL/ViT, got {text!r}")
    return name, Path(folder)


def read_split(source: Path, split: str) -> list[Row]:
    """The videos of one official file, checked."""
    path = source / f"{split}.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"expected {path}, which is not there") from None
    except ValueError as error:
        raise SystemExit(f"{path}: not JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise SystemExit(f"{path}: expected a list of videos, got {type(entries).__name__}")
    return [read_video(entry, split, f"{path}, video {number}") for number, entry in enumerate(entries, 1)]


def read_video(entry: object, split: str, where: str) -> Row:
    wanted = ("video_id", "video_title", "label")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in wanted):
        raise SystemExit(f"{where}: expected {', '.join(wanted)} as text, got {entry!r:.120}")
    if entry["label"] not in LABELS:
        raise SystemExit(f"{where}: expected a label of {', '.join(LABELS)}, got {entry['label']!r}")
    subtitles = entry.get("video_sub_title") or ""
    if not isinstance(subtitles, str):
        raise SystemExit(f"{where}: expected video_sub_title as text, got {subtitles!r:.80}")
    title, subtitles = one_line(entry["video_title"]), one_line(subtitles)
    text = ". ".join(part for part in (title, subtitles) if part)
    return {"id": entry["video_id"], "split": split, "label": entry["label"], "title": title} | {
        "subtitles": subtitles,
        "text": text,
    }


def one_line(text: str) -> str:
    return " ".join(text.split())


def add_files(rows: Sequence[Row], column: str, folder: Path, out: Path) -> None:
    """A column with every video's file in `folder`, relative to the manifest; empty where there is none."""
    endings = CONTAINERS if column == "clip" else (".npy",)
    files = {path.name: path for path in folder.iterdir() if path.suffix.lower() in endings and path.is_file()}
    by_id = {Path(name).stem: path for name, path in sorted(files.items())}
    for row in rows:
        path = by_id.get(row["id"])
        row[column] = Path(os.path.relpath(path, out)).as_posix() if path else ""


def learn_vocabulary(texts: Sequence[str], size: int, out: Path) -> None:
    """Byte-pair encoding over lower-cased words (Sennrich et al., 2016), saved where `AutoTokenizer` finds it."""
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        raise SystemExit("a vocabulary needs transformers: pip install 'locomt[text]', or --vocabulary 0") from None
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}  # the padding first: its id is 0
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special.values()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(out / "tokenizer")


def report(rows: Sequence[Row], columns: Sequence[str]) -> None:
    for split in SPLITS:
        mine = [row for row in rows if row["split"] == split]
        counts = Counter(row["label"] for row in mine)
        found = [f"{sum(bool(row[name]) for row in mine)} with {name}" for name in ("subtitles", *columns)]
        print(f"{split}: {len(mine)} videos, {', '.join(f'{counts[label]} {label}' for label in LABELS)}; ", end="")
        print(", ".join(found))


if __name__ == "__main__":
    main()
