import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from cost_models import SPECS, configs, counts, with_tables
from locomt import FusionConfig, FusionModel
from locomt.cost import CostError, flops, fusion_pairs, variants
from locomt.cost.counted import count_flops, shorten
from locomt.nn import AudioSpec, VideoSpec


def counted(
    config: FusionConfig,
    tokens: dict[str, int] | None = None,
    batch: int = 1,
    backward: bool = False,
    everything: bool = True,
) -> int:
    """What torch counts of a model that runs: for small ones in a tenth of the time that `count_flops` takes."""
    model = FusionModel(config)
    model.everything = everything
    with FlopCounterMode(display=False) as counter:
        logits = model(shorten(config, model.example_inputs(batch), tokens))
        if backward:
            logits.sum().backward()
    return int(counter.get_total_flops())


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(1, 3), st.booleans())
def test_closed_form_is_what_torch_counts(data: st.DataObject, batch: int, backward: bool) -> None:
    config = data.draw(with_tables(configs()))
    tokens = data.draw(counts(config))
    found = {all_rows: flops(config, tokens, batch, backward, everything=all_rows).total for all_rows in (True, False)}
    assert found == {all_rows: counted(config, tokens, batch, backward, all_rows) for all_rows in (True, False)}
    assert found[False] <= found[True]


@pytest.mark.parametrize("fusion", ["locomt", "selfall", "multiall", "mbt"])
@pytest.mark.parametrize("fusion_layers", [1, 2])
@pytest.mark.parametrize("steps", [(), ("lips",)])
def test_training_step_of_every_fusion(fusion: str, fusion_layers: int, steps: tuple[str, ...]) -> None:
    config = FusionConfig(
        dim=12,
        heads=3,
        depth=2,
        fusion_layers=fusion_layers,
        fusion=fusion,
        modalities={name: SPECS[name] for name in ("speech", "depth", "lips")},
        steps=steps,
        num_outputs=4,
    )
    for everything in (True, False):
        found = flops(config, backward=True, everything=everything).total
        assert found == counted(config, backward=True, everything=everything)


@pytest.mark.parametrize("on_missing", ["zero", "self"])
@pytest.mark.parametrize("tokens", [None, {"speech": 4, "text": 5}])
def test_heads_that_see_class_tokens_alone(on_missing: str, tokens: dict[str, int] | None) -> None:
    """Of speech there are two."""
    config = FusionConfig(
        dim=12, heads=3, depth=2, fusion_layers=2, modalities=SPECS, num_outputs=4, on_missing=on_missing,
        views="cls:3\nvideo~text:1 cls:1 self:1",
    )  # fmt: skip
    for everything in (True, False):
        found = flops(config, tokens, 2, backward=True, everything=everything).total
        assert found == counted(config, tokens, 2, backward=True, everything=everything)
    if tokens is None:
        total = config.layout.total
        assert fusion_pairs(config)[0] == 3 * total * (len(SPECS) + 1)


@pytest.mark.parametrize("fusion", ["locomt", "multiall", "mbt"])
def test_a_model_too_large_to_build_here_can_be_counted(fusion: str) -> None:
    modalities = {"video": VideoSpec(frames=8), "audio": AudioSpec(frames=800)}
    config = FusionConfig(preset="base", fusion_layers=4, modalities=modalities, num_outputs=527)
    other = variants(config)[fusion]
    assert flops(other, batch=64).total == count_flops(other, batch=64) > 2e13


@pytest.mark.parametrize("fusion", ["locomt", "selfall", "multiall", "mbt"])
def test_fake_tensors_count_as_real_ones_do(fusion: str) -> None:
    config = FusionConfig(
        dim=12, heads=3, depth=2, fusion_layers=1, fusion=fusion, modalities=SPECS, num_outputs=4, on_missing="self"
    )
    tokens = {"video": 5, "text": 3, "depth": 3}
    assert counted(config, tokens, 2, backward=True) == count_flops(config, tokens, 2, backward=True)


def test_shorten_wants_whole_steps() -> None:
    config = FusionConfig(dim=12, heads=3, depth=1, fusion_layers=1, modalities=SPECS, num_outputs=4)
    inputs = FusionModel(config).example_inputs()
    short = shorten(config, inputs, {"video": 5, "text": 4})
    assert {name: tensor.shape[1] for name, tensor in short.items()} == {"video": 2, "text": 3}
    assert torch.equal(short["video"], inputs["video"][:, :2])
    with pytest.raises(CostError, match="modality 'video' 1 and a multiple of 4, got 7"):
        shorten(config, inputs, {"video": 7})
