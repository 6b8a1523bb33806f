"""What tests of prepared shards share: how the clips of `conftest.py` are read and stored; what a folder holds."""

from pathlib import Path
from typing import Any

from locomt.data.shards.storage import Storage

MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 3, "size": 32, "patch": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 0.5, "mels": 32},
    "lips": {"kind": "features", "column": "lips", "dim": 3, "max_length": 4},
    "title": {"kind": "text", "column": "title", "max_length": 8},
}
EXACT = Storage(images="png", sound="npy", samples=3)
SAMPLES = 14


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
