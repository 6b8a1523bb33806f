"""Why fewer FLOPs may take more time: said on every page that shows both."""

from __future__ import annotations


def attention_line(total: float, attention: float) -> str:
    """How much of a model's cost views can save, and why that may not be time.

    Args:
        total, attention: of one sample, in GFLOPs.
    """
    return (
        f"A sample takes {total:.3g} GFLOPs, {attention / total:.1%} of them in attention, which is all that views "
        "save. Where that share is small LoCoMT can be slower than attention of all with all: several small calls take "
        "longer than a large one."
    )
