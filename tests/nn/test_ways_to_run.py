"""Other ways to run one model: layers computed twice or compiled, other number types, other linear layers."""

import warnings

import pytest
import torch
from torch import nn

from locomt import FusionConfig, FusionModel
from locomt.nn import FeatureSpec, VideoSpec
from locomt.nn.config import FUSIONS

NAMES = ("a", "b", "c")
LENGTHS = {"a": torch.tensor([6, 3]), "b": torch.tensor([4, 0]), "c": torch.tensor([5, 5])}


def make(fusion: str = "locomt", **fields: object) -> FusionModel:
    """A model whose heads leave modalities out, so that parts of the weights are used."""
    torch.manual_seed(0)
    specs = {name: FeatureSpec(dim=5, max_length=n) for name, n in zip(NAMES, (6, 4, 5), strict=True)}
    views = "a>b:1 b~c:1 self:1 a~c:1\nself:2 a~b:2" if fusion == "locomt" else None
    sizes = {"dim": 16, "heads": 4, "depth": 3, "fusion_layers": 2}
    return FusionModel(FusionConfig(**sizes, fusion=fusion, views=views, modalities=specs, num_outputs=3, **fields))


def inputs_of(model: FusionModel) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(2, spec.max_steps, 5, generator=generator) for name, spec in model.config.modalities.items()
    }


@pytest.mark.parametrize("fusion", FUSIONS)
def test_checkpointing_changes_no_bit(fusion: str) -> None:
    """Dropout and stochastic depth are drawn once, and the same when a layer is computed again."""
    found = []
    for checkpointing in (False, True):
        model = make(fusion, dropout=0.3, drop_path=0.4).train()
        model.checkpointing = checkpointing
        torch.manual_seed(2)
        apart = model.apart(inputs_of(model), LENGTHS)
        answers = [model.logits(apart.reads), *(one.logits for one in apart.alone.values())]
        torch.cat(answers).square().sum().backward()
        found.append([answers[0], *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_checkpointing_holds_less() -> None:
    """By the sizes of what autograd saves."""
    held = []
    for checkpointing in (False, True):
        model = make().train()
        model.checkpointing = checkpointing
        own = {parameter.data_ptr() for parameter in model.parameters()}
        saved: dict[int, int] = {}

        def pack(
            tensor: torch.Tensor, saved: dict[int, int] = saved, own: frozenset[int] = frozenset(own)
        ) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(inputs_of(model))
        held.append(sum(saved.values()))
        del out
    assert held[1] < held[0] / 3


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of what goes in, which the compiler looks at
@pytest.mark.parametrize("fusion", ["locomt", "mbt"])
def test_compiled_layers_answer_alike(fusion: str) -> None:
    torch._dynamo.reset()
    model = make(fusion)
    inputs = inputs_of(model)
    expected = model(inputs, LENGTHS)
    expected.sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.compile_layers(backend="aot_eager")
    assert set(model.state_dict()) == set(make(fusion).state_dict())  # what is compiled goes by the same names
    out = model(inputs, LENGTHS)
    out.sum().backward()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close({n: p.grad for n, p in model.named_parameters() if p.grad is not None}, gradients)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_linear_layers_in_eight_bits(fusion: str) -> None:
    """Whose weights cannot be taken apart: they are asked whole, and answer to within what eight bits tell."""
    model = make(fusion).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own quantisation has moved to torchao
        small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        with torch.no_grad():
            out, expected = small(inputs_of(model), LENGTHS), model(inputs_of(model), LENGTHS)
    assert not any(type(module) is nn.Linear for module in small.modules())
    assert (out - expected).abs().max() < 0.1 * expected.abs().max()
    assert not torch.equal(out, expected)


def test_a_layer_put_in_place_of_a_linear_one_is_asked() -> None:
    """As adapters do it: what it adds is there, for the heads that are read."""

    class Adapted(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base, self.more = base, nn.Linear(base.in_features, base.out_features, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + self.more(x)  # type: ignore[no-any-return]

    model, merged = make().eval(), make().eval()
    for one, other in zip(model.fusion, merged.fusion, strict=True):
        for part in ("qkv", "out"):
            for name in NAMES:
                adapted = Adapted(getattr(one.attention, part)[name])
                getattr(one.attention, part)[name] = adapted
                with torch.no_grad():
                    getattr(other.attention, part)[name].weight.add_(adapted.more.weight)
    torch.testing.assert_close(model(inputs_of(model), LENGTHS), merged(inputs_of(merged), LENGTHS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_inputs_become_what_the_weights_are(dtype: torch.dtype) -> None:
    model = make().eval()
    inputs = inputs_of(model)
    expected = model(inputs, LENGTHS)
    out = model.to(dtype)(inputs, LENGTHS)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), expected, atol=0.05, rtol=0.05)


def test_frames_of_bytes_serve_weights_of_half_precision() -> None:
    video = VideoSpec(frames=2, size=8, patch=4)
    model = FusionModel(
        FusionConfig(dim=8, heads=2, depth=1, fusion_layers=1, fusion="selfall", modalities={"v": video}, num_outputs=2)
    ).eval()
    frames = torch.randint(0, 256, (1, 2, 3, 8, 8), dtype=torch.uint8)
    expected = model({"v": frames})
    torch.testing.assert_close(model.bfloat16()({"v": frames}).float(), expected, atol=0.05, rtol=0.05)
