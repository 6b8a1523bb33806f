"""Tables drawn at random."""

from locomt.search.candidate import named
from locomt.search.tables import draws
from locomt.search.work import Work


def run(work: Work) -> None:
    tables = draws(work.space, work.limit, work.question.option("tables"), work.recipe.model.views_seed)
    work.train(named(tables, work.recipe))
