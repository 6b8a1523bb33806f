"""Random draws."""

from locomt.search.candidates import draws
from locomt.search.method import Work, named


def run(work: Work) -> None:
    tables = draws(work.space, work.limit, work.wanted.option("tables"), work.recipe.model.views_seed)
    work.train(named(tables, work.recipe))
