"""GRID clips as a manifest: video and sound from the files as they are, the words as text, one of them the label.

    python recipes/prepare_grid.py ../shared/data/media/grid data/grid

SOURCE holds clips of the GRID corpus (Cooke et al., 2006), `bbaf2n.mpg` or `<anything>_bbaf2n.mpg`: each letter of the
code stands for one of the six words, here "bin blue at f two now". The word that is the label is left out of the text.
All clips go to the training split. Nothing is copied: the manifest names the clips where they lie, so a recipe that
reads it needs `data.allow_outside: true`.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

WORDS = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "colour": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "preposition": {"a": "at", "b": "by", "i": "in", "w": "with"},
    "letter": {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},  # the corpus has no w
    "digit": {"z": "zero", "1": "one", "2": "two", "3": "three", "4": "four"}
    | {"5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine"},
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="GRID clips to a manifest.")
    parser.add_argument("source", type=Path, help="folder with the .mpg clips")
    parser.add_argument("out", type=Path, help="folder to write the manifest to")
    parser.add_argument("--label", choices=tuple(WORDS), default="digit", help="the word to tell (default: digit)")
    args = parser.parse_args()

    clips = sorted(args.source.glob("*.mpg"))
    if not clips:
        raise SystemExit(f"expected clips such as bbaf2n.mpg in {args.source}, found none")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in clips:
        words = spoken_words(clip)
        label = words.pop(args.label)
        place = Path(os.path.relpath(clip, args.out)).as_posix()
        rows.append(
            {"id": clip.stem, "split": "train", "label": label, "clip": place, "words": " ".join(words.values())}
        )
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} clips, {len({row['label'] for row in rows})} labels")


def spoken_words(clip: Path) -> dict[str, str]:
    """What a clip's name says: `bbaf2n` is bin blue at f two now."""
    code = clip.stem.rpartition("_")[2]
    if len(code) != len(WORDS) or any(letter not in known for letter, known in zip(code, WORDS.values(), strict=True)):
        raise SystemExit(f"{clip}: expected a name of six letters such as bbaf2n, got {code!r}")
    return {name: known[letter] for letter, (name, known) in zip(code, WORDS.items(), strict=True)}


if __name__ == "__main__":
    main()
