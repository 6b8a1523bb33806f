"""`locomt predict`: labels for media files."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

HELP = "label media files with a run's model"
EXAMPLE = "locomt predict runs/digits clip.mp4 another.mp4 --top 3"
UNREADABLE = 2  # the exit code where a file could not be read; the others' labels are printed all the same


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="the directory of a finished run")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a sample each: a clip, a recording, a feature file; or, where a sample takes several files, "
        "MODALITY=FILE,MODALITY=FILE",
    )
    parser.add_argument("--top", metavar="N", type=int, default=5, help="how many labels to give (5)")
    parser.add_argument(
        "--budget",
        metavar="B",
        help="of an elastic run: the best of its view tables within this budget, as `locomt search` takes it",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.output import console, print_json, print_table
    from locomt.train.evaluation import Run, predict

    trained = Run.load(args.run_dir)
    if args.budget:
        from locomt.search.elastic_front import set_budget

        set_budget(trained, args.budget)
    items = [parse_item(text, trained.recipe.data.modalities) for text in args.files]
    answers = predict(trained, items, top=args.top)
    failed = [answer for answer in answers if "error" in answer]
    if args.json:
        print_json(answers)
    else:
        guesses = [(a["file"], guess) for a in answers for guess in a.get("predictions", a.get("events", ()))]
        when = [name for name in ("step", "start", "end") if any(name in guess for _, guess in guesses)]
        rows = [
            (file, *(_cell(guess[name]) for name in when), guess["label"], _cell(guess["score"]))
            for file, guess in guesses
        ]
        if rows:
            print_table("", ("file", *when, "label", "score"), rows)
        for answer in answers:
            if answer.get("events") == []:
                console().print(f"{answer['file']}: no events", markup=False, highlight=False, soft_wrap=True)
    for answer in answers:
        for name, reason in answer.get("why", {}).items():
            line = f"locomt predict: {answer['file']}: answered without {name}: {reason}"
            console().print(line, markup=False, highlight=False, soft_wrap=True)
    for answer in failed:
        console().print(
            f"locomt predict: {answer['file']}: {answer['error']}", markup=False, highlight=False, soft_wrap=True
        )
    return UNREADABLE if failed else 0


def _cell(value: float) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def parse_item(text: str, modalities: Iterable[str]) -> str | dict[str, str]:
    """`"clip.mp4"` as it is, `"video=clip.mp4,lips=clip.npy"` as a mapping.

    Raises:
        ValueError: it begins with the name of another modality and is no file, names a modality twice, or has a word
            that is meant for the name of one.
    """
    known = tuple(modalities)
    names = "|".join(map(re.escape, known))
    if not re.match(f"({names})=", text):
        name, equals, _ = text.partition("=")
        if equals and name.isidentifier() and not os.path.exists(text):
            raise ValueError(f"{_unknown(name, known)}, and there is no file {text}{_hint(name, known)}")
        return text
    item: dict[str, str] = {}
    for entry in re.split(f",(?=(?:{names})=)", text):  # a comma within a file's name or a text stays there
        name, _, value = entry.partition("=")
        if name in item:
            raise ValueError(f"modality {name!r} is there twice in {text}; a sample has one file of each")
        item[name] = value
        _refuse_misspelt(value, known)
    return item


def _refuse_misspelt(value: str, known: Sequence[str]) -> None:
    """`a.mp4,audo=a.mp4` would be looked for as one file; a text may have such words, and a file such a name."""
    for found in re.finditer(r",\s*(\w+)=", value):
        name, before = found[1], value[: found.start()]
        if (_hint(name, known) or os.path.exists(before)) and not os.path.exists(value):
            raise ValueError(f"{_unknown(name, known)}, and there is no file {value}{_hint(name, known)}")


def _unknown(name: str, known: Sequence[str]) -> str:
    return f"modality {name!r} is not one of {', '.join(known)}"


def _hint(name: str, known: Sequence[str]) -> str:
    from locomt.hints import did_you_mean

    hint = did_you_mean(name, known)
    return hint and f"; {hint}"
