"""Events out of time steps and how they are matched, on cases made by hand."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from locomt.tasks import TASKS
from locomt.tasks.events import Counts, Span, count_events, find_events, smoothed


def spans(*times: tuple[float, float]) -> list[Span]:
    return [Span(start, end, 1.0) for start, end in times]


def test_runs_of_steps_are_events() -> None:
    scores = torch.tensor([0.9, 0.7, 0.1, 0.5, 0.2, 0.49, 0.6])
    found = find_events(scores, 0.25)
    assert [(span.start, span.end) for span in found] == [(0, 0.5), (0.75, 1.0), (1.5, 1.75)]
    assert [span.score for span in found] == pytest.approx([0.8, 0.5, 0.6])
    assert find_events(torch.zeros(4), 0.25) == []
    assert [(span.start, span.end) for span in find_events(torch.ones(4), 0.25)] == [(0, 1)]


@pytest.mark.parametrize(
    ("smooth", "wanted"),
    [
        (0.0, [(1, 2), (4, 7), (8, 10)]),
        (0.19, [(1, 2), (4, 7), (8, 10)]),
        (0.3, [(4, 10)]),  # three steps: a single one goes, a gap of one is filled
        (0.59, [(3, 9)]),  # five steps: of 1, 0, 0, 1, 1 the median is 1; beyond the end nothing is on
        (9.0, []),
    ],
)
def test_a_median_filter_takes_out_what_is_short(smooth: float, wanted: list[tuple[int, int]]) -> None:
    scores = torch.tensor([0, 1, 0, 0, 1, 1, 1, 0, 1, 1.0])
    found = find_events(scores, 0.1, smooth)
    assert [(round(span.start * 10), round(span.end * 10)) for span in found] == wanted


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.sampled_from((1, 3, 5)))
def test_smoothing_is_the_median_of_a_window(on: list[bool], window: int) -> None:
    half = window // 2
    longer = [False] * half + on + [False] * half
    wanted = [sorted(longer[i : i + window])[half] for i in range(len(on))]
    assert smoothed(torch.tensor(on), window).tolist() == wanted


@pytest.mark.parametrize(
    ("found", "true", "both"),
    [
        ([(1, 2)], [(1, 2)], 1),
        ([(1.2, 2)], [(1, 2)], 1),  # 0.2 s late
        ([(0.8, 2)], [(1, 2)], 1),
        ([(1.21, 2)], [(1, 2)], 0),
        ([(1, 2.5)], [(1, 2)], 1),  # half of its length
        ([(1, 2.51)], [(1, 2)], 0),
        ([(1, 1.3)], [(1, 1.1)], 1),  # 0.2 s, being more than half of its length
        ([(1, 1.31)], [(1, 1.1)], 0),
        ([(1, 1.1)], [(1, 1.4)], 0),  # the length is that of the true one
        ([(1, 2), (1.1, 2)], [(1, 2)], 1),  # one of both is enough, the other is wrong
        ([(1, 2)], [(0.9, 2), (1.1, 2)], 1),
        ([(1, 2), (1.3, 2)], [(1.15, 2), (0.9, 2)], 2),  # the first true one must not take the only one that fits both
        ([], [(1, 2)], 0),
        ([(1, 2)], [], 0),
    ],
)
def test_matching(found: list[tuple[float, float]], true: list[tuple[float, float]], both: int) -> None:
    assert count_events(spans(*found), spans(*true)) == Counts(len(true), len(found), both)


@given(st.data())
def test_as_many_pairs_as_can_be_made(data: st.DataObject) -> None:
    times = st.tuples(st.integers(0, 8), st.integers(1, 6)).map(lambda t: (t[0] / 10, (t[0] + t[1]) / 10))
    found, true = (spans(*data.draw(st.lists(times, max_size=4))) for _ in range(2))
    pairs = [[bool(count_events([a], [b]).both) for a in found] for b in true]
    size = min(len(found), len(true))
    most = max(
        sum(pairs[i][j] for i, j in zip(rows, columns, strict=True))
        for rows in itertools.permutations(range(len(true)), size)
        for columns in itertools.combinations(range(len(found)), size)
    )
    assert count_events(found, true).both == most


def test_precision_recall_and_f1() -> None:
    assert Counts(4, 2, 1).metrics() == {"event_f1": 1 / 3, "event_precision": 0.5, "event_recall": 0.25}
    assert Counts(0, 2, 0).metrics() == {"event_f1": 0, "event_precision": 0, "event_recall": None}
    assert Counts().metrics() == dict.fromkeys(("event_f1", "event_precision", "event_recall"))


def test_scores_of_a_split_count_the_events_of_all_classes() -> None:
    """Two samples, the second of 6 of 10 steps of 0.5 s; class a is found once of twice, b found where it is not."""
    labels = torch.zeros(2, 10, 2)
    labels[0, 2:5, 0] = labels[1, 4:6, 0] = 1
    logits = torch.full((2, 10, 2), -3.0)
    logits[0, 2:6, 0] = 2.0  # 0.5 s too long, a third of its length
    logits[1, 1:2, 1] = 2.0
    logits[1, 7:9, 1] = 2.0  # behind the end
    labels[1, 6:] = float("nan")
    scores = TASKS["temporal"](step=0.5, seconds=9).scores(["a", "b"])
    for sample in range(2):
        scores.update(logits[sample, None], labels[sample, None])
    result = scores.compute()
    assert {name: result["metrics"][name] for name in ("event_f1", "event_precision", "event_recall")} == {
        "event_f1": 0.5,
        "event_precision": 0.5,
        "event_recall": 0.5,
    }
    assert result["metrics"]["classes_scored"] == 1
    a, b = result["per_class"].values()
    assert (a["events"], a["event_precision"], a["event_recall"], a["positives"]) == (2, 1.0, 0.5, 5)
    assert (b["events"], b["event_precision"], b["event_recall"], b["average_precision"]) == (0, 0.0, None, None)
    assert list(a) == ["average_precision", "positives", "event_f1", "event_precision", "event_recall", "events"]
