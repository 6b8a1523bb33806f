"""Masks of padding as lengths."""

import pytest
import torch

from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops import lengths_of

LAYOUT = TokenLayout({"v": 3, "a": 2})
MASK = torch.tensor([[True, True], [True, False], [False, False]])


def test_masks_are_counted() -> None:
    assert lengths_of({"a": MASK}, LAYOUT).tolist() == [[3, 2], [3, 1], [3, 0]]
    both = {"a": MASK, "v": torch.tensor([[True, False, False]] * 3)}
    assert lengths_of(both, LAYOUT).tolist() == [[1, 2], [1, 1], [1, 0]]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"a": MASK.flip(1)}, "'a': expected the real tokens of each sample first"),
        ({"a": MASK.int()}, r"'a': expected a bool mask \[3, 2\], got torch.int32"),
        ({"v": MASK}, r"'v': expected a bool mask \[3, 3\], got torch.bool \[3, 2\]"),
        ({"t": MASK}, "expected masks of v, a, got one of 't'"),
        ({}, "expected a mask of one modality or more"),
    ],
)
def test_what_is_no_such_mask_is_refused(masks: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lengths_of(masks, LAYOUT)


def test_attention_takes_no_mask_for_lengths() -> None:
    q = torch.randn(3, 2, 5, 4)
    with pytest.raises(ValueError, match="got bool, as of a mask of padding"):
        view_attention(q, q, q, LAYOUT, LayerViews.parse("self:2", ("v", "a")), lengths=MASK)
