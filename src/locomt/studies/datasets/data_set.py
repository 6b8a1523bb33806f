"""A data set of the studies: how its data are made, from a seed or from real data, and its recipe."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from locomt.files import replacing, write_text
from locomt.progress import stage
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import build_recipe

MADE = "made.json"
"""The file with the settings that a folder was made with. It is written last; then the folder gets its final name."""

Settings = Mapping[str, Any]
"""The settings of the data, in plain JSON types."""


class DataSetError(ValueError):
    """A data set cannot be made."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set of the studies and how models are trained on it.

    Attributes:
        name: its name in commands, tables and folders.
        about: one sentence: what is asked, and from what.
        settings: full -> the settings of the data.
        write: (folder, folder of real data or None, settings) -> None. It writes `manifest.csv` and what that names.
        recipe: full -> the sections of the recipe; `data.manifest` is relative to the folder.
        needs: what it needs that is not in the package; None if everything is drawn from the seed.
    """

    name: str
    about: str
    settings: Callable[[bool], Settings]
    write: Callable[[Path, Path | None, Settings], None]
    recipe: Callable[[bool], Mapping[str, Mapping[str, Any]]]
    needs: str | None = None

    def prepare(self, folder: Path, full: bool, data: Path | None = None) -> Recipe:
        """Make the data, unless they are there, and write their `recipe.yaml`, which all commands take.

        The folder appears when it is complete. The same settings give the same bytes.

        Args:
            folder: where the data go. It does not exist yet, or this method made it with the same settings.
            full: make all of it; otherwise a few samples, which show in seconds that everything works.
            data: the folder of real data sets; used only if `needs` is not None.

        Raises:
            DataSetError: the folder holds something else, or what the data set needs is missing.
        """
        wanted = {"task": self.name, **self.settings(full)}
        found = _made_with(folder)
        if found is None:
            if folder.exists():
                raise DataSetError(
                    f"{folder} holds something else than data made here; name another folder or remove it"
                )
            with stage(f"making data set {self.name}", "samples"), replacing(folder) as temporary:
                temporary.mkdir()
                self.write(temporary, data, self.settings(full))
                write_text(temporary / MADE, json.dumps(wanted, indent=2) + "\n")
        elif found != json.loads(json.dumps(wanted)):
            name = next(name for name in {**wanted, **found} if found.get(name) != wanted.get(name))
            raise DataSetError(
                f"{folder} holds data made with {name} {found.get(name)!r}, not {wanted.get(name)!r}; name another "
                "folder or remove this one"
            )
        recipe = build_recipe({name: dict(section) for name, section in self.recipe(full).items()}, self.name)
        manifest = (folder / recipe.data.manifest).absolute()
        recipe = replace(recipe, data=replace(recipe.data, manifest=str(manifest)))
        head = f"# {self.about}\n# The data beside this file were made for it; docs/studies/data.md tells how.\n"
        write_text(folder / "recipe.yaml", head + recipe.to_yaml(folder))
        return recipe


def _made_with(folder: Path) -> Any:
    try:
        return json.loads((folder / MADE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_manifest(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write `manifest.csv` with the columns of the first row."""
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def training(full: bool, *, epochs: int, batch_size: int) -> dict[str, Any]:
    """The section `train` that the drawn data sets share. It has a single epoch unless `full`."""
    return {
        "epochs": epochs if full else 1,
        "batch_size": batch_size,
        "optimizer": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 0.05,
        "warmup_epochs": 0.5 if full else 0.0,
        "unimodal_loss": 0.0,  # as all results of the studies were made: tables are compared by the joint loss alone
        "accelerator": "cpu",
        "logger": "none",
    }


def real_data(data: Path | None, name: str, folder: str, what: str) -> Path:
    """The folder of a real data set.

    Raises:
        DataSetError: it is missing.
    """
    if data is None or not (data / folder).is_dir():
        place = "no folder of real data was given" if data is None else f"there is no folder {data / folder}"
        raise DataSetError(f"data set {name} needs {what} in a folder {folder}/ of the real data, but {place}")
    return data / folder
