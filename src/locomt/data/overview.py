"""A manifest as a whole, before anything is trained on it: its classes and how many samples have each, and what in it
looks like an accident although every row can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from locomt import cautions
from locomt.data.config import DataConfig
from locomt.data.dealing import read_rows
from locomt.data.groups import COLUMN, group_note
from locomt.data.row import Row
from locomt.data.splits import meant_split
from locomt.hints import listed
from locomt.tasks.class_names import near_names

FEW = 12
"""So many classes are shown one by one; of more the first and the last few by how many samples they have."""
ENDS = 4
PAIRS = 5
JOINTS = (";", "|", ",", "/", "+", "&", "\t", " ")
"""What labels are joined by elsewhere; `;` is meant to join them, but not where a sample has one."""
MISSING = ("nan", "none", "null", "n/a", "na", "<na>", "nat", "?", "-")
"""What programs write for a value that is not there."""


@dataclass(frozen=True)
class Overview:
    """What a manifest holds.

    Attributes:
        samples: split -> its rows, of all splits of the manifest.
        classes: class -> split in use -> samples that have it; those of `data.labels` without a sample too. Empty where
            labels are numbers.
    """

    samples: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]


def overview(config: DataConfig) -> Overview:
    """Count the samples and classes of a manifest, of which labels that cannot be are left out.

    Raises:
        ValueError: the manifest cannot be read.
    """
    cells = Counter((row.split, row.label) for row in read_rows(config))
    samples: Counter[str] = Counter()
    classes: dict[str, Counter[str]] = {name: Counter() for name in config.labels or ()}
    used = _splits_in_use(config)
    for (split, cell), count in cells.items():
        samples[split] += count
        if split in used and config.target.has_classes:
            for name in set(config.target.names(cell)):
                classes.setdefault(name, Counter())[split] += count
    return Overview(samples, classes)


def manifest_notes(config: DataConfig, found: Overview | None = None) -> list[str]:
    """What to say of a manifest before training on it, a line each; `found` is its overview where that is at hand.

    That is the classes with their counts, and what may have been overlooked: rows of splits that are not used, no
    validation split, classes that occur once or are named almost as others, names that look like several joined or like
    no value at all, groups of samples that lie in several splits.

    Raises:
        ValueError: the manifest cannot be read.
    """
    found = found or overview(config)
    notes = _split_notes(config, found.samples)
    if config.target.has_classes:
        notes += _class_notes(config, found)
    rows = read_rows(config)
    group = group_note(rows, _splits_in_use(config), config.group)
    return [*notes, *_dealt(config, rows), *([group] if group else [])]


def _dealt(config: DataConfig, rows: Sequence[Row]) -> list[str]:
    """How many samples, and groups, the recipe has dealt out to each split."""
    split = config.split
    if split is None or split.table is not None:
        return []
    column = config.group or COLUMN
    parts = []
    for name in _splits_in_use(config):
        own = [row for row in rows if row.split == name]
        groups = {row.cells[column].strip() for row in own if row.cells.get(column, "").strip()}
        parts.append(f"{name!r} {len(own)}" + (f" ({listed(sorted(groups), most=4)})" if groups else ""))
    whole = f", groups of column {column!r} whole" if column in rows[0].cells else ""
    return [f"samples are dealt out by data.split, seed {split.seed}{whole}: {', '.join(parts)}"]


def manifest_cautions(config: DataConfig, found: Overview | None = None) -> list[str]:
    """Why results on a manifest will say little: few samples in the splits that score models, classes that are not in
    every split; see `locomt.cautions`.

    Raises:
        ValueError: the manifest cannot be read.
    """
    found = found or overview(config)
    scoring = [split for split in _splits_in_use(config) if split != config.train_split and found.samples.get(split)]
    known = set(config.labels or found.classes)
    fate = "nothing is learned of them" if config.labels else "their samples are bad"
    return [
        *cautions.of_samples({split: found.samples[split] for split in scoring}),
        *cautions.of_classes(
            {name: of for name, of in found.classes.items() if name in known}, config.train_split, scoring, fate
        ),
    ]


def _splits_in_use(config: DataConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys((config.train_split, config.val_split, config.test_split)))


def _split_notes(config: DataConfig, samples: Mapping[str, int]) -> list[str]:
    fields = {name: getattr(config, name) for name in ("train_split", "val_split", "test_split")}
    others = sorted(samples.keys() - set(fields.values()))
    notes = []
    if others:
        rows = ", ".join(f"{name!r} ({samples[name]})" for name in others)
        hints = [
            f"; for those {hint!r} set data.{field} to it" if not samples.get(split) else f"; is {hint!r} {split!r}?"
            for field, split in fields.items()
            if (hint := meant_split(split, others))
        ]
        notes.append(f"{config.manifest}: rows of other splits are not used: {rows}{''.join(hints)}")
    if not samples.get(config.val_split):
        notes.append(f"no row has split {config.val_split!r} (data.val_split): the last epoch is taken, not the best")
    for field in ("val_split", "test_split"):
        if fields[field] == config.train_split:
            notes.append(f"data.{field} is that of training, {config.train_split!r}: its scores say nothing of others")
    return notes


def _class_notes(config: DataConfig, found: Overview) -> list[str]:
    splits = [split for split in _splits_in_use(config) if found.samples.get(split)]
    counts = {name: [of[split] for split in splits] for name, of in found.classes.items()}
    notes = [_counts_line(splits, counts), *config.target.notes(counts.keys())]
    train = config.train_split
    seen = {name: found.classes[name][train] for name in counts}
    kinds: dict[str, Collection[str]] = {
        f"with one sample in split {train!r}": [name for name in seen if seen[name] == 1],
        "of data.labels without a sample": [name for name in counts if not any(counts[name])],
        "that data.labels lacks; their samples are bad": counts.keys() - set(config.labels or counts),
    }
    notes += [f"classes {kind} ({len(names)}): {listed(sorted(names))}" for kind, names in kinds.items() if names]
    return [*notes, *_name_notes(config, {name: sum(of) for name, of in counts.items()})]


def _counts_line(splits: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """`2 classes, samples in 'train' / 'val': 'cat' 10 / 2, 'dog' 9 / 3`."""

    def shown(names: Iterable[str]) -> str:
        return ", ".join(f"{name!r} {' / '.join(map(str, counts[name]))}" for name in names)

    ranked = sorted(counts, key=lambda name: (-counts[name][0], name)) if splits else []
    heading = f"{len(counts)} class{'' if len(counts) == 1 else 'es'}, samples in {' / '.join(map(repr, splits))}: "
    if len(ranked) <= FEW:
        return heading + shown(sorted(ranked))
    return f"{heading}most have {shown(ranked[:ENDS])}; fewest {shown(ranked[-ENDS:])}"


def _name_notes(config: DataConfig, counts: Mapping[str, int]) -> list[str]:
    """What the names of the classes alone give away."""
    notes = []
    pairs = [
        (f"{a!r} ({counts[a]}) and {b!r} ({counts[b]}) differ in {what}", min(counts[a], counts[b]))
        for a, b, what in near_names(counts)
    ]
    pairs.sort(key=lambda pair: pair[1])
    if pairs:
        more = f", and {len(pairs) - PAIRS} more pairs" if len(pairs) > PAIRS else ""
        text = "; ".join(text for text, _ in pairs[:PAIRS])
        notes.append(f"classes that may be meant to be one: {text}{more}")
    if found := _joined(config, list(counts)):
        advice = "" if config.target.several else "with data.task multilabel, "
        notes.append(
            f"classes such as {found[0]!r} look like several joined by {found[1]!r}: {advice}labels are joined by ';'"
        )
    if absent := [name for name in counts if name.casefold() in MISSING]:
        notes.append(
            f"{listed(absent)} may stand for a missing value, and is taken for a class: leave such cells empty"
        )
    return notes


def _joined(config: DataConfig, names: Sequence[str]) -> tuple[str, str] | None:
    """A name, and what it is joined by, where most names are joined of parts that are names themselves.

    Where a sample may have several labels, a part of another name counts as a name. `;` and `|` are no part of any.
    """
    known, several = set(names), config.target.several
    for joint in JOINTS:
        if joint == ";" and (several or config.steps):
            continue
        parts = {name: [part.strip() for part in name.split(joint)] for name in names if joint in name.strip(joint)}
        uses = Counter(part for of in parts.values() for part in set(of))
        joined = []
        for name, of in parts.items():
            others = [part for part in of if part in known or (several and joint != " " and uses[part] > 1)]
            if joint in ";|" or (len(others) == len(of) if joint in "/+& " else others):
                joined.append(name)
        if 2 * len(joined) > len(names) or (joint == ";" and joined):
            return joined[0], joint
    return None
