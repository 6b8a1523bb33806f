"""How samples are dealt out to splits: `data.split`."""

from __future__ import annotations

from dataclasses import dataclass

from locomt.require import require


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How samples are dealt out to splits, whatever the manifest's column `split` says: see `locomt.data.dealing`.

    Attributes:
        val, test: the share of the samples that goes to the split; 0 for none, and null for those rows that the
            manifest's column `split` has in it. What is left is the training split.
        seed: of the order in which samples or groups are dealt.
        table: a CSV file with columns `id` and `split`, such as a run's `splits.csv`, that says where each sample is:
            then nothing is dealt, and a sample that it lacks is in no split.
    """

    val: float | None = 0.2
    test: float | None = 0.2
    seed: int = 0
    table: str | None = None

    def __post_init__(self) -> None:
        for name in ("val", "test"):
            share = getattr(self, name)
            given = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share < 1
            require(share is None or given, f"{name}: expected a share in [0, 1) or null, got {share!r}")
        require(
            (self.val or 0) + (self.test or 0) < 1, f"val {self.val} and test {self.test} leave nothing to train on"
        )
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        require(whole and 0 <= self.seed < 2**32, f"seed: expected a whole number from 0, got {self.seed!r}")
        require(
            self.table is None or (isinstance(self.table, str) and bool(self.table)),
            f"table: expected the name of a file, got {self.table!r}",
        )
