"""The hand-made strategies, all at one cost."""

from locomt.search.candidates import strategies
from locomt.search.method import Work, named


def run(work: Work) -> None:
    model = work.recipe.model
    tables = strategies(work.space, work.limit, cross=model.cross, seed=model.views_seed)
    work.train(named(tables, work.recipe))
