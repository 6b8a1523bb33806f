"""Intervals and calibration, by what is known of them; names as they stand beside figures."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from html_page import Page
from locomt.report.charts import ANSWERED, TRUE, precision_recall, reliability_bins, time_line
from locomt.tasks.shares import wilson, within_bounds


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_the_share_and_stays_within_bounds(counts: tuple[int, int]) -> None:
    hits, samples = counts
    low, high = wilson(hits, samples)
    assert 0 <= low <= hits / samples + 1e-12
    assert hits / samples - 1e-12 <= high <= 1
    assert low < high


def test_intervals_as_published() -> None:
    """Newcombe, Statistics in Medicine 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for hits, samples, expected in (
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ):
        assert wilson(hits, samples) == pytest.approx(expected, abs=5e-5)


def test_bars_of_shares_are_cut_and_others_are_not() -> None:
    assert within_bounds(-0.2, 1.3, share=True) == (0.0, 1.0)
    assert within_bounds(-0.2, 1.3, share=False) == (-0.2, 1.3)


def test_calibration_error_is_the_distance_in_each_bin_weighed_by_its_answers() -> None:
    said = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.55, 1.0])
    right = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    bins, error = reliability_bins(said, right)
    assert [count for *_, count in bins] == [1, 5]
    assert bins[1][:2] == pytest.approx((0.96, 0.6))
    assert error == pytest.approx(5 / 6 * 0.36 + 1 / 6 * 0.45)


def test_answers_that_are_no_numbers_are_counted_all_the_same() -> None:
    bins, _ = reliability_bins(torch.tensor([float("nan"), 0.5]), torch.tensor([0.0, 1.0]))
    assert sum(count for *_, count in bins) == 2


@pytest.mark.parametrize("name", ["<b>&", "$x$", "_hidden", "猫と犬", "u\x1b[31mp"])
def test_names_stand_beside_figures_whatever_is_in_them(name: str) -> None:
    points = torch.tensor([0.5, 1.0])
    text = Page(precision_recall({name: (points, points)})).text
    assert name.replace("\x1b", "\ufffd") in text


def test_the_legend_of_a_time_line_has_the_colours_of_its_bars() -> None:
    svg = time_line("events", [("dog", 0.0, 1.0)], [("dog", 0.5, 1.0)], seconds=2.0)
    assert [svg.count(f"fill: {colour}") for colour in (TRUE, ANSWERED)] == [2, 2]
