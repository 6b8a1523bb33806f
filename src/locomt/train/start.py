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
        raise RunError(
            f"train.start: the weights of {source} do not fit this model: {_unlike(model, trained)}"
        ) from None


def _unlike(model: FusionModel, trained: FusionModel) -> str:
    """The first weight that does not fit, and how many more there are."""
    shapes = [{name: list(weight.shape) for name, weight in own.state_dict().items()} for own in (model, trained)]
    wanted, had = shapes
    odd = [name for name in (wanted | had) if wanted.get(name) != had.get(name)]
    odd.sort(key=lambda name: name.endswith("positions"))  # which would be resized, were the rest alike
    first, more = odd[0], f" (and {len(odd) - 1} more)" if odd[1:] else ""
    came = f"expected {first} {wanted.get(first, 'not at all')}, got {had.get(first, 'none')}{more}"
    return f"{came}; start from a run of this size and fusion"
