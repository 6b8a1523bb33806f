"""The CUDA kernels behind `sdpa`, against the reference in float64 and dense attention in the same dtype."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from attention_problems import tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops.reference import visible

pytestmark = pytest.mark.gpu

LAYOUT = TokenLayout({"video": 197, "audio": 65, "text": 31})
VIEWS = "self:2 video~audio:2 text>video:1 audio~text:2 multi:1"


def error_of(result, exact):
    return max((a.double() - b).norm() / b.norm() for a, b in zip(result, exact, strict=True))


def with_gradients(attend, qkv):
    out = attend(*qkv)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out, *torch.autograd.grad(out, qkv, grad)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("on_missing", ["zero", "self"])
def test_error_is_that_of_dense_attention(dtype, padded, on_missing):
    layer = LayerViews.parse(VIEWS, LAYOUT.modalities)
    qkv = tensors(3, LAYOUT, layer, 0, width=64, dtype=dtype, device="cuda")
    lengths = torch.tensor([[197, 65, 31], [100, 0, 1], [0, 33, 30]], device="cuda") if padded else None

    def attend(backend):
        return lambda q, k, v: view_attention(
            q, k, v, LAYOUT, layer, lengths=lengths, on_missing=on_missing, backend=backend
        )

    shown = torch.tensor([LAYOUT.lengths] * 3, device="cuda") if lengths is None else lengths
    mask = visible(list(LAYOUT.lengths), layer.masks, shown, on_missing == "self")
    some = mask.any(dim=-1, keepdim=True)

    def masked(q, k, v):
        """torch's own attention in this dtype, with the same keys visible; rows without any are cleared."""
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask | ~some)
        return out.masked_fill(~some, 0)

    double = [t.detach().double().requires_grad_() for t in qkv]
    exact = with_gradients(attend("reference"), double)
    # float32 kernels round near 1e-7 either way: below 1e-6 the order of their sums decides.
    limit = 1.1 * error_of(with_gradients(masked, qkv), exact) + (1e-6 if dtype == torch.float32 else 0)
    assert error_of(with_gradients(attend("sdpa"), qkv), exact) <= limit


def test_lengths_may_stay_on_the_cpu():
    layer = LayerViews.parse(VIEWS, LAYOUT.modalities)
    qkv = tensors(2, LAYOUT, layer, 0, width=64, dtype=torch.bfloat16, device="cuda")
    lengths = torch.tensor([[197, 65, 31], [100, 0, 1]])
    torch.testing.assert_close(
        view_attention(*qkv, LAYOUT, layer, lengths=lengths),
        view_attention(*qkv, LAYOUT, layer, lengths=lengths.cuda()),
    )
