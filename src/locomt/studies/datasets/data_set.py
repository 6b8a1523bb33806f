"""What a data set of the studies is: data made from a seed, or from real data, and the recipe for them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from locomt.files import replacing, write_text
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import build_recipe

MADE = "made.json"
"""What a folder was made with; written last, inside the folder that is then renamed into its place."""

Settings = Mapping[str, Any]
"""Of the data: plain JSON types."""


class DataSetError(ValueError):
    """A data set that cannot be had."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set of the studies and how models are trained on it.

    Attributes:
        name: in commands, tables and folders.
        about: one sentence on what is asked and from what.
        settings: whether in full -> the settings of the data.
        write: (folder, real data or None, settings) -> None; writes `manifest.csv` and what it names.
        recipe: whether in full -> the sections of the recipe, `data.manifest` relative to the folder.
        needs: what it takes that is not in the package; None where everything is drawn from the seed.
    """

    name: str
    about: str
    settings: Callable[[bool], Settings]
    write: Callable[[Path, Path | None, Settings], None]
    recipe: Callable[[bool], Mapping[str, Mapping[str, Any]]]
    needs: str | None = None

    def prepare(self, folder: Path, full: bool, data: Path | None = None) -> Recipe:
        """Make the data, or find them made, and write `recipe.yaml` beside them, which all commands take.

        The folder appears once it is whole. The same settings give the same bytes.

        Args:
            folder: where the data go; not there yet, or made by this before with the same settings.
            full: all of it, or as little as shows that everything works, in seconds.
            data: the folder of real data sets; looked into where `needs` is not None.

        Raises:
            DataSetError: the folder holds something else, or what the data set needs is not there.
        """
        wanted = {"task": self.name, **self.settings(full)}
        found = _made_with(folder)
        if found is None:
            if folder.exists():
                raise DataSetError(
                    f"{folder} holds something else than data made here; name another folder or remove it"
                )
            with replacing(folder) as temporary:
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
    """`manifest.csv`, with the columns of the first row."""
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def training(full: bool, *, epochs: int, batch_size: int) -> dict[str, Any]:
    """The section `train` that the drawn data sets share: one epoch where not in full."""
    return {
        "epochs": epochs if full else 1,
        "batch_size": batch_size,
        "optimizer": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 0.05,
        "warmup_epochs": 0.5 if full else 0.0,
        "accelerator": "cpu",
        "tensorboard": False,
    }


def real_data(data: Path | None, name: str, folder: str, what: str) -> Path:
    """The folder of a data set among the real ones.

    Raises:
        DataSetError: it is not there.
    """
    if data is None or not (data / folder).is_dir():
        place = "no folder of real data was given" if data is None else f"there is no folder {data / folder}"
        raise DataSetError(f"data set {name} needs {what} in a folder {folder}/ of the real data, but {place}")
    return data / folder
