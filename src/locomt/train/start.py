"""Training that goes on from the weights of a finished run, be it under another view table."""

from __future__ import annotations

from pathlib import Path

from locomt.nn.model import FusionModel
from locomt.train.files import RunDirectory, RunError


def fill_from_run(model: FusionModel, source: str | Path) -> None:
    """Give a model all weights of a trained one.

    Views have no weights of their own, so that models of one size differ in nothing else: Multiall's weights fit any
    view table. Positions are resized where the token grids differ.

    Args:
        model: the model, in place.
        source: a finished run, or a folder that `save_pretrained` wrote.

    Raises:
        RunError: there is no such model, or its weights do not fit.
    """
    run = RunDirectory(Path(source))
    if run.holds_run and not run.finished:
        raise RunError(f"train.start: the run in {source} has not finished; go on with `locomt train ... --resume`")
    folder = run.model if run.finished else run.path
    if not folder.is_dir():
        raise RunError(f"train.start: expected a finished run or the folder of a saved model, got {source}")
    trained = FusionModel.from_pretrained(folder)
    try:
        model.load_state_dict(trained.state_dict())
    except RuntimeError:  # names every weight there is
        own, had = model.state_dict(), trained.state_dict()
        odd = sorted(own.keys() ^ had.keys()) or [name for name in own if own[name].shape != had[name].shape]
        raise RunError(
            f"train.start: the weights of {source} do not fit this model, which is of another size or fusion: {odd[0]} "
            f"is not there in both with one shape{f', nor are {len(odd) - 1} others' if odd[1:] else ''}"
        ) from None
