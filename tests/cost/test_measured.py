import pytest
import torch

from cost_models import SPECS
from locomt import FusionConfig, FusionModel
from locomt.cost import activation_bytes, variants
from locomt.cost.measured import MIN_ROUNDS, measure, saved_bytes

CONFIG = FusionConfig(dim=12, heads=3, depth=2, fusion_layers=1, modalities=SPECS, num_outputs=4, dropout=0.1)
ALONE = FusionConfig(
    dim=12, heads=3, depth=2, fusion_layers=1, fusion="selfall", modalities={"text": SPECS["text"]}, num_outputs=4
)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_time_and_memory_of_several_models(training: bool, autocast: torch.dtype | None) -> None:
    models = {name: FusionModel(config) for name, config in {**variants(CONFIG), "text": ALONE}.items()}
    models["locomt"].eval()
    inputs = models["locomt"].example_inputs(2)
    found = measure(models, inputs, training=training, autocast=autocast, seconds=0)
    assert list(found) == list(models)
    for name, result in found.items():
        weights = sum(p.nbytes for p in models[name].parameters())
        assert result.latency_ms > 0
        assert result.rounds == MIN_ROUNDS
        assert result.peak_memory_bytes > weights * (2 if training else 1)  # a step ends with a gradient for each
        assert all(p.grad is None for p in models[name].parameters())
    assert not models["locomt"].training
    assert models["mbt"].training


def test_peak_of_a_training_step_holds_the_activations() -> None:
    config = FusionConfig(dim=48, heads=3, depth=4, fusion_layers=2, modalities=SPECS, num_outputs=4)
    model = FusionModel(config)
    peaks = {}
    for batch in (32, 64):
        inputs = model.example_inputs(batch)
        (result,) = measure({"model": model}, inputs, training=True, seconds=0).values()
        peaks[batch] = result.peak_memory_bytes
    held = activation_bytes(config, batch=64) - activation_bytes(config, batch=32)
    assert peaks[64] - peaks[32] > held


def test_peak_is_what_is_allocated_at_once() -> None:
    """Known sizes: a model of nothing but a head's worth of work, measured twice, peaks the same."""
    models = {name: FusionModel(ALONE) for name in ("one", "two")}
    found = measure(models, models["one"].example_inputs(4), seconds=0)
    assert found["one"].peak_memory_bytes == found["two"].peak_memory_bytes


def test_lengths_reach_the_model() -> None:
    model = FusionModel(CONFIG)
    inputs = model.example_inputs(2)
    too_long = {"text": torch.tensor([3, 99])}
    with pytest.raises(ValueError, match=r"lengths\[1, 0\]"):
        measure({"model": model}, inputs, lengths=too_long, seconds=0)


def test_no_models() -> None:
    with pytest.raises(ValueError, match="one model or more"):
        measure({}, {})


def test_saved_bytes_leaves_the_model_as_it_was() -> None:
    model = FusionModel(ALONE)
    inputs = model.example_inputs(2)
    held = saved_bytes(model, inputs)
    model(inputs).sum().backward()
    assert held == saved_bytes(model, inputs) == activation_bytes(ALONE, batch=2)
