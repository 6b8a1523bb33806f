"""Labelled clips to a trained, scored and reported model."""

from __future__ import annotations

import json
import math
import os
import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from locomt import cautions
from locomt.compare.compare import Comparison, all_models, compare, metric_of, parts_of
from locomt.compare.doubts import of_runs
from locomt.data import label_list
from locomt.data.dataset import File
from locomt.data.manifest import read_manifest
from locomt.data.overview import manifest_cautions
from locomt.data.shards.index import INDEX
from locomt.data.shards.prepare import REPORT as REPORTED
from locomt.data.shards.prepare import prepare
from locomt.files import write_text
from locomt.lock import LOCK, locked
from locomt.nn.checkpoint import read_json
from locomt.quick.page import write_page
from locomt.quick.plan import MANIFEST, make_plan, on_shards
from locomt.quick.rate import find_rate
from locomt.quick.sizes import Runs
from locomt.quick.source import read_source
from locomt.quick.views import find_views, tables_for
from locomt.report.answers import Answers
from locomt.train.config import RecipeError
from locomt.train.ensemble import write_members
from locomt.train.evaluation import Run, evaluate, predict
from locomt.train.recipe import Recipe
from locomt.train.runs import Runner, device_of, torch_threads

RESULTS, REPORT, RECIPE = "fit.json", "report.html", "recipe.yaml"
ANEW, ON_TOP, FOUND = "models", "from-parts", "found-views"
"""Groups of runs: models from nothing, the fused model that starts from each modality alone, and that of views found by
a search."""
WAYS = {ON_TOP: " from its parts", FOUND: " with found views"}
TOGETHER, SEARCH = "kept", "search"
"""The folder that stands for all seeds of the model that is kept, and that of the search."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How much is tried.

    Attributes:
        seeds: of every model; the kept one answers by their mean.
        on_top: whether the fused model is also started from the modalities alone.
        search: whether views are searched for it.
        minutes: on a CPU, and on a GPU.
    """

    seeds: int
    on_top: bool
    search: bool
    minutes: tuple[float, float]


PRESETS = {
    "quick": Preset(seeds=1, on_top=False, search=False, minutes=(3, 10)),
    "good": Preset(seeds=1, on_top=True, search=False, minutes=(10, 30)),
    "best": Preset(seeds=3, on_top=True, search=True, minutes=(30, 90)),
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
        test = self.results["kept"]["test"]
        value = "undefined" if test is None else f"{test:.3f}"
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
        workers: processes that read the files. With some, a script has to begin in `if __name__ == "__main__":`, since
            each of them imports it.
    """

    say: Callable[[str], object] = lambda line: None
    caution: Callable[[Iterable[str]], object] = lambda lines: None
    runner: Callable[[int], Runner] = lambda threads: Runner(threads=threads)
    workers: int = 0


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
    if not 0 < minutes < math.inf:
        raise RecipeError(f"minutes: expected a number above 0, got {minutes:g}")
    source = Path(source)
    out = Path("runs", source.resolve().stem) if out is None else Path(out)
    if not source.exists():
        raise FileNotFoundError(f"expected a folder of clips or a table of them, but there is no {source}")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise RecipeError(f"{out} lies within the folder of clips, where it would be taken for a class; name another")
    asked = {
        "source": os.path.abspath(source), "minutes": minutes, "preset": preset, "task": task, "seed": seed
    }  # fmt: skip
    with locked(out, "shards"), torch_threads(_threads()):
        recipe, labels, tables = _ready(source, out, asked, effort, told)
        results = _train(recipe, labels, tables, out, effort, seed, told)
    return Fitted(out, results)


def _ready(
    source: Path, out: Path, asked: Mapping[str, Any], effort: Preset, told: Told
) -> tuple[Recipe, tuple[str, ...], int]:
    """Plan, decode and find a rate, or find that done: the recipe, the classes, and how many view tables are tried.
    Sizes follow from timings, so a plan is made once and kept."""
    base, note = out / "plan.yaml", out / "asked.json"
    before: dict[str, Any] = {}
    if note.is_file():
        before = _asked_before(note)
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

        _check_same(source, out)
        recipe = load_recipe(base)
        told.say(f"{out} is begun already: going on with {base}")
        if (out / RESULTS).is_file():
            told.say("it was finished: nothing is trained anew")
        if failed := read_json(out / "shards" / REPORTED).get("failed"):
            told.say(f"{len(failed)} things could not be read then; if they were mended since, remove {out}")
        return recipe, tuple(label_list(recipe.data)), int(before.get("tables", 0))
    runs = Runs(seeds=effort.seeds, fused=effort.seeds * (1 + effort.on_top + effort.search))
    plan = make_plan(source, out, minutes=asked["minutes"], runs=runs, task=asked["task"], seed=asked["seed"])
    tables = 0
    if effort.search and len(plan.recipe.data.modalities) > 1:
        tables = tables_for(60 * asked["minutes"] - plan.seconds, plan.another)
    write_text(note, json.dumps({**asked, "tables": tables}, indent=2) + "\n")
    plan = replace(plan, seconds=plan.seconds + tables * plan.another)
    for line in plan.lines(asked["minutes"]):
        told.say(line)
    if effort.search:
        told.say(f"views: {tables} tables are tried" if tables else "views: no time to search any; the usual ones")
    told.caution([*plan.doubts, *manifest_cautions(plan.recipe.data)])
    report = prepare(plan.recipe.data, out / "shards", plan.storage, workers=told.workers, retry=True)
    if lost := report["samples"] - report["whole"]:
        told.say(f"{lost} of {report['samples']} samples could not be read, see {out / 'shards' / 'report.json'}")
    recipe = on_shards(plan.recipe, out / "shards" / INDEX)
    rate = find_rate(recipe, list(plan.labels))
    told.say(f"learning rate {rate:g}, by a range test")
    recipe = replace(recipe, train=replace(recipe.train, learning_rate=rate))
    write_text(base, recipe.to_yaml(out))
    return recipe, plan.labels, tables


def _asked_before(note: Path) -> dict[str, Any]:
    """What was asked when the folder was begun.

    Raises:
        RecipeError: the file holds something else.
    """
    values = read_json(note)
    if not isinstance(values.get("tables", 0), int):
        raise RecipeError(
            f"{note}: expected tables to be a whole number, got {values['tables']!r}; remove {note.parent}"
        )
    return values


def _check_same(source: Path, out: Path) -> None:
    """Check that the source has the samples that were dealt out when the folder was begun.

    Raises:
        RecipeError: it has others.
    """
    now, then = ({row.id for row in rows} for rows in (read_source(source), read_manifest(out / MANIFEST)))
    if now != then:
        differing = sorted(now ^ then)
        raise RecipeError(
            f"{source} has {len(now - then)} samples that {out / MANIFEST} lacks, and lacks {len(then - now)} of it, "
            f"such as {differing[0]!r}; name another folder or remove {out}"
        )


def _threads() -> int:
    """How many a small model is trained with: one, where threads that wait would take the time of those that work."""
    return torch.get_num_threads() if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else 1


def _train(
    recipe: Recipe, labels: tuple[str, ...], tables: int, out: Path, effort: Preset, seed: int, told: Told
) -> dict[str, Any]:
    seeds, runner = tuple(range(seed, seed + effort.seeds)), told.runner(torch.get_num_threads())
    fused = recipe.model.fusion
    parts = parts_of(recipe, fused) if len(recipe.data.modalities) > 1 else ()
    models = (*parts, fused) if parts else all_models(recipe)
    comparisons = [Comparison(name=ANEW, recipe=recipe, models=models, seeds=seeds)]
    if effort.on_top and len(parts) > 1:
        comparisons.append(
            Comparison(
                name=ON_TOP, recipe=recipe, models=(fused,), seeds=seeds, by_seed=_from_parts(recipe, parts, out, seeds)
            )
        )
    tried = None
    if tables and len(parts) > 1:
        found_views, tried = find_views(recipe, out / SEARCH, tables, runner)
        if found_views.model.views != str(recipe.fusion_config(labels).view_table()):
            comparisons.append(Comparison(name=FOUND, recipe=found_views, models=(fused,), seeds=seeds))
    document = compare(comparisons, out, runner)
    found = _scores(document, recipe)
    chosen = min(found, key=lambda name: found[name]["order"])
    directory = Path(found[chosen]["runs"][0])
    if len(seeds) > 1:
        write_members(out / TOGETHER, list(map(Path, found[chosen]["runs"])))
        directory = out / TOGETHER
    kept, answers = Run.load(directory), Answers(recipe.data.target)
    scores = evaluate(kept, device=device_of(recipe), on_answers=answers.add)
    together = {"seeds": len(seeds), "test": scores["metrics"][comparisons[0].metric]}
    text = kept.recipe.to_yaml(out)
    command = shlex.join(["locomt", "train", str(out / RECIPE)])
    write_text(
        out / RECIPE,
        f"# Made by `locomt fit`; trains the model that it kept, {chosen}, once more:\n#   {command}\n"
        + ("" if len(seeds) == 1 else f"# It kept {len(seeds)} of them; the others have a config.yaml in their runs.\n")
        + text,
    )
    results = {
        "chosen": chosen,
        "run": os.path.relpath(directory, out),
        "metric": comparisons[0].metric,
        "judge": f"val_{recipe.monitor}",
        "kept": together,
        "scores": {name: {"test": entry["test"], "val": entry["val"]} for name, entry in found.items()},
        **document,
        "cautions": _cautions(document, recipe, {name: entry["test"] for name, entry in found.items()}, chosen),
    }
    write_members(out, [member.path for member in kept.members])  # so that the folder can be used as a run
    write_text(out / RESULTS, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    write_page(
        out / REPORT,
        kept,
        results,
        scores,
        answers,
        lead=[why(results)],
        commands=[
            ("labels for files, such as your own", shlex.join(["locomt", "predict", str(directory), "FILE"])),
            ("how well it does on another split", shlex.join(["locomt", "evaluate", str(directory), "--split", "val"])),
            ("train the kept model once more", command),
        ],
        ways=WAYS,
        tried=tried,
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
    several = results["kept"]["seeds"]
    how = f", and answers by the mean of its {several} runs" if several > 1 else ""
    return f"{results['chosen']} is kept: the best {judge} ({told}){how}."


def _from_parts(recipe: Recipe, parts: Sequence[str], out: Path, seeds: Sequence[int]) -> dict[int, Recipe]:
    """Seed -> the recipe that starts each modality from the run of it alone with that seed."""
    return {
        seed: replace(
            recipe,
            train=replace(
                recipe.train,
                pretrained={part: os.path.abspath(out / ANEW / part / f"seed-{seed}") for part in parts},
            ),
        )
        for seed in seeds
    }


def _scores(document: Mapping[str, Any], recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Model -> its mean scores on validation and test, its runs, the best seed first, and its place among the models:
    by what the recipe monitors, then by the loss, on the validation split alone."""
    judge, sign = f"val_{recipe.monitor}", -1 if recipe.monitor_mode == "max" else 1
    found = {}
    for row in document["models"]:
        name = row["name"] + WAYS.get(row["recipe"], "")
        runs = [run for run in document["runs"] if (run["recipe"], run["name"]) == (row["recipe"], row["name"])]
        places = [_place(run["best_epoch"], judge, sign) for run in runs]
        values = [run["best_epoch"].get(judge) for run in runs]
        found[name] = {
            "order": tuple(map(statistics.fmean, zip(*places, strict=True))),
            "runs": [run["directory"] for _, run in sorted(zip(places, runs, strict=True), key=lambda one: one[0])],
            "val": statistics.fmean(values) if all(value is not None for value in values) else None,
            "test": row["mean"],
        }
    return found


def _place(row: Mapping[str, Any], judge: str, sign: int) -> tuple[float, float]:
    """The less, the better."""
    first, loss = row.get(judge), row.get("val_loss")
    return math.inf if first is None else sign * first, math.inf if loss is None else loss
