"""Seconds of the first forward and backward of every case in a fresh process: compiling, autotuning, loading.

python benchmarks/first_call.py auto    # {"<case>": seconds}; the import of torch and CUDA's start are not in it
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from cases import cases
from contenders import draw, view

LONGEST = 180  # seconds until a process is taken to hang


def first_calls(backend: str, cache: Path) -> dict[str, dict[str, float]]:
    """By case: with the empty folder `cache` as Triton's cache, and in a process after that, which finds it filled."""
    found = {}
    for state in ("empty_cache", "filled_cache"):
        done = subprocess.run(
            [sys.executable, __file__, backend],
            env={**os.environ, "TRITON_CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=LONGEST,
        )
        found[state] = json.loads(done.stdout)
    return found


def main() -> None:
    torch.zeros(1, device="cuda")
    seconds = {}
    for case in cases("cuda"):
        contender = view(case, draw(case, "cuda"), sys.argv[1])
        torch.cuda.synchronize()
        start = time.perf_counter()
        contender.both()
        torch.cuda.synchronize()
        seconds[case.name] = round(time.perf_counter() - start, 3)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
