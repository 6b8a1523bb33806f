"""The page of a fit: what is kept and why, all models beside each other, and where the kept one errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from locomt.compare.apart import apart_lines
from locomt.compare.report import commands_section, models_section
from locomt.data import ManifestDataset
from locomt.files import write_text
from locomt.report.answers import Answers
from locomt.report.cards import Cards
from locomt.report.page import Section, render, table
from locomt.report.run import headline, made_of, notes_of, sections_of
from locomt.train.evaluation import Run


def write_page(
    path: Path,
    kept: Run,
    results: Mapping[str, Any],
    scores: Mapping[str, Any],
    answers: Answers,
    *,
    lead: Sequence[str],
    commands: Sequence[tuple[str, str]],
    ways: Mapping[str, str],
    tried: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, as a whole or not at all.

    Args:
        path: where.
        kept: the run that is kept, or all seeds of it.
        results: of the fit.
        scores, answers: of the kept run on the test split, as `evaluate` returned them and told of them.
        lead: what stands first.
        commands: (purpose, command line) of what to run next.
        ways: group of runs -> what its models are called besides their name.
        tried: what a search of views returned, if there was one.
    """
    split = kept.recipe.data.test_split
    cards = Cards(ManifestDataset(kept.recipe.data, split, kept.labels))
    document = in_one_table(results, ways)
    models = models_section(document["recipes"][0], document)
    own = sections_of(kept, split, scores, answers, cards)
    cautions = [f"Caution: {line}." for line in results["cautions"]]
    page = render(
        f"{path.resolve().parent.name}: {results['chosen']} is kept",
        [
            Section("All models", models.body),
            *(Section(f"{section.title}: {results['chosen']}", section.body, section.about) for section in own),
            *([_tables(tried)] if tried else []),
            commands_section(commands),
            made_of(kept, split, scores),
        ],
        lead=[*lead, headline(split, scores)],
        about=list(dict.fromkeys([*cautions, *apart_lines(document), *notes_of(kept, split, scores)])),
        cards=cards.entries,
    )
    write_text(path, page)


def in_one_table(results: Mapping[str, Any], ways: Mapping[str, str]) -> dict[str, Any]:
    """The results as one comparison, whose models of other groups have names of their own."""
    first = results["recipes"][0]["name"]

    def named(row: Mapping[str, Any]) -> dict[str, Any]:
        return {**row, "recipe": first, "name": row["name"] + ways.get(row["recipe"], "")}

    return {
        **results,
        "recipes": results["recipes"][:1],
        "baselines": results["baselines"][:1],
        "models": [named(row) for row in results["models"]],
        "runs": [named(run) for run in results["runs"]],
    }


def _tables(tried: Mapping[str, Any]) -> Section:
    """The view tables that a search tried."""
    rows = sorted(tried["tables"], key=lambda entry: entry["mean"], reverse=tried["better"] == "more")
    lines = [
        (", ".join(entry["names"]), f"{entry['mean']:.3f}", f"{entry['share']:.3f}", entry["views"].replace("\n", "; "))
        for entry in rows
    ]
    heads = ("table", tried["metric"], "attention over Multiall's", "views of the fusion layers")
    return Section("Views that were tried", table(heads, lines), "One run each, the best first.")
