"""What an epoch draws: everything once, or classes evenly; the same again for the same seed and epoch."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from locomt.data import DataConfig, ManifestDataset
from locomt.train.sampling import EpochSampler, balancing_weights


def dataset(tmp_path: Path, labels: list[str], task: str = "multiclass") -> ManifestDataset:
    rows = [f"{n},train,{label},some words" for n, label in enumerate(labels)]
    (tmp_path / "m.csv").write_text("\n".join(["id,split,label,title", *rows]))
    source = {"title": {"kind": "text", "column": "title", "max_length": 4}}
    config = DataConfig(manifest=str(tmp_path / "m.csv"), task=task, modalities=source)
    return ManifestDataset(config, "train", ["a", "b", "c"])


def test_shuffled_takes_every_sample_once_in_an_order_of_the_epoch() -> None:
    sampler = EpochSampler(50, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_balanced_draws_classes_evenly(tmp_path: Path) -> None:
    labels = ["a"] * 90 + ["b"] * 9 + ["c"]
    data = dataset(tmp_path, labels)
    weights = balancing_weights(data, ["a", "b", "c"])
    totals = [weights[[n for n, label in enumerate(labels) if label == name]].sum() for name in "abc"]
    torch.testing.assert_close(torch.stack(totals), torch.ones(3, dtype=torch.float64))
    sampler = EpochSampler(100, 0, weights)
    drawn: Counter[str] = Counter()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == 100
        drawn.update(labels[n] for n in order)
    assert all(abs(drawn[name] - 1000) < 120 for name in "abc")  # four standard deviations are 103
    assert list(sampler) == order


def test_labels_of_a_sample_add_up_and_bad_rows_weigh_little(tmp_path: Path) -> None:
    data = dataset(tmp_path, ["a;b", "a", "a", ";", "nonsense"], "multilabel")
    weights = balancing_weights(data, ["a", "b", "c"])
    torch.testing.assert_close(weights, torch.tensor([1 / 3 + 1, 1 / 3, 1 / 3, 1 / 3, 1 / 3], dtype=torch.float64))


def test_numbers_cannot_be_balanced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs classes"):
        balancing_weights(dataset(tmp_path, ["1.5"], "regression"), [])


def test_a_short_epoch_takes_other_samples_each_time() -> None:
    sampler = EpochSampler(50, seed=3, draws=20)
    seen = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(set(sampler)) == len(sampler) == 20
        assert set(sampler) <= set(range(50))
        seen.append(list(sampler))
    assert seen[0] != seen[1]
    assert len(EpochSampler(50, seed=3, draws=60)) == 50  # no sample comes twice
    balanced = EpochSampler(2, 0, torch.tensor([1.0, 1.0]), draws=60)
    assert len(list(balanced)) == len(balanced) == 60
