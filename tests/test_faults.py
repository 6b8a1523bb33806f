"""What the machine lacks: one line with exit code 1, nothing half-written; mistakes and bugs stay what they are."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from feature_project import make_project
from locomt import faults
from locomt.cli.main import main
from locomt.data import ManifestDataset
from locomt.files import make_directory, write_text
from locomt.train import fit, load_recipe

resource = pytest.importorskip("resource")
SAID = ("device: ", "model: ", "data: ", "training: ", "3 classes, ", "caution: ", "an epoch takes about ")
"""What begins the lines before training, and after the first steps."""

Command = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", epochs=1)


@pytest.fixture
def locomt(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> tuple[int, str, list[str]]:
        code = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def in_a_worker(action: Callable[[], object]) -> Callable[[ManifestDataset, Any], Any]:
    """`ManifestDataset.__getitem__` that does something else in a process of its own."""
    get, parent = ManifestDataset.__getitem__, os.getpid()

    def item(self: ManifestDataset, index: Any) -> Any:
        if os.getpid() != parent:
            action()
        return get(self, index)

    return item


CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1 GiB is free."
)
CPU = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
WORKER = "Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: No space left on device; make room there"),
        (OSError(errno.ENOSPC, "No space left on device"), "run: No space left on device; make room there"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "run: No space"),
        (OSError(errno.EMFILE, "Too many open files"), "too few file descriptors, "),
        (OSError(WORKER + "OSError: [Errno 24] Too many open files: 'x.npy'"), "too few file descriptors, "),
        (RuntimeError("received 0 items of ancdata"), "too few file descriptors, "),
        (torch.OutOfMemoryError(CUDA), "the GPU's memory ran out asking for 20.00 GiB (9 GiB); lower train.batch_size"),
        (RuntimeError(f"{CPU}4096000000 bytes. Error code 12"), "memory ran out asking for 3.8 GiB (9 GiB); lower"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "the GPU's memory ran out (9 GiB)"),
        (MemoryError("Unable to allocate 7.45 TiB for an array with shape (1,)"), "memory ran out asking for 7.45 TiB"),
        (MemoryError(), "memory ran out (9 GiB); lower"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "a worker process was killed (Kil"),
        (RuntimeError("DataLoader worker (pid(s) 1, 2) exited unexpectedly"), "a worker process died (9 GiB); most"),
        (BrokenProcessPool("A process in the process pool was terminated abruptly"), "a worker process died (9 GiB)"),
        (
            RuntimeError("unable to write to file </torch_1_2>: No space left on device (28)"),
            "shared memory (/dev/shm)",
        ),
        (RuntimeError("DataLoader worker (pid 1) is killed by signal: Bus error. It is"), "shared memory (/dev/shm)"),
        (RuntimeError("can't start new thread"), "no further process or thread can be started; raise"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (FileNotFoundError(2, "No such file", "out of memory.mp4"), None),
        (PermissionError(13, "Permission denied", "a"), None),
    ],
)
def test_what_is_told_of_an_error(error: Exception, line: str | None) -> None:
    told = faults.describe(error, "run", lambda: "9 GiB")
    assert (told is None) if line is None else (told is not None and told.startswith(line))


@pytest.mark.parametrize("most", [10, 40_000])  # neither the recipe can be written, or no checkpoint
def test_a_disk_that_fills(most: int, recipe: Path, locomt: Command, tmp_path: Path) -> None:
    with limited(resource.RLIMIT_FSIZE, most):
        code, out, err = locomt("train", recipe, "--run", "run")
    written = [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()]
    name = "" if most == 10 else "/checkpoints/best.ckpt"  # the lock comes first
    assert (code, out) == (1, "")
    assert err[-1].startswith(f"locomt train: run{name}: File too large; make room there")
    assert all(line.startswith(SAID) for line in err[:-1])
    assert sorted(written) == ([] if most == 10 else ["config.yaml", "labels.json", "metrics.csv", "origin"])
    assert locomt("train", recipe, "--run", "run", "--resume")[0] == 0


def test_a_file_that_cannot_be_written_is_named_by_its_own_name(tmp_path: Path) -> None:
    with limited(resource.RLIMIT_FSIZE, 10), pytest.raises(OSError, match="File too large") as error:
        write_text(tmp_path / "a.txt", "x" * 100)
    assert error.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="cannot create this directory"):
        make_directory(tmp_path / "file" / "a" / "b")


def test_a_worker_that_is_killed(
    recipe: Path, locomt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ManifestDataset, "__getitem__", in_a_worker(lambda: os.kill(os.getpid(), signal.SIGKILL)))
        code, out, err = locomt("train", recipe, "--run", "run", "--data.workers", "1")
    assert (code, out) == (1, "")
    assert all(line.startswith(SAID) for line in err[:-1])
    assert err[-1].startswith("locomt train: a worker process ")
    assert "(training with 5 samples at once is estimated to need " in err[-1]
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert locomt("train", recipe, "--run", "run", "--resume")[0] == 0


def test_a_bug_in_a_worker_stays_one(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ManifestDataset, "__getitem__", in_a_worker(bug))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train", str(recipe), "--run", str(tmp_path / "run"), "--data.workers", "1"])


def test_descriptors_that_run_out_are_no_fault_of_the_samples(recipe: Path) -> None:
    data = load_recipe(recipe).data
    (recipe.parent / "train1_motion.npy").rename(recipe.parent / "train1.npy")
    np.savez(recipe.parent / "train1_motion.npz", vectors=np.load(recipe.parent / "train1.npy"))
    manifest = Path(data.manifest)
    manifest.write_text(manifest.read_text().replace("train1_motion.npy", "train1_motion.npz"))
    dataset, held = ManifestDataset(data, "train", ["left", "right", "up"]), []
    assert dataset[0].inputs
    assert dataset[1].inputs
    with limited(resource.RLIMIT_NOFILE, 200):
        for _ in range(200):  # until there are none left
            with suppress(OSError):
                held.append(os.open(os.devnull, os.O_RDONLY))
        try:
            for place in (0, 1):
                with pytest.raises(faults.MachineError, match=r"too few file descriptors, 200 a process; raise"):
                    dataset[place]
        finally:
            for number in held:
                os.close(number)


def test_memory_that_runs_out_is_told_with_the_need(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from locomt.train.module import FusionModule

    def step(self: FusionModule, *_: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(FusionModule, "training_step", step)
    with pytest.raises(faults.MachineError) as error:
        fit(load_recipe(recipe), tmp_path / "run")
    line = str(error.value)
    assert line.startswith(
        "memory ran out asking for 1,073,741,824.0 GiB (training with 5 samples at once is estimated"
    )
    assert line.endswith("resuming goes on after the last checkpoint")
