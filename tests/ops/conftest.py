"""Tests are tiny, and tiny attention takes a path of its own on a CPU: here it is taken where a test asks for it."""

from collections.abc import Callable, Iterator

import pytest

from locomt.ops.sdpa import parts


@pytest.fixture(autouse=True)
def one_call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Says whether backend `sdpa` makes one call with a mask on a CPU, or those of the plan: at first these."""

    def choose(masked: bool) -> None:
        monkeypatch.setattr(parts, "CALL_FLOPS", 1e30 if masked else 0.0)
        monkeypatch.setattr(parts, "COPY_FLOPS", 0.0)
        parts._mask_pays.cache_clear()

    choose(False)
    yield choose
    parts._mask_pays.cache_clear()
