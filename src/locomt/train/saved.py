"""Reading `last.ckpt` and `best.ckpt`, which may be damaged or of another run: named before anything is done."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from locomt.train.bad import is_log
from locomt.train.run_directory import RunError

AGAIN = "put back a copy of it, or remove the run's directory and train anew"
WEIGHTS = {"state_dict": dict, "epoch": int, "global_step": int, "pytorch-lightning_version": str}
STATE = {"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list, "train_loss": Tensor}
"""What a checkpoint holds of the weights, and what one that training goes on from holds besides."""
UNREADABLE = (
    *(RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, ArithmeticError, AssertionError),
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What `torch.load` raises for files that are not whole or of another kind."""


def one_line(error: Exception) -> str:
    """The first line of what another library says."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def load_checkpoint(path: str | Path, map_location: Any = "cpu", *, weights: bool = False) -> dict[str, Any]:
    """A checkpoint of a run, read without running code.

    Args:
        path: the file.
        map_location: as for `torch.load`.
        weights: whether the weights alone are wanted.

    Raises:
        RunError: it is not whole, or something else.
        OSError: it cannot be read.
    """
    try:
        # torch reads a file with a flipped bit without a word; what it falls back on where there is no zip is obscure.
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is not as it was written")
        found = torch.load(path, map_location, weights_only=True)
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.filename:  # else a directory of the zip leads out of it
            raise
        reason = "it holds more than numbers" if isinstance(error, pickle.UnpicklingError) else one_line(error)
        raise RunError(f"{path}: not a whole checkpoint ({reason}); {AGAIN}") from None
    if not isinstance(found, dict):
        raise RunError(f"{path}: expected a checkpoint, got {type(found).__name__}; {AGAIN}")
    for name, kind in (WEIGHTS if weights else WEIGHTS | STATE).items():
        if not isinstance(value := found.get(name), kind):
            came = "none" if value is None else type(value).__name__
            raise RunError(f"{path}: expected {name}, a {kind.__name__}, in the checkpoint, got {came}; {AGAIN}")
    return found


def check_last(path: Path, wanted: dict[str, Tensor]) -> None:
    """Raises `RunError` where training cannot go on from `last.ckpt` with weights such as those wanted."""
    found = load_checkpoint(path)
    check_weights(path, found["state_dict"], wanted)
    check_state(path, found)


def check_weights(path: str | Path, found: Mapping[str, Any], wanted: dict[str, Tensor]) -> None:
    """Raises `RunError` where a checkpoint's weights are not those of the model, by the first that differs."""
    for name in wanted | dict(found):
        have, here = found.get(name), wanted.get(name)
        came = f"of shape {list(have.shape)}" if isinstance(have, Tensor) else f"{have!r:.60}"
        if here is None:
            raise RunError(f"{path}: holds {name!r:.100}, which this run's model has not; {AGAIN}")
        if not isinstance(have, Tensor) or have.shape != here.shape:
            raise RunError(f"{path}: expected {name} of shape {list(here.shape)}, got it {came}; {AGAIN}")


def check_state(path: str | Path, found: Mapping[str, Any]) -> None:
    """Raises `RunError` where what training goes on from is not what it wrote."""
    for name in ("optimizer_states", "lr_schedulers"):
        if len(found[name]) != 1 or not isinstance(found[name][0], dict):
            raise RunError(f"{path}: expected one state in {name}, got {found[name]!r:.60}; {AGAIN}")
    optimizer = found["optimizer_states"][0]
    state, groups = optimizer.get("state"), optimizer.get("param_groups")
    whole = isinstance(state, dict) and isinstance(groups, list) and all(map(_is_group, groups))
    if not whole or not all(isinstance(entry, dict) for entry in state.values()):
        raise RunError(f"{path}: expected the optimizer's state and param_groups, got {optimizer!r:.60}; {AGAIN}")
    if not isinstance(found["loops"].get("fit_loop"), dict):
        raise RunError(f"{path}: expected the state of the fit_loop, got {found['loops']!r:.60}; {AGAIN}")
    if not isinstance(found["lr_schedulers"][0].get("last_epoch"), int):
        raise RunError(f"{path}: expected the schedule's last_epoch, got {found['lr_schedulers'][0]!r:.60}; {AGAIN}")
    keeper = found["callbacks"].get("EpochKeeper")
    keeper = keeper if isinstance(keeper, dict) else {}
    begun, rows = keeper.get("begun"), keeper.get("rows")
    if not isinstance(begun, dict) or not isinstance(begun.get("seconds"), float) or not is_log(begun):
        raise RunError(f"{path}: expected what an epoch had begun with, got {begun!r:.60}; {AGAIN}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"epoch", "step"} <= row.keys() for row in rows):
        raise RunError(f"{path}: expected the rows of the epochs that are done, got {rows!r:.60}; {AGAIN}")
    for number, row in enumerate(rows, start=1):
        for name, value in row.items():
            if not isinstance(name, str) or not (value is None or isinstance(value, int | float)):
                raise RunError(f"{path}: epoch {number}: expected numbers, got {name!r:.60} {value!r:.60}; {AGAIN}")
    place = found.get("SplitsModule")
    numbers = [place.get(name) for name in ("epoch", "batches_done", "samples")] if isinstance(place, dict) else [None]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise RunError(f"{path}: expected the place in the data in SplitsModule, got {place!r:.100}; {AGAIN}")


def _is_group(value: Any) -> bool:
    """Whether a value can be one of an optimizer's `param_groups`."""
    return isinstance(value, dict) and isinstance(value.get("params"), list)
