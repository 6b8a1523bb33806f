"""Steps of several batches: they come to what one batch of all their samples comes to, also when stopped."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from locomt.train import fit, load_recipe
from locomt.train.run_directory import RunDirectory

STILL = ["--model.dropout", "0", "--model.drop_path", "0"]  # what is drawn for every batch
BAD = ["--data.max_bad", "0.4", "--train.weight_decay", "0.1"]


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize(
    ("batch", "accumulate", "bad"),
    [
        (4, 2, ()),  # steps of 4 + 4 and 4
        (5, 3, ()),  # 5 + 5 + 2
        (5, 3, (3, 7)),
        (1, 4, (0, 3, 4)),  # batches without a sample: first, last and only ones of a step
        (1, 2, range(4)),
    ],
)
def test_it_comes_to_what_one_batch_comes_to(
    make_project: Callable[..., Path], tmp_path: Path, batch: int, accumulate: int, bad: tuple[int, ...]
) -> None:
    project = make_project(epochs=3)
    for number in bad:
        (project.parent / f"train{number}_motion.npy").unlink()
    small = ["--train.batch_size", str(batch), "--train.accumulate", str(accumulate)]
    steps: list[tuple[int, int]] = []
    fit(load_recipe(project, [*STILL, *BAD, *small]), tmp_path / "small", on_step=lambda *step: steps.append(step))
    large = ["--train.batch_size", str(batch * accumulate)]
    fit(load_recipe(project, [*STILL, *BAD, *large]), tmp_path / "large")
    total = 3 * -(-12 // (batch * accumulate))
    assert steps == [(step, total) for step in range(1, total + 1)]
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("small", "large")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-6)
    histories = [RunDirectory(tmp_path / name).read_history() for name in ("small", "large")]
    for one, other in zip(*histories, strict=True):
        assert one.keys() == other.keys()
        assert {**one, "seconds": 0.0} == pytest.approx({**other, "seconds": 0.0}, rel=1e-4)


@pytest.mark.parametrize("views", ["fixed", "learned"])
def test_it_goes_on_after_a_step(views: str, make_project: Callable[..., Path], tmp_path: Path) -> None:
    """Six batches an epoch, two steps of four and two; there is dropout."""
    project = make_project(epochs=3, batch_size=2, accumulate=4, checkpoint_minutes=1e-9, views=views)
    fit(load_recipe(project), tmp_path / "whole")

    def stop_at(step: int) -> Callable[[int, int], None]:
        def on_step(done: int, total: int) -> None:
            assert total == 6
            if done == step:
                raise PowerCut

        return on_step

    for step in (2, 4):  # before what is kept of it: amid the first epoch, and between two
        with pytest.raises(PowerCut):
            fit(load_recipe(project), tmp_path / "cut", resume=True, on_step=stop_at(step))
    kept = torch.load(tmp_path / "cut" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (kept["global_step"], kept["SplitsModule"]["batches_done"]) == (3, 4)
    fit(load_recipe(project), tmp_path / "cut", resume=True)
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]
    histories = [RunDirectory(tmp_path / name).read_history() for name in ("whole", "cut")]
    for one, other in zip(*histories, strict=True):
        assert {**one, "seconds": None} == {**other, "seconds": None}
