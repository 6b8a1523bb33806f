"""The clips of the demonstration as a data set; see `locomt.demo.clips`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from locomt.studies.datasets.data_set import DataSet, Settings

# PyAV is imported only to make this data set: the others do not need it.


def settings(full: bool) -> dict[str, Any]:
    from locomt.demo.clips import Clips
    from locomt.demo.demo import FAST, FULL

    size = FULL if full else FAST
    return asdict(Clips(train=size.train, val=size.val, test=size.test, size=32, frames=8))


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    from locomt.demo.clips import Clips, make_clips

    make_clips(folder / "clips", Clips(**settings))


def recipe(full: bool) -> dict[str, Any]:
    from locomt.demo.demo import FAST, FULL, recipe_text

    sections: dict[str, Any] = yaml.safe_load(recipe_text(FULL if full else FAST, ""))
    sections["train"] |= {"accelerator": "cpu", "unimodal_loss": 0.0}
    return sections


DATA_SET = DataSet(
    name="clips",
    about="Which of four labels a colour and a tone make together, in encoded clips with sound.",
    settings=settings,
    write=write,
    recipe=recipe,
)
