"""Where results say little: few samples, classes without any, one seed, ties, losses from which nothing was learned.

Whoever shows results says what it knows of them; what is said of it is worded here alone, so that the terminal, the
documents and the pages say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from locomt.hints import listed

FEW = 50
"""Samples of a split below which its scores say little."""
HARDLY, LONG = 0.95, 3
"""A loss that stays above such a share of that of the first epoch, over so many epochs or more, never falls."""
History = Sequence[Mapping[str, Any]]
"""The rows of the epochs of a run."""


def of_samples(counts: Mapping[str, int]) -> list[str]:
    """Splits that score models, and how many samples each has."""
    return [
        f"split {split!r} has {count:,} {'sample' if count == 1 else 'samples'}: with fewer than {FEW} a few answers "
        f"decide, and one is {100 / count:.0f} % of all"
        for split, count in counts.items()
        if 0 < count < FEW
    ]


def of_classes(classes: Mapping[str, Mapping[str, int]], train: str, others: Collection[str], fate: str) -> list[str]:
    """Classes that are in some splits and not in others.

    Args:
        classes: class -> split -> samples.
        train: the split of training.
        others: those that score models, without the ones that have no samples at all.
        fate: of samples whose class has none in training.
    """
    there = {name: counts for name, counts in classes.items() if any(counts.values())}
    untaught = sorted(name for name, counts in there.items() if not counts.get(train))
    lines = [f"classes with none in split {train!r} but in others; {fate} {_named(untaught)}"] if untaught else []
    return lines + [
        line
        for split in others
        for line in of_scored({name: counts.get(split, 0) for name, counts in there.items()}, split)
    ]


def of_scored(counts: Mapping[str, int], split: str) -> list[str]:
    """Classes, and how many samples each has in a split that scores models."""
    lacking = sorted(name for name, count in counts.items() if not count)
    return [f"classes without a sample in split {split!r}; no score tells of them {_named(lacking)}"] if lacking else []


def of_seeds(seeds: int) -> list[str]:
    """How many runs each of several models has."""
    return ["one seed: with another, the models may come out in another order"] if seeds == 1 else []


def of_ties(
    scores: Mapping[str, float | None], *, samples: int | None, better: str, name: str | None = None
) -> list[str]:
    """Models that are as good as the best one.

    Args:
        scores: model -> its score.
        samples: that were scored; shares that differ by less than one of them are level. None: only equal scores are.
        better: `max` where more is better, else `min`.
        name: a model to look at instead of the best one.
    """
    known = {model: score for model, score in scores.items() if score is not None}
    if not known or (name is not None and name not in known):
        return []
    first = (max if better == "max" else min)(known, key=known.__getitem__) if name is None else name
    shares = better == "max" and all(0 <= score <= 1 for score in known.values())
    near = 0.99 / samples if samples and shares else 0.0  # scores are rounded to float32
    level = [model for model, score in known.items() if model != first and abs(score - known[first]) <= near]
    apart = f", less than one of {samples:,} samples apart" if near else ""
    return [f"a tie: {first} is level with {listed(level, show=str)}{apart}"] if level else []


def of_losses(runs: Mapping[str, Sequence[History]]) -> list[str]:
    """Models that learned nothing: by how far the training loss of their runs fell."""
    lines = []
    for name, histories in runs.items():
        stuck = [fall for history in histories if (fall := _stuck(history))]
        if stuck:
            first, least = stuck[0]
            which = f" in {len(stuck)} of {len(histories)} runs" if len(histories) > 1 else ""
            lines.append(
                f"{name}: the training loss never falls{which} ({first:.3g} in the first epoch, {least:.3g} at best "
                "after it): next to nothing was learned; look at the data and at train.learning_rate, or train longer"
            )
    return lines


def of_divergence(found: Mapping[str, Sequence[str | None]]) -> list[str]:
    """Models, and what `locomt.train.fit` says of each of their runs as `diverged`, None of those that did not."""
    lines = []
    for name, runs in found.items():
        if diverged := [line for line in runs if line]:
            which = f" in {len(diverged)} of {len(runs)} runs" if len(runs) > 1 else ""
            lines.append(f"{name}{which}: {diverged[0]}")
    return lines


def _stuck(history: History) -> tuple[float, float] | None:
    known = [loss for row in history if (loss := row.get("train_loss")) is not None]
    if len(known) < LONG or min(known[1:]) <= known[0] - (1 - HARDLY) * abs(known[0]):
        return None
    return known[0], min(known[1:])


def _named(names: Sequence[str]) -> str:
    return f"({len(names)}): {listed(names)}"
