"""Answers of an exported model without torch: NumPy, PyAV and ONNX Runtime alone.

bundle = locomt.runtime.load("bundle")
bundle.predict("clip.mp4")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from locomt.runtime.bundle_error import BundleError

if TYPE_CHECKING:
    from locomt.runtime.bundle import Bundle

__all__ = ["BundleError", "load"]


def load(folder: str | Path) -> Bundle:
    """A bundle that `locomt export` wrote.

    Raises:
        BundleError: it is none, not whole, changed since, of another version, or of a form that is not run here.
    """
    from locomt.runtime.bundle import Bundle  # what it needs takes longer to import than all else

    return Bundle.load(Path(folder))
