"""Damaged checkpoints are named in one line; a flipped bit is damage too."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from feature_project import make_project
from locomt.train import fit, load_recipe
from locomt.train.run_directory import RunDirectory, RunError


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A recipe and its run, which ended before its model was exported."""
    folder = tmp_path_factory.mktemp("stopped")
    recipe = load_recipe(make_project(folder / "project", "multiclass"))
    fit(recipe, folder / "run")
    shutil.rmtree(folder / "run" / "model")
    return recipe, folder / "run"


@pytest.fixture
def run(stopped: tuple[Any, Path], tmp_path: Path) -> Path:
    """A copy of it, as far from the data as it is."""
    return Path(shutil.copytree(stopped[1], stopped[1].parent / tmp_path.name))


@pytest.fixture
def resume(stopped: tuple[Any, Path], run: Path) -> Callable[[], object]:
    return lambda: fit(stopped[0], run, resume=True)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def kept(checkpoint: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A checkpoint with something else of what was kept of the epochs."""
    return checkpoint | {"callbacks": {"EpochKeeper": checkpoint["callbacks"]["EpochKeeper"] | changes}}


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_files_that_are_not_whole(resume: Callable[[], object], run: Path, name: str) -> None:
    path = run / "checkpoints" / name
    whole = path.read_bytes()
    for content in (b"", whole[:5000], whole[: len(whole) // 2], b"abc" * 999, pickle.dumps({"a": 1}), flipped(whole)):
        path.write_bytes(content)
        with pytest.raises(RunError, match=rf"{name}: not a whole checkpoint \(.*\); put back a copy") as caught:
            resume()
        assert "\n" not in str(caught.value)
    torch.save(run, path)  # a class, which would run code
    with pytest.raises(RunError, match="it holds more than numbers"):
        resume()


def test_a_file_that_lacks_a_byte(resume: Callable[[], object], run: Path) -> None:
    """What stands at its end then leads to a place in front of it."""
    path = run / "checkpoints" / "last.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[:82] + content[83:])
    with pytest.raises(RunError, match=f"{path}: not a whole checkpoint"):
        resume()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("last.ckpt", lambda c: [c], "expected a checkpoint, got list"),
        ("last.ckpt", lambda c: c | {"epoch": "two"}, "expected epoch, a int, in the checkpoint, got str"),
        ("last.ckpt", lambda c: {k: v for k, v in c.items() if k != "loops"}, "expected loops, a dict, .* got none"),
        ("last.ckpt", lambda c: c | {"optimizer_states": []}, r"expected one state in optimizer_states, got \[\]"),
        (
            "last.ckpt",
            lambda c: c | {"optimizer_states": [{"state": {}, "param_groups": [3]}]},
            "expected the optimizer's state and param_groups",
        ),
        ("last.ckpt", lambda c: kept(c, rows=[1]), r"expected the rows .* got \[1\]"),
        ("last.ckpt", lambda c: kept(c, rows=[{}]), r"expected the rows .* got \[{}\]"),
        ("last.ckpt", lambda c: kept(c, rows=[{"epoch": 1, "step": "x"}]), "epoch 1: expected numbers"),
        ("last.ckpt", lambda c: kept(c, begun=None), "expected what an epoch had begun with, got None"),
        ("last.ckpt", lambda c: c | {"lr_schedulers": [{}]}, "expected the schedule's last_epoch, got {}"),
        ("last.ckpt", lambda c: c | {"SplitsModule": {"epoch": -1}}, "expected the place in the data"),
        ("last.ckpt", lambda c: c | {"state_dict": {"x": torch.zeros(1)}}, "expected model.* of shape .* got it None"),
        (
            "best.ckpt",
            lambda c: c | {"state_dict": c["state_dict"] | {"model.head.weight": torch.zeros(9, 9)}},
            r"expected head\.weight of shape \[3, 16\], got it of shape \[9, 9\]",
        ),
    ],
)
def test_files_of_another_kind(
    resume: Callable[[], object], run: Path, name: str, change: Callable[[Any], Any], message: str
) -> None:
    path = run / "checkpoints" / name
    torch.save(change(torch.load(path, weights_only=True)), path)
    with pytest.raises(RunError, match=f"{name}: {message}"):
        resume()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.json", b"[1, 2]", "expected names of labels, got 1 at place 1"),
        ("labels.json", b'["a", "a"]', "the label 'a' is there more than once"),
        ("labels.json", b"\xff", "not valid JSON"),
        ("labels.json", b"[" * 100_000, "not valid JSON"),
        ("labels.json", b"{}", "expected a list, got {}"),
        ("summary.json", b"{}", "expected monitor, a str, got 'nothing'"),
        ("summary.json", b'{"monitor": "x", "epoch": 1, "skipped": []}', "expected skipped, a int"),
        ("summary.json", b'{"monitor": "x", "epoch": 1, "skipped": 0, "loss": [1]}', "expected 'loss' to be a number"),
    ],
)
def test_what_stands_beside_them(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    run = RunDirectory(tmp_path)
    with pytest.raises(RunError, match=f"{name}: {message}"):
        run.read_labels() if name == "labels.json" else run.read_summary()
