"""The table of a comparison as text, the same on a terminal and in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Entry = Mapping[str, Any]


def rows_of(recipe: Entry, document: Entry) -> list[Entry]:
    """The rows of a recipe's table: its models, and the late average of the modalities alone if there is one."""
    rows = [*document["models"], *document.get("averages", [])]  # older documents have no averages
    return [row for row in rows if row["recipe"] == recipe["name"]]


def cells_of(row: Entry) -> tuple[str, ...]:
    """A row as text: name, score, GFLOPs, attention GFLOPs, latency in ms, peak memory in MiB, parameters."""
    return (
        row["name"],
        spread(row["mean"], row["std"]),
        f"{row['gflops']:.4g}",
        f"{row['attention_gflops']:.4g}",
        f"{row['latency_ms']:.2f}",
        f"{row['peak_memory_bytes'] / 2**20:.1f}",
        f"{row['parameters']:,}",
    )


def spread(mean: float | None, std: float | None, *, digits: int = 3) -> str:
    """`0.953 ± 0.012`: the mean, and the sample standard deviation over the seeds if there are several."""
    if mean is None:
        return "undefined"
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"
