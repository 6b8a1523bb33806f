"""Fixtures and rules for all tests: no network, no deadlines, real data and GPUs only where they are."""

import atexit
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
STATE = tempfile.TemporaryDirectory(prefix="locomt-state-")
atexit.register(STATE.cleanup)
os.environ["XDG_STATE_HOME"] = STATE.name  # where the key of the user's own runs is: not in anybody's home
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read where Triton is imported: its kernels then run on the CPU
os.fsync = lambda descriptor: None  # no test cuts the power, and a disk takes milliseconds for every file
settings.register_profile("locomt", deadline=None)  # nothing asserts time: machines differ
settings.load_profile("locomt")

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    fuzz = parser.getgroup("fuzz", "damaged input, see tests/fuzz")
    fuzz.addoption("--fuzz-seconds", type=float, help="search for so long in all, with a new seed")
    fuzz.addoption("--fuzz-seed", type=int, help="of the inputs (0, or a new one where a time is given)")
    fuzz.addoption("--fuzz-input", help="read this folder again instead, an input that was at fault")
    fuzz.addoption("--fuzz-folder", help="where the inputs go, those at fault into faults/ (a temporary folder)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_data = pytest.mark.skip(reason=f"needs the real data sets in {SHARED_DATA}")
    no_gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
            item.add_marker(no_data)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)


def pytest_collection_finish() -> None:
    """What has been imported stays, so that the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def short_timing() -> Iterator[None]:
    """Models are timed over no more rounds than it takes, where how fast they are is not the question."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("locomt.compare.results", "locomt.cli.cost"):
            patch.setattr(f"{name}.SECONDS", 0.0)
        yield


@pytest.fixture
def shared_data() -> Path:
    """The real data sets; for tests marked `shared_data`."""
    return SHARED_DATA
