"""Batches: padding, lengths, missing modalities, and bad samples set apart."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from locomt.data import BadSample, Batch, DataConfig, Sample, collate

MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "v", "frames": 2, "size": 8, "patch": 4},
    "audio": {"kind": "audio", "column": "a", "seconds": 0.5, "mels": 4, "patch": 2},
    "lips": {"kind": "features", "column": "l", "dim": 3, "max_length": 6},
    "words": {"kind": "text", "column": "w", "max_length": 6},
}


def config(**changes: Any) -> DataConfig:
    return DataConfig(**{"manifest": "m.csv", "modalities": MODALITIES, **changes})


def made(name: str, steps: int) -> torch.Tensor:
    """An input without zeros, so that padding shows."""
    shape = {"video": (3, 8, 8), "audio": (4,), "lips": (3,), "words": ()}[name]
    if name == "video":
        return torch.randint(1, 256, (2, *shape), dtype=torch.uint8)
    return torch.randint(1, 257, (steps,)) if name == "words" else torch.rand(steps, *shape) + 1


@st.composite
def samples(draw: st.DrawFn, labelled: bool = False) -> list[Sample | BadSample]:
    items: list[Sample | BadSample] = []
    for number in range(draw(st.integers(0, 5))):
        if draw(st.integers(0, 3)) == 0:
            items.append(BadSample(str(number), number + 2, "f", "reason"))
            continue
        names = draw(st.sets(st.sampled_from(list(MODALITIES)), min_size=1))
        steps = draw(st.integers(1, 6))
        if labelled:
            names |= {draw(st.sampled_from(["lips", "words"]))}
        aligned = {"lips": steps, "words": steps} if labelled else {}
        inputs = {name: made(name, aligned.get(name) or draw(st.integers(1, 6))) for name in names}
        items.append(Sample(str(number), inputs, torch.arange(steps) % 3 if labelled else torch.tensor(number % 3)))
    return items


@given(items=samples())
def test_real_steps_are_kept_and_the_rest_is_zero(items: list[Sample | BadSample]) -> None:
    batch = collate(items, config=config())
    good = [item for item in items if isinstance(item, Sample)]
    assert batch.bad == [item for item in items if isinstance(item, BadSample)]
    assert batch.ids == [item.id for item in good]
    assert len(batch) == len(good)
    assert list(batch.inputs) == [name for name in MODALITIES if any(name in item.inputs for item in good)]
    assert batch.inputs.keys() == batch.lengths.keys()
    for name, padded in batch.inputs.items():
        assert batch.lengths[name].dtype == torch.int64
        assert padded.shape[:2] == (len(good), int(batch.lengths[name].max()))
        for place, item in enumerate(good):
            length = int(batch.lengths[name][place])
            assert not padded[place, length:].any()
            if name in item.inputs:
                assert torch.equal(padded[place, :length], item.inputs[name])
                assert padded.dtype == item.inputs[name].dtype
            else:
                assert length == 0
    if good:
        assert torch.equal(batch.labels, torch.stack([item.label for item in good]))


@given(items=samples(labelled=True), numbers=st.booleans())
def test_labels_of_steps_are_padded_with_the_steps(items: list[Sample | BadSample], numbers: bool) -> None:
    if numbers:
        items = [
            Sample(item.id, item.inputs, item.label[:, None].float()) if isinstance(item, Sample) else item
            for item in items
        ]
    settings = config(steps=("lips", "words"), task="regression" if numbers else "multiclass")
    batch = collate(items, config=settings)
    good = [item for item in items if isinstance(item, Sample)]
    if not good:
        assert len(batch) == 0
        return
    longest = max(len(item.label) for item in good)
    assert batch.labels.shape == (len(good), longest, 1) if numbers else (len(good), longest)
    for name in ("lips", "words"):
        assert name not in batch.inputs or batch.inputs[name].shape[1] == longest
    for labels, item in zip(batch.labels, good, strict=True):
        assert torch.equal(labels[: len(item.label)], item.label)
        rest = labels[len(item.label) :]
        assert (rest.isnan() if numbers else rest == -100).all()


@pytest.mark.parametrize(
    ("label", "shape"), [(torch.tensor(1), (2,)), (torch.rand(4), (2, 4)), (torch.rand(1), (2, 1)), (None, (0,))]
)
def test_labels_of_samples(label: torch.Tensor | None, shape: tuple[int, ...]) -> None:
    batch = collate([Sample(name, {"lips": made("lips", 2)}, label) for name in "ab"], config=config())
    assert batch.labels.shape == shape
    assert label is None or batch.labels.dtype == label.dtype


def test_all_of_them_bad() -> None:
    bad = BadSample("1", 2, "f", "r")
    batch = collate([bad, bad], config=config())
    assert (len(batch), batch.inputs, batch.lengths, batch.ids) == (0, {}, {}, [])
    assert batch.bad == [bad, bad]


def test_moving_leaves_the_lengths_where_they_are() -> None:
    item = Sample("1", {"lips": made("lips", 2), "words": made("words", 3)}, torch.tensor(0))
    batch = collate([item, BadSample("2", 3, "f", "r")], config=config())
    moved = batch.to("meta")
    assert isinstance(moved, Batch)
    assert {tensor.device.type for tensor in (*moved.inputs.values(), moved.labels)} == {"meta"}
    assert {tensor.device.type for tensor in moved.lengths.values()} == {"cpu"}
    assert (moved.ids, moved.bad) == (batch.ids, batch.bad)


@given(items=samples())
def test_a_sample_is_the_same_in_any_company(items: list[Sample | BadSample]) -> None:
    together = collate(items, config=config())
    for place, item in enumerate(item for item in items if isinstance(item, Sample)):
        alone = collate([item], config=config())
        for name, tensor in alone.inputs.items():
            length = int(alone.lengths[name])
            assert torch.equal(together.inputs[name][place, :length], tensor[0])
            assert math.prod(tensor.shape[:2]) == length
