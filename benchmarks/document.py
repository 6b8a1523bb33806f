"""The JSON documents that benchmarks leave in `results/`."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
MACHINE = ("device", "torch", "triton", "cudnn", "python")
"""What has to be the same for figures to stand in one document."""

Document = dict[str, Any]


def machine(device: str) -> Document:
    """What a reader must know to repeat a figure."""
    about: Document = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python " + " ".join([Path(sys.argv[0]).as_posix(), *_without_out(sys.argv[1:])]),
        "device": torch.cuda.get_device_name() if device != "cpu" else f"{torch.get_num_threads()} CPU threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device != "cpu":
        about |= {"triton": _version("triton"), "cudnn": torch.backends.cudnn.version()}
    return about


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _without_out(arguments: list[str]) -> list[str]:
    """The arguments but for where the results went, which is nobody else's business."""
    place = arguments.index("--out") if "--out" in arguments else len(arguments)
    return arguments[:place] + arguments[place + 2 :]


def default_path(device: str, what: str) -> Path:
    """`results/h200-attention.json` on an NVIDIA H200, `results/cpu-attention.json` on a CPU."""
    name = "cpu" if device == "cpu" else torch.cuda.get_device_name().removeprefix("NVIDIA ").lower().replace(" ", "-")
    return RESULTS / f"{name}-{what}.json"


def read(path: Path) -> Document:
    document: Document = json.loads(path.read_text())
    return document


def same_machine(one: Document, other: Document) -> bool:
    return all(one.get(key) == other.get(key) for key in MACHINE)


def merged(old: Document, new: Document) -> Document:
    """Both documents' cases, a case that both have as it is in `new`; for parts of one benchmark on one machine.

    Raises:
        ValueError: the machines or versions differ.
    """
    if not same_machine(old, new):
        raise ValueError("documents of different machines or versions cannot be merged")
    cases = {case["name"]: case for case in (*old["cases"], *new["cases"])}
    commands = dict.fromkeys((*old["command"].split(" && "), new["command"]))
    return {**old, **new, "command": " && ".join(commands), "cases": list(cases.values())}


def write(path: Path, document: Document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"wrote {path}", flush=True)
