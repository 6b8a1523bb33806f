"""What a page says about where its figures come from."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import torch

import locomt
from locomt.files import fingerprint
from locomt.train.evaluation import Run


def provenance(run: Run, split: str, samples: int) -> dict[str, str]:
    """Name -> text: version, data, recipe, seed, samples and machine of a run's evaluation."""
    recipe = run.recipe
    text = recipe.to_yaml(run.path)
    return {
        "locomt": version(),
        "run": str(run.path),
        "data": data_of(recipe.data.manifest),
        "split": f"{split}, n = {samples:,}",
        "recipe": f"{recipe.model.fusion}, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}",
        "seed": ", ".join(str(member.recipe.train.seed) for member in run.members),
        "machine": machine(),
    }


def version() -> str:
    """Of this package, and the commit where it is in a checkout."""
    return locomt.__version__ + (f", commit {commit}" if (commit := _commit()) else "")


def data_of(manifest: str) -> str:
    """A manifest by name and fingerprint; what was made of it may be looked at when it is gone."""
    path = Path(manifest)
    return f"{manifest}, SHA-256 {fingerprint(path)[:16]}" if path.exists() else f"{manifest}, which is not there now"


def machine() -> str:
    """Of this process: torch, Python and what it computes on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    system = f"{platform.system()} {platform.machine()}"
    return f"{device}, {system}, torch {torch.__version__}, Python {platform.python_version()}"


def _commit() -> str:
    """Of the checkout that this package is in, with a mark where it was changed; empty where it is in none."""
    folder = Path(__file__).parent
    if not (folder.parents[2] / ".git").exists():
        return ""
    try:
        words = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
