"""The tables of the hand-made strategies, all at the same cost."""

from locomt.search.candidate import named
from locomt.search.tables import strategies
from locomt.search.work import Work


def run(work: Work) -> None:
    model = work.recipe.model
    tables = strategies(work.space, work.limit, cross=model.cross, seed=model.views_seed)
    work.train(named(tables, work.recipe))
