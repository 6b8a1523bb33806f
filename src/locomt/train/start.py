"""Training that goes on from the weights of finished runs: all of one, be it under another view table, or towers."""

from __future__ import annotations

from pathlib import Path

from locomt.hints import in_short
from locomt.nn.model import FusionModel
from locomt.train.run_directory import RunDirectory, RunError, flatten


def model_folder(source: str | Path, field: str) -> str:
    """The folder of the model of a finished run; what is no run, as it is.

    Raises:
        RunError: the run has not finished; names the recipe's field.
    """
    run = RunDirectory(Path(source))
    if run.holds_run and not run.finished:
        raise RunError(f"{field}: the run in {source} has not finished; go on with `locomt train ... --resume`")
    return str(run.model if run.finished else source)


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
    folder = Path(model_folder(source, "train.start"))
    if not folder.is_dir():
        raise RunError(f"train.start: expected a finished run or the folder of a saved model, got {source}")
    trained = FusionModel.from_pretrained(folder)
    try:
        model.load_state_dict(trained.state_dict())
    except RuntimeError:  # names every weight there is
        raise RunError(
            f"train.start: the weights of {source} do not fit this model: {_unlike(model, trained)}"
        ) from None


WEIGHTLESS = (
    *("views", "strategy", "cross", "views_seed"),
    *("on_missing", "head_init", "dropout", "token_dropout", "drop_path"),
)
"""Fields of a model that its weights do not depend on."""


def _unlike(model: FusionModel, trained: FusionModel) -> str:
    """What differs: the fields of the two models, those that concern all of it first; else the weights themselves."""
    now, had = (flatten(own.config.untrained().to_dict()) for own in (model, trained))
    same = WEIGHTLESS if "mbt" in (now["fusion"], had["fusion"]) else (*WEIGHTLESS, "fusion", "bottlenecks")
    fields = [name for name in (now | had) if name not in same and now.get(name) != had.get(name)]
    fields.sort(key=lambda name: name.startswith("modalities."))
    shapes = [{name: list(weight.shape) for name, weight in own.state_dict().items()} for own in (model, trained)]
    wanted, came = shapes
    odd = [name for name in (wanted | came) if wanted.get(name) != came.get(name)]
    odd.sort(key=lambda name: name.endswith("positions"))  # which would be resized, were the rest alike
    count = f"{len(odd)} of {len(wanted | came)} weights differ"
    if fields:
        told = [
            f"{name} {now.get(name, 'none')!r}, they were trained with {had.get(name, 'none')!r}" for name in fields
        ]
    else:
        told = [f"expected {name} {wanted.get(name, 'not at all')}, got {came.get(name, 'none')}" for name in odd]
    return f"{in_short(told)}; {count}; start from a run of this size and fusion"
