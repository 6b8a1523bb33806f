"""Where results say little, and where nothing is to be said of them."""

from typing import Any

import pytest

from locomt import cautions


def rows(*losses: float | None) -> list[dict[str, Any]]:
    return [{"train_loss": loss} for loss in losses]


def test_few_samples() -> None:
    assert cautions.of_samples({"val": 50, "test": 0}) == []
    assert cautions.of_samples({"val": 500, "test": 20}) == [
        "split 'test' has 20 samples: with fewer than 50 a few answers decide, and one is 5 % of all"
    ]


def test_classes_that_are_not_in_every_split() -> None:
    classes = {"cat": {"train": 9, "test": 2}, "dog": {"test": 1}, "owl": {"train": 3}, "elk": {}}
    assert cautions.of_classes(classes, "train", ["test"], "nothing is learned of them") == [
        "classes with none in split 'train' but in others; nothing is learned of them (1): 'dog'",
        "classes without a sample in split 'test'; no score tells of them (1): 'owl'",
    ]
    assert cautions.of_classes({"cat": classes["cat"]}, "train", ["test"], "") == []


def test_one_seed() -> None:
    assert len(cautions.of_seeds(1)) == 1
    assert cautions.of_seeds(2) == []


@pytest.mark.parametrize(
    ("scores", "better", "samples", "wanted"),
    [
        ({"a": 0.9, "b": 0.85, "c": None}, "max", 100, []),
        ({"a": 0.9, "b": 0.895}, "max", 100, ["a tie: a is level with b, less than one of 100 samples apart"]),
        ({"a": 0.9, "b": 0.89}, "max", 100, []),  # a whole sample
        ({"a": 0.8333333134651184, "b": 0.6666666865348816}, "max", 6, []),  # so too, in float32
        ({"a": 0.9, "b": 0.9, "c": 0.9}, "max", None, ["a tie: a is level with b, c"]),
        ({"a": 2.0, "b": 1.5, "c": 1.5}, "min", 10, ["a tie: b is level with c"]),  # errors have no such step
        ({"a": 2.0, "b": 1.5, "c": 1.4}, "min", 10, []),
        ({"a": None}, "max", 10, []),
    ],
)
def test_ties_with_the_best(scores: dict[str, float | None], better: str, samples: int, wanted: list[str]) -> None:
    assert cautions.of_ties(scores, samples=samples, better=better) == wanted


def test_ties_with_a_model_that_is_not_the_best() -> None:
    scores = {"a": 0.9, "b": 0.5, "c": 0.5}
    (line,) = cautions.of_ties(scores, samples=10, better="max", name="c")
    assert line.startswith("a tie: c is level with b")
    assert cautions.of_ties(scores, samples=10, better="max") == []


def test_a_loss_that_never_falls() -> None:
    assert cautions.of_losses({"a": [rows(1.0, 0.9, 0.8)], "b": [rows(1.0, 0.99)], "c": [rows()]}) == []
    (line,) = cautions.of_losses({"a": [rows(1.1, 1.09, None, 1.08), rows(1.1, 0.5, 0.2)]})
    assert line.startswith("a: the training loss never falls in 1 of 2 runs (1.1 in the first epoch, 1.08 at best ")
    assert cautions.of_losses({"a": [rows(-1.0, -2.0, -3.0)]}) == []  # a loss may lie below 0


def test_a_loss_that_diverges() -> None:
    assert cautions.of_divergence({"a": [None, None]}) == []
    assert cautions.of_divergence({"a": [None, "training diverged"], "b": ["training diverged"]}) == [
        "a in 1 of 2 runs: training diverged", "b: training diverged"
    ]  # fmt: skip
