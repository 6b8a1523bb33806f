"""Samples that belong together and lie in several splits."""

import pytest

from locomt.data.groups import group_note
from locomt.data.row import Row

SPLITS = ("train", "val", "test")


def note(*rows: tuple[str, str, str], groups: tuple[str, ...] = ()) -> str | None:
    """Of rows of id, split and label; `groups` of the first of them, the others have none."""
    cells = [{"id": name, "split": split, "label": label} for name, split, label in rows]
    if groups:
        cells = [own | {"group": group} for own, group in zip(cells, [*groups, *[""] * len(cells)], strict=False)]
    return group_note([Row(n, own) for n, own in enumerate(cells, start=2)], SPLITS)


def pieces(split_of_piece: tuple[str, ...], form: str = "{}_{:02}", recordings: int = 8) -> list[tuple[str, str, str]]:
    names = [f"talk{chr(97 + number)}" for number in range(recordings)]
    return [
        (form.format(name, piece), split, "ab"[number % 2])
        for number, name in enumerate(names)
        for piece, split in enumerate(split_of_piece)
    ]


@pytest.mark.parametrize("form", ["{}_{:02}", "{}-{}.5-22.5", "{}/{}", "{}#{}"])
def test_pieces_of_one_recording_in_two_splits_are_said(form: str) -> None:
    told = note(*pieces(("train", "train", "test"), form))
    assert told
    assert "8 of them, such as 'talka' in 'train', 'test'" in told
    assert note(*pieces(("train", "train", "train"), form)) is None


@pytest.mark.parametrize(
    "rows",
    [
        [(f"{n:03}", ("train", "test")[n % 2], "a") for n in range(40)],  # numbers alone
        [(f"clip_{n}", ("train", "test")[n % 2], "a") for n in range(40)],  # one name for all
        [(f"{c}_{n}", ("train", "test")[n % 2], c) for c in "abcdefgh" for n in range(5)],  # those of classes
        [(f"{c}xyz_{n}", "train" if c < "n" else "test", "a") for c in "abcdnopq" for n in range(5)],  # kept whole
        pieces(("train", "elsewhere")),  # a split that is not used
    ],
)
def test_ids_that_say_nothing_of_groups(rows: list[tuple[str, str, str]]) -> None:
    assert note(*rows) is None


def test_the_column_decides_where_there_is_one() -> None:
    rows = pieces(("train", "test"), recordings=2)
    assert note(*rows, groups=("x", "y", "y", "x")) == (
        "2 groups (column 'group') lie in several splits, such as 'x' in 'train', 'test': scores say little of new "
        "groups; keep each in one split"
    )
    assert note(*rows, groups=("x", "y", "x", "y")) is None
    assert note(*pieces(("train", "test")), groups=("x",)) is None  # the ids are not asked besides
