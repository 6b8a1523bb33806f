"""What nobody reads is not computed: the answers and the gradients are those of computing everything."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cost_models import SPECS, configs, with_tables
from locomt import FusionConfig, FusionModel
from locomt.nn.attention import ViewMixture
from locomt.views import view_set

Lengths = dict[str, Tensor] | None


@contextmanager
def everything(model: FusionModel) -> Iterator[None]:
    model.everything = True
    yield
    model.everything = False


def make(config: FusionConfig) -> FusionModel:
    torch.manual_seed(0)
    model = FusionModel(config).double().eval()
    for name, parameter in model.named_parameters():  # biases and norms as training leaves them
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(parameter)
    return model


def doubles(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


def outcome(model: FusionModel, *arguments: Any, apart: bool = False) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The answers, and the gradient of every parameter."""
    model.zero_grad()
    if apart:
        found = model.apart(*arguments)
        answers = [model.logits(found.reads), *(alone.logits for alone in found.alone.values())]
    else:
        answers = [model(*arguments)]
    generator = torch.Generator().manual_seed(7)
    sum((answer * torch.randn(answer.shape, generator=generator)).sum() for answer in answers).backward()  # type: ignore[union-attr]
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
    return answers, gradients


def assert_equal(model: FusionModel, *arguments: Any, apart: bool = False) -> None:
    answers, gradients = outcome(model, *arguments, apart=apart)
    with everything(model):
        full, full_gradients = outcome(model, *arguments, apart=apart)
    torch.testing.assert_close(answers, full, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients, full_gradients, rtol=1e-10, atol=1e-10)


@st.composite
def batches(draw: st.DrawFn, config: FusionConfig, batch: int) -> tuple[dict[str, Tensor], Lengths]:
    """Inputs of some modalities, one of which the head reads; and with luck lengths, of which one is not 0."""
    names = [name for name in config.modalities if draw(st.integers(0, 3))]
    if not set(names) & set(config.read):
        names = [name for name in config.modalities if name in (*names, config.read[0])]
    torch.manual_seed(1)
    inputs = {name: config.modalities[name].example_input(batch, "cpu") for name in names}
    if not draw(st.booleans()):
        return doubles(inputs), None
    lengths = {
        name: torch.tensor([draw(st.integers(0, config.modalities[name].max_steps)) for _ in range(batch)])
        for name in names
        if draw(st.booleans())
    }
    return doubles(inputs), lengths


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_answers_and_gradients_are_those_of_computing_everything(data: st.DataObject) -> None:
    config = data.draw(with_tables(configs(modalities=4)))
    model = make(config)
    inputs, lengths = data.draw(batches(config, data.draw(st.integers(1, 3))))
    assert_equal(model, inputs, lengths)
    if data.draw(st.booleans()):
        model.set_answer({})
        assert_equal(model, inputs, lengths, apart=True)


@settings(max_examples=20)
@given(st.data(), st.sampled_from([("text", "lips"), ("video", "speech", "text")]), st.booleans())
def test_mixtures_of_views(data: st.DataObject, names: tuple[str, ...], apart: bool) -> None:
    config = small(names, on_missing=data.draw(st.sampled_from(("zero", "self"))))
    model = make(config)
    views = view_set(names, one_way=True)
    few = tuple(data.draw(st.lists(st.sampled_from(views), min_size=1, max_size=3, unique=True)))
    weights = torch.rand(config.fusion_layers, config.num_heads, len(few), dtype=torch.float64)
    inputs, lengths = data.draw(batches(config, 2))
    assert_equal(model, inputs, lengths, ViewMixture(few, weights), apart=apart)


def small(names: tuple[str, ...], **options: Any) -> FusionConfig:
    sizes: dict[str, Any] = {"dim": 12, "heads": 3, "depth": 3, "fusion_layers": 2, "num_outputs": 2}
    return FusionConfig(modalities={name: SPECS[name] for name in names}, **(sizes | options))
