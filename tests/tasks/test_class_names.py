"""When two names of classes are the same, and when they look as if they were meant to be."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.tasks.class_names import INVISIBLE, LONGEST_NAME, clean, near_names, places_of

NAMES = st.text(max_size=8)


@given(name=NAMES, around=st.text(st.sampled_from(" \t\u00a0\u3000" + INVISIBLE), max_size=4))
def test_what_is_around_a_name_and_how_its_letters_are_put_together_make_no_difference(name: str, around: str) -> None:
    same = clean(name)
    assert clean(same) == same
    assert clean(around + unicodedata.normalize("NFD", name) + around) == same


def test_clean_changes_nothing_else() -> None:
    assert clean("a  b\u200db\ufb01") == "a  b\u200db\ufb01"
    assert places_of(["b ", "cafe\u0301"]) == {"b": 0, "caf\u00e9": 1}


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("talking", "talkin", "one letter"),
        ("talking", "talkiing", "one letter"),
        ("talking", "tolking", "one letter"),
        ("talking", "tlaking", "one letter"),
        ("playing guitar", "playing gitar", "one letter"),
        ("caf\u00e9", "cafe", "one letter"),
        ("cat", "Cat", "letter case"),
        ("play guitar", "play  guitar", "spaces"),
        ("play guitar", "play_guitar", "spaces"),
        ("ice-cream", "icecream", "spaces"),
        ("dog", "do\u200bg", "how they are written"),
        ("\uff46ire", "fire", "how they are written"),
        ("3", "3.0", "how a number is written"),
        ("3", "03", "how a number is written"),
    ],
)
def test_pairs_that_may_be_meant_to_be_one(one: str, other: str, what: str) -> None:
    assert list(near_names([one, "quite another", other])) == [(one, other, what)]


@pytest.mark.parametrize(
    "names",
    [
        ("A", "B"), ("class1", "class2"), ("class 1", "class 12"), ("class a", "class b"), ("classA", "classB"),
        ("type I", "type II"), ("cat", "car"), ("dog", "dig"), ("A", "A-"), ("C", "C++"), ("1-2", "12"), ("-1", "1"),
        ("10", "11"), ("1.5", "1.51"), ("v1.0", "v1.1"), ("talking", "walked"), ("playing guitar", "playing piano"),
        ("talking", "talking loud"),
    ],
)  # fmt: skip
def test_pairs_that_are_two(names: tuple[str, str]) -> None:
    assert list(near_names(names)) == []


LETTERS = st.text("abc", min_size=4, max_size=6)


@given(names=st.lists(LETTERS, max_size=8, unique=True))
def test_pairs_of_one_letter_are_those_that_a_change_of_one_letter_makes(names: list[str]) -> None:
    def changed(name: str) -> set[str]:
        cuts = [(name[:place], name[place:]) for place in range(len(name) + 1)]
        left_out = {a + b[1:] for a, b in cuts if b}
        other = {a + letter + b[1:] for a, b in cuts if b for letter in "abc"}
        added = {a + letter + b for a, b in cuts for letter in "abc"}
        swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        return left_out | other | added | swapped

    wanted = {frozenset((a, b)) for a in names for b in names if a != b and b in changed(a)}
    assert {frozenset((a, b)) for a, b, _ in near_names(names)} == wanted


def test_texts_are_not_compared_letter_by_letter() -> None:
    text = "x" * LONGEST_NAME
    assert list(near_names([text + "ab", text + "abc"])) == []
