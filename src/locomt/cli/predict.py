"""`locomt predict`: labels for files, on the terminal or as a table in a file."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.data.dataset import File
    from locomt.train.predictor import Predictor

HELP = "label files, folders or a manifest with a run's model, or one from the hub"
EXAMPLE = "locomt predict runs/digits clip.mp4 another.mp4 --top 3"
UNREADABLE = 2  # the exit code where a file could not be read; the others' labels are printed all the same


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_dir", metavar="RUN", help="the directory of a finished run, a model's folder, or its id on the hub"
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a sample each: a clip, a recording, a feature file; or, where a sample takes several files, "
        "MODALITY=FILE,MODALITY=FILE; many of them: a folder or a pattern in quotes (one for each modality, too: files "
        "of one name belong together), a manifest (CSV, JSON lines, Parquet) with the columns of the run's",
    )
    parser.add_argument("--top", metavar="N", type=int, default=5, help="how many labels to give (5)")
    parser.add_argument(
        "--budget",
        metavar="B",
        help="of an elastic run: the best of its view tables within this budget, as `locomt search` takes it",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write .csv, .jsonl or .parquet, a row a sample with all probabilities; where that was stopped, the same "
        "command goes on",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.notes import say
    from locomt.cli.output import print_json
    from locomt.data.inputs import find_samples

    if args.out and args.json:
        raise ValueError("--json is of answers on stdout, --out of a file; leave one of them out")
    predictor = load(args.run_dir, args.budget)
    items = find_samples([parse_item(text, predictor.data.modalities) for text in args.files], predictor.data)
    if args.out:
        return write(predictor, items, args.out)
    answers = list(answered(predictor, items, args.top))
    if args.json:
        print_json(answers)
    else:
        show(answers)
    for answer in answers:
        for name, reason in answer.get("why", {}).items():
            say(f"locomt predict: {answer['file']}: answered without {name}: {reason}")
    failed = [answer for answer in answers if "error" in answer]
    for answer in failed:
        say(f"locomt predict: {answer['file']}: {answer['error']}")
    return UNREADABLE if failed else 0


def load(source: str, budget: str | None) -> Predictor:
    """The model of a run, one by itself, or one from the hub.

    Raises:
        ValueError, OSError: it is none of them; a budget is asked of a model that has no run.
    """
    from locomt.cli.output import hub_bars
    from locomt.nn.hub import CONFIG
    from locomt.train.evaluation import Run
    from locomt.train.predictor import Predictor
    from locomt.train.run_directory import RunDirectory

    path = Path(source)
    by_itself = (path / CONFIG).is_file() and not RunDirectory(path).holds_run
    if not (by_itself or _is_id(source)):
        run = Run.load(path)
        if budget:
            from locomt.search.elastic_front import set_budget

            set_budget(run, budget)
        return run.predictor
    if budget:
        raise ValueError(f"--budget chooses among the tables of a run, and {source} is a model by itself")
    with hub_bars():
        return Predictor.from_pretrained(source)


def _is_id(source: str) -> bool:
    """Whether it can only be an id on the hub: a slip in the name of a run asks no network."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", source)) and not Path(source).parent.exists()


def answered(predictor: Predictor, items: Mapping[str, File], top: int) -> Iterator[dict[str, Any]]:
    """The answers under the names of the samples."""
    for name, answer in zip(items, predictor.predictions(items.values(), top=top), strict=True):
        yield answer | {"file": name}


def write(predictor: Predictor, items: Mapping[str, File], path: Path) -> int:
    """The answers to a file, and what is to be said of them as a whole."""
    from locomt.cli.notes import say
    from locomt.train.prediction_file import PredictionFile

    out, failed, missing = PredictionFile(path, predictor), 0, Counter[str]()
    try:
        with out.open() as done:
            if done:
                say(f"{len(done)} samples are in {out.part} already")
            left = {name: item for name, item in items.items() if name not in done}
            for answer in answered(predictor, left, max(1, len(predictor.labels))):
                out.add([answer])
                missing.update(answer.get("missing", ()))
                failed += "error" in answer
    except (KeyboardInterrupt, SystemExit):
        say(f"stopped; the same command goes on with what is in {out.part}")
        raise
    for name, count in missing.items():
        say(f"{count} of {len(left)} samples were answered without {name}; column missing of {path} says why")
    if failed:
        say(f"{failed} of {len(left)} samples could not be read; column error of {path} says why")
    say(f"{len(items)} rows in {path}")
    return UNREADABLE if failed else 0


def show(answers: Sequence[Mapping[str, Any]]) -> None:
    """The answers as a table on stdout."""
    from locomt.cli.notes import say
    from locomt.cli.output import print_table

    guesses = [(a["file"], guess) for a in answers for guess in a.get("predictions", a.get("events", ()))]
    when = [name for name in ("step", "start", "end") if any(name in guess for _, guess in guesses)]
    rows = [
        (file, *(_cell(guess[name]) for name in when), guess["label"], _cell(guess["score"])) for file, guess in guesses
    ]
    if rows:
        print_table("", ("file", *when, "label", "score"), rows)
    for answer in answers:
        if answer.get("events") == []:
            say(f"{answer['file']}: no events")


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
