"""Budgets of time: what is timed, how it is kept, and that tables within them are found, whichever views are slow."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from feature_project import make_project
from locomt import ViewTable
from locomt.cli.main import main
from locomt.data import label_list
from locomt.search import view_times as device
from locomt.search.budget import Budget, SearchError
from locomt.search.ledger import Ledger
from locomt.search.methods.mass import choose_table
from locomt.search.question import Question
from locomt.search.search import search
from locomt.search.space import Space
from locomt.search.tables import draws, strategies
from locomt.search.view_times import DEVICE, table_times, view_times
from locomt.search.work import Work
from locomt.train import load_recipe
from locomt.train.attention_mass import AttentionMass
from locomt.train.recipe import Recipe
from locomt.train.runs import Runner
from locomt.views import STRATEGIES
from search_spaces import make_space

WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "1")
SLOW_CROSS = {"self": 0.25, "motion~sound": 1.0, "multi": 1.25, "motion>sound": 0.5, "sound>motion": 0.5}
"""Unlike FLOPs, which a cross head takes less of: what is made for FLOPs alone comes out above the budget."""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(make_project(tmp_path / "project", unimodal_loss=0.0), WIDER)


def space_of(recipe: Recipe) -> Space:
    return Space(recipe.fusion_config(label_list(recipe.data)))


def count_flops(candidates: dict[Any, Callable[[], Any]], place: str, seconds: float) -> dict[Any, float]:
    """Stands in for a clock: a device that takes a nanosecond a FLOP."""
    found = {}
    for name, run in candidates.items():
        with FlopCounterMode(display=False) as counter:
            run()
        found[name] = counter.get_total_flops() / 1e9
    return found


def write_times(path: Path, **changes: Any) -> None:
    """The times of a machine that is none."""
    size = {"tokens": {"motion": 9, "sound": 5}, "heads": 2, "head_width": 8}
    machine = {"device": "abacus", "torch": "0", "precision": "32"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(machine | size | {"ms_per_head": SLOW_CROSS, "tables": {}} | changes))


def test_what_is_timed_is_the_attention_of_full_samples(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "paired_seconds", count_flops)
    space, path = space_of(recipe), tmp_path / "new" / DEVICE
    times = view_times(space, recipe, path)
    assert times.views == {view: 4 * 8 * space.pairs(view, 0) for view in space.all_views}
    assert times.last == {view: 4 * 8 * space.pairs(view, 1) for view in space.all_views}
    table = ViewTable.parse("motion~sound:1 self:1\nself:1 multi:1", space.modalities)
    timed = table_times(table, space, recipe, path)
    assert timed == {
        "ms": pytest.approx(1e3 * space.gflops(space.cost(table))),
        "multiall_ms": pytest.approx(1e3 * space.gflops(space.multiall)),
    }
    timed_space = replace(space, times=times.views, last_times=times.last)
    assert timed_space.figures(table)["ms"] == pytest.approx(timed["ms"])
    assert view_times(space, recipe, path).last == times.last
    earlier = json.loads(path.read_text())
    del earlier["ms_per_last_head"]  # what earlier versions kept, which computed all of the last layer
    path.write_text(json.dumps(earlier))
    assert view_times(space, recipe, path).last == times.views


def test_times_are_taken_once(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "SECONDS", 0.0)
    space, path = space_of(recipe), tmp_path / DEVICE
    table = ViewTable.uniform("self", space.modalities, 2, 2)
    first = view_times(space, recipe, path), table_times(table, space, recipe, path)
    assert min(first[0].views.values()) > 0
    monkeypatch.setattr(device, "paired_seconds", None)
    again = view_times(space, recipe, path), table_times(table, space, recipe, path)
    assert again[0].views == first[0].views
    assert again[1] == first[1]
    other = ViewTable.uniform("multi", space.modalities, 2, 2)
    path.write_text(path.read_text().replace('"torch": "', '"torch": "not '))
    assert table_times(other, space, recipe, path) is None  # it would not compare


@given(st.integers(2, 3), st.integers(1, 3), st.sampled_from((1, 2, 4)), st.floats(0, 1), st.integers(0, 2**32))
def test_tables_keep_a_limit_of_time_whichever_views_are_slow(
    modalities: int, layers: int, heads: int, share: float, seed: int
) -> None:
    space = make_space(dict(zip("abc"[:modalities], (9, 5, 2), strict=False)), fusion_layers=layers, heads=heads)
    rng = random.Random(seed)
    space = replace(space, times={view: rng.randint(1, 10**6) for view in space.all_views})
    prices = list(space.prices(0).values())
    least, most = (layers * heads * bound for bound in (min(prices), max(prices)))
    limit = space.limit(Budget(Fraction(least + round(share * (most - least)), 10**6), "ms"))
    assert all(space.cost(table) <= limit for table in draws(space, limit, 3, 0).values())
    try:
        tables = strategies(space, limit, cross=0.5, seed=0)
    except SearchError:
        counts = range(layers * heads + 1)
        shares = [count / (layers * heads) for count in counts]
        names = {"layers": layers, "heads": heads}
        made = (ViewTable.strategy(n, space.modalities, cross=s, **names) for n in STRATEGIES for s in shares)
        assert all(space.cost(table) > limit for table in made)
        return
    assert all(space.cost(table) <= limit for table in tables.values())
    assert len({space.cost(tables[name]) for name in STRATEGIES}) == 1


def test_a_limit_of_time_is_exact() -> None:
    space = make_space({"a": 9, "b": 5})
    space = replace(space, times=dict.fromkeys(space.all_views, 250_001))
    assert space.limit(Budget.parse("3.5ms")) == 3_500_000
    assert space.limit(Budget.parse("1.000004 ms")) == space.multiall == 4 * 250_001
    with pytest.raises(SearchError, match=r"1ms is below .* cheapest takes 1 ms, 1.0000 of Multiall's, by the times"):
        space.limit(Budget.parse("1ms"))
    with pytest.raises(SearchError, match="times have not been measured here; give a share"):
        make_space({"a": 9, "b": 5}).limit(Budget.parse("3.5ms"))


OPTIONS: dict[str, dict[str, Any]] = {
    "strategies": {},
    "random": {"tables": 2},
    "evolutionary": {"tables": 2},
    "elastic": {"tables": 12},
}


@pytest.mark.parametrize("method", OPTIONS)
def test_a_search_within_a_time(recipe: Recipe, tmp_path: Path, method: str) -> None:
    out = tmp_path / "out"
    write_times(out / DEVICE)
    # There is time for one cross head; by FLOPs there would be room for all.
    wanted = Question(recipe=recipe, budget=Budget.parse("1.75ms"), method=method, **OPTIONS[method])
    document = search(wanted, out)
    assert document["budget"] == {"text": "1.75ms", "ms": 1.75, "share": 1.75 / 5}
    for entry in document["tables"]:
        heads = ViewTable.parse(entry["views"], ("motion", "sound"))
        assert entry["ms"] == sum(SLOW_CROSS[str(view)] for layer in heads.layers for view in layer.heads) <= 1.75
    assert document["times"] == {"device": "abacus", "torch": "0", "precision": "32", "chosen": None}
    assert document["multiall_ms"] == 5


def test_views_that_keep_mass_are_chosen_within_a_time(recipe: Recipe, tmp_path: Path) -> None:
    space = space_of(recipe)
    space = replace(space, times={view: round(1e6 * SLOW_CROSS[str(view)]) for view in space.all_views})
    wanted = Question(recipe=recipe, budget=Budget.parse("2.4ms"), method="mass")
    mass = AttentionMass(2, 2, space.modalities)
    mass.samples += 1
    share = torch.tensor([[0.6, 0.7], [0.9, 0.8]], dtype=torch.float64)  # that falls on the other modality
    mass.sums = torch.stack([torch.stack([1 - share, share], -1), torch.stack([share, 1 - share], -1)], -2)
    work = Work(Ledger(wanted, space, tmp_path), Runner())
    assert str(choose_table(work, mass)) == "self:2\nmotion~sound:1 self:1"  # by FLOPs all could be cross


def test_tables_of_a_budget_of_flops_are_on_the_front_of_time(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["search", "project/clips.yaml", "--method", "random", "--tables", "1", "--out", "out", *WIDER]
    assert main([*line, "--budget", "0.4643"]) == 0  # all cross below the last layer, in which it is all one
    write_times(tmp_path / "out" / DEVICE)
    capsys.readouterr()
    assert main([*line, "--budget", "1ms"]) == 0  # all self
    shown = capsys.readouterr().out
    assert "within 1 ms, 20.0% of Multiall's" in shown
    assert "abacus" in shown
    assert "chosen table: 1 ms by that sum; not measured" in shown
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    own, cross = document["tables"]  # the cheapest first
    assert cross["views"].startswith("motion~sound:2\n")
    assert own["ms"] == 1.0 < cross["ms"]
    assert own["gflops"] > cross["gflops"]
    assert document["front"][0] == document["chosen"] == own
    assert "attention time" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": {"motion": 5, "sound": 5}}, r"holds times for tokens .* the recipe now says .*'motion': 9"),
        ({"precision": "bf16-mixed"}, "holds times for precision bf16-mixed, the recipe now says 32"),
        ({"ms_per_head": SLOW_CROSS | {"self": 0}}, "expected the times of views"),
        ({"ms_per_head": {"self": 1.0}}, "lacks the time of multi, motion~sound, motion>sound, sound>motion"),
        ({"tables": None}, "expected the times of views"),
        ({"heads": None}, "holds times for heads None, the recipe now says 2"),
    ],
)
def test_times_that_cannot_serve_are_told(
    recipe: Recipe, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_times(tmp_path / DEVICE, **changes)
    with pytest.raises(SearchError, match=message):
        view_times(space_of(recipe), recipe, tmp_path / DEVICE)
