"""What is said of a manifest before anything is trained on it."""

from pathlib import Path
from typing import Any

import pytest

from locomt.data import DataConfig
from locomt.data.overview import manifest_cautions, manifest_notes, overview

Rows = list[tuple[str, str]]
FEATURES = {"f": {"kind": "features", "column": "f", "dim": 2, "max_length": 9}}
TEMPORAL: dict[str, Any] = {"task": "temporal", "seconds": 2, "step": 0.5}


def config(folder: Path, rows: Rows, **changes: Any) -> DataConfig:
    path = folder / "m.csv"
    lines = [f'{n},{split},"{label}",x' for n, (split, label) in enumerate(rows)]
    path.write_text("\n".join(["id,split,label,f", *lines]), encoding="utf-8")
    return DataConfig(**{"manifest": str(path), "modalities": FEATURES, **changes})


def notes(folder: Path, rows: Rows, **changes: Any) -> list[str]:
    return [note.removeprefix(f"{folder}/") for note in manifest_notes(config(folder, rows, **changes))]


def test_each_sample_counts_once_for_each_of_its_classes(tmp_path: Path) -> None:
    rows = [("train", "a;b"), ("train", "a; a"), ("train", ";"), ("train", ""), ("val", "b"), ("more", "c")]
    found = overview(config(tmp_path, rows, task="multilabel", labels=["a", "b", "z"]))
    assert found.samples == {"train": 4, "val": 1, "more": 1}
    assert found.classes == {"a": {"train": 2}, "b": {"train": 1, "val": 1}, "z": {}}
    rows = [("train", "dog@0-1;dog@1-2"), ("train", "no event"), ("test", "cat@0-1")]
    assert overview(config(tmp_path, rows, **TEMPORAL)).classes == {"dog": {"train": 1}, "cat": {"test": 1}}
    found = overview(config(tmp_path, [("train", "1.5")], task="regression"))
    assert (found.samples, found.classes) == ({"train": 1}, {})


EVEN: Rows = [("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "dog")] * 2


def test_an_ordinary_manifest_has_its_classes_told_and_nothing_else(tmp_path: Path) -> None:
    assert notes(tmp_path, EVEN) == ["2 classes, samples in 'train' / 'val': 'cat' 2 / 2, 'dog' 2 / 2"]
    assert notes(tmp_path, EVEN, task="multilabel") == notes(tmp_path, EVEN)
    numbers = [(split, str(len(label))) for split, label in EVEN]
    assert notes(tmp_path, numbers, task="regression") == []


def test_of_many_classes_the_ends_are_told(tmp_path: Path) -> None:
    rows = [("train", f"{chr(97 + n)}{chr(97 + n)}") for n in range(20) for _ in range(40 - n)]
    assert notes(tmp_path, [*rows, *EVEN[2:4]], labels=[*{label: 0 for _, label in rows}, "cat", "dog"])[0] == (
        "22 classes, samples in 'train' / 'val': most have 'aa' 40 / 0, 'bb' 39 / 0, 'cc' 38 / 0, 'dd' 37 / 0; "
        "fewest 'ss' 22 / 0, 'tt' 21 / 0, 'cat' 0 / 1, 'dog' 0 / 1"
    )


@pytest.mark.parametrize(
    ("rows", "changes", "wanted"),
    [
        ([("train", "ape")], {}, "classes with one sample in split 'train' (1): 'ape'"),
        ([], {"labels": ["cat", "dog", "owl"]}, "classes of data.labels without a sample (1): 'owl'"),
        ([("train", "ape")] * 2, {"labels": ["cat", "dog"]},
         "classes that data.labels lacks; their samples are bad (1): 'ape'"),
        ([("train", "Cat")] * 3, {},
         "classes that may be meant to be one: 'cat' (4) and 'Cat' (3) differ in letter case"),
        ([("train", "nan")] * 2, {},
         "'nan' may stand for a missing value, and is taken for a class: leave such cells empty"),
        ([("validation", "cat")], {},
         "m.csv: rows of other splits are not used: 'validation' (1); is 'validation' 'val'?"),
        ([("Train", "cat")] * 2, {}, "m.csv: rows of other splits are not used: 'Train' (2); is 'Train' 'train'?"),
        ([("extra", "cat")] * 2, {}, "m.csv: rows of other splits are not used: 'extra' (2)"),
        ([("testing", "cat")] * 2, {},
         "m.csv: rows of other splits are not used: 'testing' (2); for those 'testing' set data.test_split to it"),
        ([("train", "cat;dog")] * 2, {},
         "classes such as 'cat;dog' look like several joined by ';': with data.task multilabel, labels are joined by "
         "';'"),
        ([], {"val_split": "train"}, "data.val_split is that of training, 'train': its scores say nothing of others"),
    ],
)  # fmt: skip
def test_what_may_have_been_overlooked(rows: Rows, changes: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    assert wanted in notes(tmp_path, EVEN + rows, **changes)
    assert wanted not in notes(tmp_path, EVEN)


@pytest.mark.parametrize(
    ("rows", "changes", "wanted"),
    [
        ([], {}, "split 'val' has 4 samples: with fewer than 50 a few answers decide, and one is 25 % of all"),
        ([("val", "ape")], {}, "classes with none in split 'train' but in others; their samples are bad (1): 'ape'"),
        ([("val", "ape")], {"labels": ["ape", "cat", "dog"]},
         "classes with none in split 'train' but in others; nothing is learned of them (1): 'ape'"),
        ([("train", "ape")], {}, "classes without a sample in split 'val'; no score tells of them (1): 'ape'"),
    ],
)  # fmt: skip
def test_why_results_will_say_little(rows: Rows, changes: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    assert wanted in manifest_cautions(config(tmp_path, EVEN + rows, **changes))
    assert manifest_cautions(config(tmp_path, [*EVEN * 25, ("elsewhere", "owl")], **changes)) == []


def test_without_validation_and_with_a_single_class(tmp_path: Path) -> None:
    assert notes(tmp_path, [("train", "cat")] * 2) == [
        "no row has split 'val' (data.val_split): the last epoch is taken, not the best",
        "1 class, samples in 'train': 'cat' 2",
        "there is one class alone, 'cat': nothing to tell it from",
    ]


@pytest.mark.parametrize(
    ("labels", "changes", "joint"),
    [
        (["Speech|Music", "Speech|Dog", "Music"], {"task": "multilabel"}, "|"),
        (["Speech, Music", "Speech, Dog", "Music"], {"task": "multilabel"}, ","),
        (["Speech/Music", "Dog/Speech", "Music/Dog"], {"task": "multilabel"}, "/"),
        (["haze water", "water", "haze", "haze road", "road haze", "road", "water road"], {"task": "multilabel"}, " "),
        (["Comedy|Drama", "Drama|War"], {}, "|"),
        (["Speech,Music", "Speech", "Music,Speech"], {}, ","),
        (["dog|cat@0-1", "dog@0-1", "cat|dog@0-1"], TEMPORAL, "|"),
    ],
)  # fmt: skip
def test_joined_labels_are_warned_of_once(
    labels: list[str], changes: dict[str, Any], joint: str, tmp_path: Path
) -> None:
    (note,) = (n for n in notes(tmp_path, [("train", label) for label in labels], **changes) if "several joined" in n)
    assert f"look like several joined by {joint!r}: " in note


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["Male speech, man speaking", "Vehicle horn, car horn, honking", "Goat", "Chicken, rooster"], "multilabel"),
        (["Paris, France", "Lyon, France", "Rome, Italy"], "multiclass"),
        (["animal/dog", "animal/cat", "thing/car"], "multilabel"),
        (["playing guitar", "playing piano", "tuning guitar", "tuning piano"], "multilabel"),
        (["rock & roll", "drum & bass", "jazz"], "multiclass"),
    ],
)
def test_names_with_commas_of_their_own_are_names(labels: list[str], task: str, tmp_path: Path) -> None:
    assert not [n for n in notes(tmp_path, [("train", label) for label in labels], task=task) if "joined" in n]


def test_vectors_of_zeros_and_ones_are_no_names(tmp_path: Path) -> None:
    (note,) = (n for n in notes(tmp_path, [("train", "0;1;1")], task="multilabel") if "vector" in n)
    assert note.startswith("the classes are 0 and 1")
    assert not [n for n in notes(tmp_path, [("train", "0"), ("train", "1")]) if "vector" in n]


def test_no_control_character_comes_through(tmp_path: Path) -> None:
    rows = [("train", "\x1b[31mcat"), ("train", "\x1b[31mCat"), ("\x9btest", "a"), ("val", "b\x07")]
    said = [*notes(tmp_path, rows), *manifest_cautions(config(tmp_path, rows))]
    assert len(said) == 7
    assert all(note.isprintable() for note in said)
