"""Labelled clips to a trained, scored and reported model."""

from __future__ import annotations

import json
import math
import os
import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from locomt import cautions
from locomt.compare.compare import Comparison, all_models, compare, metric_of, parts_of
from locomt.compare.doubts import of_runs
from locomt.compare.report import write_report
from locomt.data import label_list
from locomt.data.dataset import File
from locomt.data.overview import manifest_cautions
from locomt.data.shards.index import INDEX
from locomt.data.shards.prepare import prepare
from locomt.files import write_text
from locomt.lock import LOCK, locked
from locomt.quick.plan import MANIFEST, make_plan, on_shards
from locomt.quick.rate import find_rate
from locomt.train.config import RecipeError
from locomt.train.evaluation import Run, evaluate, predict
from locomt.train.recipe import Recipe
from locomt.train.runs import Runner

RESULTS, REPORT, RECIPE = "fit.json", "report.html", "recipe.yaml"
ANEW, ON_TOP = "models", "from-parts"
"""Groups of runs: models from nothing, and the fused model that starts from each modality alone."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How much is tried.

    Attributes:
        seeds: of every model.
        on_top: whether the fused model is also started from the modalities alone.
        minutes: on a CPU, and on a GPU.
    """

    seeds: int
    on_top: bool
    minutes: tuple[float, float]


PRESETS = {
    "quick": Preset(seeds=1, on_top=False, minutes=(3, 10)),
    "good": Preset(seeds=1, on_top=True, minutes=(10, 30)),
    "best": Preset(seeds=3, on_top=True, minutes=(30, 90)),
}


@dataclass(frozen=True)
class Fitted:
    """What a fit left behind.

    Attributes:
        path: its folder: `manifest.csv`, `shards/`, a folder for every model, `recipe.yaml`, `fit.json`,
            `report.html`.
        results: what `fit.json` holds: `chosen` (the model that is kept), `run` (its folder), `why`, `cautions`, and
            what `locomt.compare.compare.compare` returned.
    """

    path: Path
    results: Mapping[str, Any]

    def __repr__(self) -> str:
        row = self.results["scores"][self.results["chosen"]]
        value = "undefined" if row["test"] is None else f"{row['test']:.3f}"
        return f"Fitted({str(self.path)!r}, {self.results['chosen']}, test {self.results['metric']} {value})"

    @cached_property
    def run(self) -> Run:
        """The run that is kept."""
        return Run.load(self.path / self.results["run"])

    def predict(self, items: File | Iterable[File], *, top: int = 5) -> list[dict[str, Any]]:
        """Labels for a file or several, as `locomt.train.predict`."""
        return predict(self.run, items, top=top)

    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Scores on a split, as `locomt.train.evaluate`."""
        return evaluate(self.run, split)

    def report(self) -> Path:
        """The page that tells of all models."""
        return self.path / REPORT


@dataclass(frozen=True, kw_only=True)
class Told:
    """Who is told how far a fit is: nobody unless said otherwise.

    Attributes:
        say: told a line.
        caution: told why results say little, some lines of it before training and all of them after it.
        runner: what does the runs, of so many threads.
    """

    say: Callable[[str], object] = lambda line: None
    caution: Callable[[Iterable[str]], object] = lambda lines: None
    runner: Callable[[int], Runner] = lambda threads: Runner(threads=threads)


def fit(
    source: str | Path,
    out: str | Path | None = None,
    *,
    minutes: float | None = None,
    preset: str = "good",
    task: str | None = None,
    seed: int = 0,
    told: Told | None = None,
) -> Fitted:
    """Train a model on labelled clips without a recipe: each modality alone and all of them fused, the best of which on
    the validation split is kept.

    Args:
        source: a folder of files for each class (within folders of splits if there are some), a table (CSV, JSON lines,
            Parquet) with a column `label`, or a folder in the layout of `datasets`. A column `group` keeps samples of
            one speaker or recording within one split.
        out: the folder of all that is made; `runs/` and the source's name where left out. What was done in it before
            is not done again.
        minutes: that training may take; of `preset` where left out. Sizes follow from it.
        preset: `quick`, `good` or `best`, see `PRESETS`.
        task: a name in `locomt.tasks.TASKS`; from the labels' form where left out.
        seed: of splits and training.
        told: who is told how far it is.

    Raises:
        ValueError: the source or an option cannot serve, or `out` holds something else.
        OSError: a file cannot be read or written.
    """
    told = told or Told()
    if preset not in PRESETS:
        raise RecipeError(f"preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    effort = PRESETS[preset]
    minutes = effort.minutes[torch.cuda.is_available()] if minutes is None else minutes
    if not minutes > 0:
        raise RecipeError(f"minutes: expected above 0, got {minutes:g}")
    source = Path(source)
    out = Path("runs", source.resolve().stem) if out is None else Path(out)
    if not source.exists():
        raise FileNotFoundError(f"expected a folder of clips or a table of them, but there is no {source}")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise RecipeError(f"{out} lies within the folder of clips, where it would be taken for a class; name another")
    asked = {
        "source": os.path.abspath(source), "minutes": minutes, "preset": preset, "task": task, "seed": seed
    }  # fmt: skip
    with locked(out, "shards"):
        recipe, labels = _ready(source, out, asked, effort, told)
        results = _train(recipe, labels, out, effort, seed, told)
    return Fitted(out, results)


def _ready(
    source: Path, out: Path, asked: Mapping[str, Any], effort: Preset, told: Told
) -> tuple[Recipe, tuple[str, ...]]:
    """Plan, decode and find a rate, or find that done. Sizes follow from timings, so a plan is made once and kept."""
    base, note = out / "plan.yaml", out / "asked.json"
    if note.is_file():
        before = json.loads(note.read_text(encoding="utf-8"))
        if differing := [name for name in asked if before.get(name) != asked[name]]:
            name = differing[0]
            raise RecipeError(
                f"{out} holds a fit with {name} {before.get(name)!r}, now it is {asked[name]!r}; name another "
                "folder or remove it"
            )
    elif any(path.name not in (LOCK, MANIFEST) for path in out.iterdir()):
        raise RecipeError(f"{out} holds something else than a fit; name another folder")
    if base.is_file():
        from locomt.train.recipe_file import load_recipe

        recipe = load_recipe(base)
        told.say(f"{out} is begun already: going on with {base}")
        return recipe, tuple(label_list(recipe.data))
    models = effort.seeds * (2 if effort.on_top else 1)
    plan = make_plan(source, out, minutes=asked["minutes"], models=models, task=asked["task"], seed=asked["seed"])
    write_text(note, json.dumps(dict(asked), indent=2) + "\n")
    for line in plan.lines(asked["minutes"]):
        told.say(line)
    told.caution(manifest_cautions(plan.recipe.data))
    report = prepare(plan.recipe.data, out / "shards", plan.storage, workers=os.cpu_count() or 0)
    if lost := report["samples"] - report["whole"]:
        told.say(f"{lost} of {report['samples']} samples could not be read, see {out / 'shards' / 'report.json'}")
    recipe = on_shards(plan.recipe, out / "shards" / INDEX)
    rate = find_rate(recipe, list(plan.labels))
    told.say(f"learning rate {rate:g}, by a range test")
    recipe = replace(recipe, train=replace(recipe.train, learning_rate=rate))
    write_text(base, recipe.to_yaml(out))
    return recipe, plan.labels


def _train(recipe: Recipe, labels: tuple[str, ...], out: Path, effort: Preset, seed: int, told: Told) -> dict[str, Any]:
    seeds = tuple(range(seed, seed + effort.seeds))
    fused = recipe.model.fusion
    parts = parts_of(recipe, fused) if len(recipe.data.modalities) > 1 else ()
    models = (*parts, fused) if parts else all_models(recipe)
    comparisons = [Comparison(name=ANEW, recipe=recipe, models=models, seeds=seeds)]
    if effort.on_top and len(parts) > 1:
        towers = {part: os.path.abspath(out / ANEW / part / f"seed-{seed}") for part in parts}
        on_top = replace(recipe, train=replace(recipe.train, pretrained=towers))
        comparisons.append(Comparison(name=ON_TOP, recipe=on_top, models=(fused,), seeds=seeds))
    document = compare(comparisons, out, told.runner(torch.get_num_threads()))
    found = _scores(document, recipe)
    chosen = min(found, key=lambda name: found[name]["order"])
    directory = Path(found[chosen]["run"])
    kept = Run.load(directory)
    text = kept.recipe.to_yaml(out)
    command = shlex.join(["locomt", "train", str(out / RECIPE)])
    write_text(
        out / RECIPE,
        f"# Made by `locomt fit`; trains the model that it kept, {chosen}, once more:\n#   {command}\n{text}",
    )
    results = {
        "chosen": chosen,
        "run": os.path.relpath(directory, out),
        "metric": comparisons[0].metric,
        "judge": f"val_{recipe.monitor}",
        "scores": {name: {"test": entry["test"], "val": entry["val"]} for name, entry in found.items()},
        **document,
        "cautions": _cautions(document, recipe, {name: entry["test"] for name, entry in found.items()}, chosen),
    }
    write_text(out / RESULTS, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    write_report(
        results,
        out / REPORT,
        title=f"{out.name}: {chosen} is kept",
        commands=[
            ("labels for files, such as your own", shlex.join(["locomt", "predict", str(directory), "FILE"])),
            ("how well it does on each class", shlex.join(["locomt", "evaluate", str(directory)])),
            ("train the kept model once more", command),
        ],
        about=[why(results)],
    )
    return results


def _cautions(
    document: Mapping[str, Any], recipe: Recipe, scores: Mapping[str, float | None], chosen: str
) -> list[str]:
    first, metric = document["models"][0], metric_of(recipe)
    better = recipe.data.target.monitors[metric]
    return [
        *manifest_cautions(recipe.data),
        *(cautions.of_seeds(first["seeds"]) if len(scores) > 1 else []),
        *cautions.of_ties(scores, samples=first["samples"], better=better, name=chosen),
        *(line for entry in document["recipes"] for line in of_runs(document, entry["name"])),
    ]


def why(results: Mapping[str, Any]) -> str:
    """Which model is kept, and by what, in a sentence."""
    judge = results["judge"]
    told = ", ".join(
        f"{name} {'undefined' if score['val'] is None else format(score['val'], '.3f')}"
        for name, score in results["scores"].items()
        if score["val"] is not None or name == results["chosen"]
    )
    return f"{results['chosen']} is kept: the best {judge} ({told})."


def _scores(document: Mapping[str, Any], recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Model -> its mean scores on validation and test, the run of its best seed, and its place among the models: by
    what the recipe monitors, then by the loss, on the validation split alone."""
    judge, sign = f"val_{recipe.monitor}", -1 if recipe.monitor_mode == "max" else 1
    found = {}
    for row in document["models"]:
        name = row["name"] + (" from its parts" if row["recipe"] == ON_TOP else "")
        runs = [run for run in document["runs"] if (run["recipe"], run["name"]) == (row["recipe"], row["name"])]
        places = [_place(run["best_epoch"], judge, sign) for run in runs]
        values = [run["best_epoch"].get(judge) for run in runs]
        found[name] = {
            "order": tuple(map(statistics.fmean, zip(*places, strict=True))),
            "run": runs[places.index(min(places))]["directory"],
            "val": statistics.fmean(values) if all(value is not None for value in values) else None,
            "test": row["mean"],
        }
    return found


def _place(row: Mapping[str, Any], judge: str, sign: int) -> tuple[float, float]:
    """The less, the better."""
    first, loss = row.get(judge), row.get("val_loss")
    return math.inf if first is None else sign * first, math.inf if loss is None else loss
