"""A page: its sections, and how they become one file that fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent
PAGES = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: the heading.
        body: what stands under it.
        about: a sentence or two before it.
    """

    title: str
    body: Markup
    about: str = ""


def render(
    title: str,
    sections: Iterable[Section],
    *,
    lead: Sequence[str] = (),
    about: Sequence[str] = (),
    small: str = "",
    cards: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The text of a page.

    Args:
        title: of the page.
        sections: in their order.
        lead, about: what stands first, a paragraph each.
        small: what stands last, in small print.
        cards: the samples that its buttons and galleries show, see `locomt.report.cards`. Its script is on the page
            where there are any, and no other script can run there.
    """
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return PAGES.get_template("page.html").render(
        title=title,
        sections=list(sections),
        lead=lead,
        about=about,
        small=small,
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        # `<` could end the element that holds it, whatever its type.
        cards=None if cards is None else Markup(json.dumps(list(cards), ensure_ascii=False).replace("<", "\\u003c")),
    )


def figure(title: str, svg: str, caption: str = "") -> Markup:
    """A drawing with its name; `svg` is as `locomt.report.drawing` makes it, texts escaped."""
    below = Markup("\n<figcaption>{}</figcaption>").format(caption) if caption else Markup()
    return Markup("<figure><h3>{}</h3>\n{}{}</figure>").format(title, Markup(svg), below)


def side_by_side(drawn: Iterable[Markup]) -> Markup:
    """Drawings, beside each other where there is room."""
    return Markup('<div class="figures">\n{}\n</div>').format(Markup("\n").join(drawn))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], marks: Sequence[str] = ()) -> Markup:
    """A table; `marks` are the classes of its rows: `own`, `blind` or none."""
    lines = [Markup("<tr>{}</tr>").format(Markup().join(Markup("<th>{}</th>").format(head) for head in heads))]
    for place, row in enumerate(rows):
        cells = Markup().join(Markup("<td>{}</td>").format(cell) for cell in row)
        mark = marks[place] if place < len(marks) else ""
        lines.append(Markup("<tr{}>{}</tr>").format(Markup(' class="{}"').format(mark) if mark else "", cells))
    return Markup('<div class="scroll"><table>\n{}\n</table></div>').format(Markup("\n").join(lines))


def facts(entries: Mapping[str, str]) -> Markup:
    """Names and what they are."""
    lines = (Markup("<dt>{}</dt><dd>{}</dd>").format(name, text) for name, text in entries.items())
    return Markup("<dl>\n{}\n</dl>").format(Markup("\n").join(lines))


def button(text: str, title: str, into: str, places: Sequence[int], *, hit: bool, depth: float) -> Markup:
    """What shows samples when it is pressed.

    Args:
        text: on it.
        title: what stands above the samples.
        into: the name of the panel that shows them.
        places: of their cards.
        hit: whether these are right answers.
        depth: how strongly it is coloured, from 0 to 1.
    """
    return Markup(
        '<button type="button"{} title="{}" data-into="{}" data-cards="{}" aria-pressed="false" style="--depth: {}"{}>'
        "{}</button>"
    ).format(
        Markup(' class="hit"') if hit else "",
        title,
        into,
        ",".join(map(str, places)),
        f"{depth:.2f}",
        "" if places else Markup(" disabled"),
        text,
    )


def panel(name: str, hint: str) -> Markup:
    """Where the samples of buttons are shown."""
    return Markup('<div id="{}" aria-live="polite"><p class="soft">{}</p><div class="cards"></div></div>').format(
        name, hint
    )


def gallery(places: Sequence[int]) -> Markup:
    """Samples that are shown at once."""
    return Markup('<div class="cards" data-cards="{}"></div>').format(",".join(map(str, places)))
