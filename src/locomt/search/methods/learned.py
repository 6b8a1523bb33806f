"""Views that are learned along with the weights. Each run finds one table."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from locomt.cost import flops
from locomt.search.candidate import Candidate
from locomt.search.work import Work
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.runs import Job
from locomt.views import MULTI, ViewTable


def run(work: Work) -> None:
    """Learn a table with every seed. A table's score is that of its run, whose weights fit it."""
    learning = learned_recipe(work)
    settings = learning.train.learn_views
    asked = (settings.budget, settings.one_way, sorted(settings.prices.items()), sorted(settings.last_prices.items()))
    folder = work.runs / f"learned-{hashlib.sha256(repr(asked).encode()).hexdigest()[:12]}"
    jobs = [Job.seeded("learned", learning, seed, folder, test=False) for seed in work.question.all_seeds]
    for job, outcome in zip(jobs, work.runner.do(jobs), strict=True):
        table, seed = Run.load(job.directory).model.table, job.recipe.train.seed
        assert table is not None
        candidate = Candidate(table=table, names=(f"learned {seed}",), recipe=work.tuned(table, job.directory))
        cost = cost_in_runs(work, learning, table)
        score = work.score(job, outcome)
        work.ledger.record(candidate, [score], seeds=[seed], training_runs=cost, runs=[job.directory])


def learned_recipe(work: Work) -> Recipe:
    """The search's recipe, with views to be learned within the search's budget."""
    recipe = work.recipe.fused("locomt")
    space = work.space
    prices, last = (
        {} if times is None else {str(view): float(times[view]) for view in (MULTI, *space.views)}
        for times in (space.times, space.last_times)
    )
    settings = replace(
        recipe.train.learn_views,
        budget=work.limit / space.multiall,
        prices=prices,
        last_prices=last,
        one_way=space.one_way,
    )
    return replace(recipe, train=replace(recipe.train, views="learned", learn_views=settings))


def cost_in_runs(work: Work, learning: Recipe, table: ViewTable) -> float:
    """The FLOPs of a run that learns its table, over those of a run that has the table from the start.

    While views are learned, every head attends with all of them. With the paper's set this costs as much as Multiall.

    Args:
        work: the search.
        learning: the recipe of the run that learns.
        table: that it learns.
    """
    space = work.space
    every, one = (
        space.heads * sum(space.pairs(view, layer) for layer in range(space.layers) for view in views)
        for views in (space.views, [MULTI])
    )
    # All views together read what `multi` reads, and attend to it each by itself.
    pair = 14 * space.head_width  # 4 d forward and 10 d backward
    searching = flops(space.with_table(space.dense), backward=True, everything=False).total + pair * (every - one)
    share = learning.searching_epochs / learning.train.epochs
    return share * searching / flops(space.with_table(table), backward=True, everything=False).total + 1 - share
