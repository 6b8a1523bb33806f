"""What the site is made of besides the pages: notebooks, formulas, and reference pages that the code writes."""

from __future__ import annotations

import argparse
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from locomt.cli.fields import default_of, told, type_of
from locomt.cli.main import COMMANDS, build_parser
from locomt.train.fields import recipe_fields

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages that the code writes, and notebooks as pages."""
    for path, text in (("reference/commands.md", commands_page()), ("reference/fields.md", fields_page())):
        files.append(File.generated(config, path, content=text))
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        text = notebook_page(json.loads(Path(file.abs_src_path or "").read_text()))
        files.append(File.generated(config, file.src_uri.removesuffix(".ipynb") + ".md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Notebooks are pages here, and files where the repository is read."""
    return markdown.replace(".ipynb)", ".md)")


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw by themselves: no script, no fonts."""

    def drawn(found: re.Match[str]) -> str:
        return convert(unescape(found[2]).strip(), display="block" if found[1] == "div" else "inline")

    return FORMULA.sub(drawn, html)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Text, code and what came out of it, as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if picture := data.get("image/svg+xml"):
                parts.append("".join(picture))
            elif picture := data.get("image/png"):
                parts.append(f"![what the cell above draws](data:image/png;base64,{''.join(picture).strip()})")
            elif text := "".join(output.get("text", data.get("text/plain", ""))):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """The help of every command, as the terminal has it."""
    subparsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parts = ["# Commands", "What `locomt COMMAND --help` prints."]
    for name in COMMANDS:
        parts.append(f"## locomt {name}\n\n```text\n{subparsers.choices[name].format_help().rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def fields_page() -> str:
    """Every field of recipes, as `locomt fields` has them, with the whole of what is said."""
    parts = ["# Fields of recipes", "What `locomt fields` prints, whole. [Recipes and runs](../training.md) explains."]
    found = recipe_fields()
    for section, kind in dict.fromkeys((field.section, field.kind) for field in found):
        title = f"{section}.NAME, kind: {kind}" if kind else section
        rows = [f"## {title}\n\n| field | type | default | |\n|---|---|---|---|"]
        for field in found:
            if (field.section, field.kind) == (section, kind):
                cells = (f"`{field.name}`", type_of(field), default_of(field), told(field, whole=True))
                rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"
