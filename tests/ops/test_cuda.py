"""The CUDA kernels behind `sdpa`, against the reference in float64 and dense attention in the same dtype."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from attention_problems import seen, tensors
from locomt import LayerViews, TokenLayout, view_attention

pytestmark = pytest.mark.gpu

LAYOUT = TokenLayout({"video": 197, "audio": 65, "text": 31})
VIEWS = "self:2 video~audio:2 text>video:1 audio~text:2 cls:1 multi:1"


def error_of(result: Iterable[torch.Tensor], exact: Iterable[torch.Tensor]) -> torch.Tensor:
    return max((a.double() - b).norm() / b.norm() for a, b in zip(result, exact, strict=True))


def with_gradients(attend: Callable[..., torch.Tensor], qkv: list[torch.Tensor]) -> list[torch.Tensor]:
    out = attend(*qkv)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out, *torch.autograd.grad(out, qkv, grad)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("on_missing", ["zero", "self"])
def test_error_is_that_of_dense_attention(dtype: torch.dtype, padded: bool, on_missing: str) -> None:
    layer = LayerViews.parse(VIEWS, LAYOUT.modalities)
    qkv = tensors(3, LAYOUT, layer, 0, width=64, dtype=dtype, device="cuda")
    lengths = torch.tensor([[197, 65, 31], [100, 0, 1], [0, 33, 30]]) if padded else None

    def attend(backend: str) -> Callable[..., torch.Tensor]:
        real = None if lengths is None else lengths.cuda()
        return lambda q, k, v: view_attention(
            q, k, v, LAYOUT, layer, lengths=real, on_missing=on_missing, backend=backend
        )

    double = [t.detach().double().requires_grad_() for t in qkv]
    mask = seen(LAYOUT, layer, lengths, on_missing, 3).cuda()
    some = mask.any(dim=-1, keepdim=True)

    def masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """torch's kernel that takes masks, with the same keys visible; rows without any are cleared."""
        kernel = SDPBackend.MATH if q.dtype == torch.float64 else SDPBackend.EFFICIENT_ATTENTION
        with sdpa_kernel(kernel):
            return scaled_dot_product_attention(q, k, v, attn_mask=mask | ~some).masked_fill(~some, 0)

    dense = error_of(*(with_gradients(masked, x) for x in (qkv, double)))
    error = error_of(with_gradients(attend("sdpa"), qkv), with_gradients(attend("reference"), double))
    # In float32 both are near 1e-7, where the order of the sums decides.
    assert error <= 1.1 * dense + (1e-6 if dtype == torch.float32 else 0)


def test_lengths_may_stay_on_the_cpu() -> None:
    layer = LayerViews.parse(VIEWS, LAYOUT.modalities)
    qkv = tensors(2, LAYOUT, layer, 0, width=64, dtype=torch.bfloat16, device="cuda")
    lengths = torch.tensor([[197, 65, 31], [100, 0, 1]])
    torch.testing.assert_close(
        view_attention(*qkv, LAYOUT, layer, lengths=lengths),
        view_attention(*qkv, LAYOUT, layer, lengths=lengths.cuda()),
    )
