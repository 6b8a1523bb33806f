"""The card of a model, `README.md` in its folder: what it answers, made of what, how well, at what cost, where not.

All of it is computed. What a user writes below its last line stays when the card is renewed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import locomt
from locomt.cost import flops, guarantee, parameters
from locomt.data.config import DataConfig
from locomt.files import write_text
from locomt.train.below_its_part import of_run
from locomt.train.card_facts import Facts
from locomt.train.evaluation import Run
from locomt.train.predictor import PREDICTOR, Predictor
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory

CARD = "README.md"
YOURS = "<!-- Your own words go below this line; they stay when the card is renewed. -->"
PAPER = "https://arxiv.org/abs/2402.15096"
MOST = 30
"""Classes that are named one by one."""
FEW = 50
"""Samples below which a score says little."""
EXAMPLES = {"video": "clip.mp4", "audio": "sound.wav", "image": "picture.jpg", "features": "features.npy"}


def renew_card(run: Run, facts: Facts) -> None:
    """Write a run's card anew, and what its model takes to answer by itself, which those of earlier versions lack."""
    directory = RunDirectory(run.path)
    if not (directory.model / PREDICTOR).is_file():
        run.predictor.describe(directory.model)
    write_card(directory, directory.model, run.predictor, run.recipe, facts)


def record(
    run: Run, split: str, scores: Mapping[str, Any], intervals: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Put the scores of a split into a run's card.

    Args:
        run: the run.
        split: that was scored.
        scores: what `evaluate` returned.
        intervals: metric -> ends of its 95 % interval, where they are known.
    """
    facts = Facts.read(RunDirectory(run.path).card, run.recipe.data)
    renew_card(run, facts.scored(split, scores["metrics"], scores["samples"], intervals=intervals))


def write_card(run: RunDirectory, folder: Path, predictor: Predictor, recipe: Recipe, facts: Facts) -> None:
    """Write what a card tells into the run, and the card into the folder of its model."""
    facts.write(run.card)
    path = folder / CARD
    own = path.read_text(encoding="utf-8", errors="replace").partition(YOURS)[2] if path.is_file() else ""
    summary = run.read_summary() if run.summary.is_file() else {}
    text = card(run.path.resolve().name, predictor, recipe, summary, facts)
    whole = f"{text}\n{YOURS}{own or chr(10)}"
    write_text(path, whole.encode("utf-8", "replace").decode())  # names of files may have halves of surrogate pairs


def card(name: str, predictor: Predictor, recipe: Recipe, summary: Mapping[str, Any], facts: Facts) -> str:
    """The text of a card.

    Args:
        name: of the model.
        predictor: the model.
        recipe: that it was trained by.
        summary: the best epoch's row.
        facts: what else is told.
    """
    sections = {
        "Use": _use(predictor, facts.repo),
        "What goes in": _inputs(predictor.data),
        "What comes out": _outputs(predictor),
        "Data": _data(facts, recipe.data),
        "Scores": _scores(facts, recipe, summary),
        "Cost": _cost(predictor),
        "Who looks at whom": _views(predictor),
        "Limits": _limits(predictor, facts, recipe, summary),
        "Licence": [facts.license or "Who trained this model has not said under which licence it may be used."],
    }
    names = ", ".join(predictor.data.modalities)
    title = facts.repo.partition("/")[2] if facts.repo else name
    lines = [_metadata(title, predictor, facts, (recipe.data.train_split, recipe.data.val_split)), f"# {title}", ""]
    lines += [f"A {predictor.data.task} model of {names}: a [LoCoMT]({PAPER}) multimodal transformer.", ""]
    for head, body in sections.items():
        lines += [f"## {head}", "", *body, ""]
    return "\n".join(lines)


def _metadata(title: str, predictor: Predictor, facts: Facts, used: Collection[str]) -> str:
    """The YAML that the hub reads, with the scores of splits that were not used in training."""
    from huggingface_hub import EvalResult, ModelCardData

    data = facts.data
    results = [
        EvalResult(
            task_type=predictor.data.task,
            dataset_type=Path(data["manifest"]).stem,
            dataset_name=data["manifest"],
            dataset_split=split,
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for split, entry in facts.scores.items()
        for metric, value in entry["metrics"].items()
        if data and value is not None and split not in used
    ]
    kinds = dict.fromkeys(source.kind for source in predictor.data.modalities.values())
    values = ModelCardData(
        library_name="locomt",
        license=facts.license,
        tags=["locomt", "multimodal", predictor.data.task, *kinds],
        model_name=title if results else None,
        eval_results=results or None,
    )
    return f"---\n{values.to_yaml()}\n---\n"


def _use(predictor: Predictor, repo: str | None) -> list[str]:
    place = repo or "this folder"
    item = example_item(predictor.data)
    return [
        "With the Python package `locomt`:",
        *("", "```python", "import locomt", ""),
        f'model = locomt.from_pretrained("{place}")',
        *(f"print(model.predict({item}))", "```", ""),
        f"or `locomt predict {repo or 'FOLDER'} FILE`. The weights alone: `locomt.FusionModel.from_pretrained`.",
        "Loading runs no code.",
    ]


def example_item(data: DataConfig) -> str:
    """What stands for a sample, in Python: a file where one holds all modalities, else one of each."""
    sources = data.modalities
    columns = {source.column for source in sources.values()}
    if len(columns) == 1 and all(source.names_file for source in sources.values()):
        return f'"{EXAMPLES[next(iter(sources.values())).kind]}"'
    first: dict[str, str] = {}  # what stands for a column, out of which several may be read
    for source in sources.values():
        first.setdefault(source.column, EXAMPLES.get(source.kind, "some text"))
    files = {name: first[source.column] for name, source in sources.items()}
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in files.items()) + "}"


def _inputs(data: DataConfig) -> list[str]:
    rows = []
    for name, source in data.modalities.items():
        values = {f: v for f, v in asdict(source).items() if f not in ("column", "encoder") and v not in (None, "")}
        if values.get("tokenizer", "bytes") != "bytes":
            values["tokenizer"] = "in this folder"
        rows.append((name, source.kind, ", ".join(f"{field} {value}" for field, value in values.items())))
    lines = [*_table(("modality", "kind", "read with"), rows)]
    if data.crop is not None:
        lines += ["", f"{data.crop:g} seconds at a time, {data.clips} of them averaged."]
    if data.seconds is not None:
        lines += ["", f"The first {data.seconds:g} seconds, an answer every {data.step:g} seconds."]
    return [*lines, "", "A modality may be missing: the answer is then to the others, and says so."]


def _outputs(predictor: Predictor) -> list[str]:
    task, labels = predictor.data.target, predictor.labels
    each = "Of each step" if task.stepwise else "Of a sample"
    if not task.has_classes:
        return [f"{each} a number."]
    if task.in_time:
        return [f"Events with their start, end and mean probability. They are {_named(labels)}"]
    if task.several:
        told = "Each has a probability of its own; tables of answers give those from 0.5."
        return [f"{each} any of {_named(labels)}", "", told]
    return [f"{each} one of {_named(labels)}"]


def _data(facts: Facts, config: DataConfig) -> list[str]:
    data = facts.data
    if not data:
        return ["Not known: the manifest was gone when this was written."]
    splits = {config.train_split: "training", config.val_split: "chooses the epoch"}
    rows = [(split, f"{count:,}", splits.get(split, "")) for split, count in data["samples"].items()]
    lines = [*_table(("split", "samples", "for"), rows), ""]
    lines += [f"The manifest `{data['manifest']}` has the SHA-256 `{data['sha256']}`. The data are not part of this."]
    classes = data["classes"]
    if 0 < len(classes) <= MOST:
        used = list(data["samples"])
        counts = [(name, *(f"{found.get(split, 0):,}" for split in used)) for name, found in classes.items()]
        lines += ["", *_table(("class", *used), counts)]
    return lines


def _scores(facts: Facts, recipe: Recipe, summary: Mapping[str, Any]) -> list[str]:
    if not facts.scores:
        return ["None: there was no validation split, and `locomt evaluate` was not run."]
    rows, alone = [], []
    for split, entry in facts.scores.items():
        for metric, value in entry["metrics"].items():
            low, high = entry["intervals"].get(metric, (None, None))
            between = "" if low is None else f"{_number(low)} to {_number(high)}"
            rows.append((split, metric, _number(value), between, f"{entry['samples']:,}"))
        for part, metrics in entry["alone"].items():
            alone += [(split, part, metric, _number(value)) for metric, value in metrics.items()]
    lines = [*_table(("split", "metric", "value", "95 % interval", "n"), rows), ""]
    lines += ["Intervals take samples to be independent; where there is none it was not computed."]
    if recipe.data.val_split in facts.scores:
        lines += [f"`{recipe.data.val_split}` chose the epoch, so its scores flatter the model."]
    if alone:
        lines += ["", "What the model answers to one modality with the others missing:", ""]
        lines += _table(("split", "modality", "metric", "value"), alone)
    if line := of_run(summary, recipe) if "monitor" in summary else "":
        lines += ["", f"{line}."]
    return lines


def _cost(predictor: Predictor) -> list[str]:
    config = predictor.model.config
    cost = flops(config)
    tokens = ", ".join(f"{name} {count}" for name, count in config.layout.as_dict().items())
    lines = [
        f"{parameters(config):,} parameters. A full-length sample ({tokens} tokens) takes {cost.total / 1e9:.3g} "
        f"GFLOPs forward, {cost.attention / 1e9:.3g} of them attention (a multiply-add is 2).",
    ]
    if len(config.modalities) < 2:
        return [*lines, "One modality alone: there is nothing to fuse, and no guarantee to give."]
    if config.view_table() is None:
        return [*lines, "Bottlenecks fuse the modalities; the guarantee is about view tables."]
    bounds = guarantee(config)
    pairs = bounds.total
    lines += ["", "Score pairs of one sample, all heads of all fusion layers:", ""]
    heads = ("this model", "self-attention alone", f"{bounds.bottlenecks} bottlenecks", "all with all")
    lines += _table(heads, [tuple(f"{n:,}" for n in (pairs.locomt, pairs.self, pairs.bottle, pairs.multi))])
    if bounds.holds:
        return [*lines, "", "The guarantee holds: this model <= self-attention < bottlenecks < all with all."]
    bound = ["This model costs no more than self-attention alone."] if pairs.locomt <= pairs.self else []
    return [*lines, "", *bound, *(f"{sentence}." for sentence in bounds.broken)]


def _views(predictor: Predictor) -> list[str]:
    config = predictor.model.config
    if len(config.modalities) < 2:
        return ["One modality looks at itself."]
    if (table := config.view_table()) is None:
        return [f"In {config.fusion_layers} fusion layers each modality and the bottlenecks look at each other."]
    about = "A line a fusion layer, from the lowest; how many heads have which view."
    if not table.layers:
        about = "No layer is fused: the head reads all modalities."
    lines = [about, "", "```", *str(table).splitlines(), "```"]
    if config.apart:
        lines += ["", "The answer is put together from each modality looked at with the others missing."]
    if config.shares:
        told = ", ".join(f"{name} {share:.3g}" for name, share in config.shares.items())
        lines += ["", f"Their shares in the answer: {told}."]
    return lines


def _limits(predictor: Predictor, facts: Facts, recipe: Recipe, summary: Mapping[str, Any]) -> list[str]:
    data, test = recipe.data, facts.scores.get(recipe.data.test_split)
    lines = ["It knows no other outputs than those above, and answers whatever it is given by one of them."]
    if not predictor.data.target.has_classes:
        lines = ["It answers whatever it is given by a number."]
    elif predictor.data.target.several:
        lines = ["It knows no other labels than those above."]
    lines += ["Nothing is known of data from elsewhere: other recordings, devices, speakers or languages."]
    if test is None:
        lines += ["It was not scored on data that had no say in its training."]
    elif test["samples"] < FEW:
        lines += [f"It was tested on {test['samples']} samples, which say little."]
    if count := facts.data.get("samples", {}).get(data.train_split):
        lines += [f"It was trained on {count:,} samples, one run with seed {recipe.train.seed}: another differs."]
    if missing := summary.get("missing"):
        told = ", ".join(f"{count:,} without {name}" for name, count in missing.items())
        lines += [f"Samples that lacked something were used without it: {told}."]
    if "diverged" in summary:
        lines += [f"Training did not end well: {summary['diverged']}."]
    return [f"- {line}" for line in lines] + ["", f"Made by locomt {locomt.__version__}."]


def _named(labels: Sequence[str]) -> str:
    shown = ", ".join(f"`{_cell(label)}`" for label in labels[:MOST])
    if len(labels) <= MOST:
        return f"{len(labels)} labels: {shown}."
    return f"{len(labels):,} labels, all of which are in `{PREDICTOR}`: {shown} and so on."


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _cell(text: str) -> str:
    """As it can stand in a table: labels may hold anything."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _number(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def licensed(facts: Facts, license: str | None, repo: str | None) -> Facts:
    """The same under a licence and an id on the hub, where they are given."""
    return replace(facts, license=license or facts.license, repo=repo or facts.repo)
