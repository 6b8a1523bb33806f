import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_models import SPECS, configs, counts, with_tables
from locomt import FusionConfig, FusionModel
from locomt.cost import (
    CostError,
    Flops,
    activation_bytes,
    flops,
    fusion_pairs,
    parameters,
    token_counts,
    variants,
)
from locomt.cost.counted import shorten
from locomt.cost.measured import saved_bytes


def pair(**options: object) -> FusionConfig:
    fixed = {"dim": 12, "heads": 3, "depth": 3, "fusion_layers": 2, "num_outputs": 4}
    specs = {"video": SPECS["video"], "audio": SPECS["audio"]}
    return FusionConfig(**{**fixed, "modalities": specs, **options})  # type: ignore[arg-type]


def test_by_hand() -> None:
    config = pair(views="self:3\nself:1 video~audio:2", depth=3, fusion_layers=2)
    video, audio = 9, 7
    tokens = video + audio
    own, cross = video**2 + audio**2, 2 * video * audio
    assert flops(config) == Flops(
        embedding=2 * 12 * ((video - 1) * 3 * 2 * 64 + (audio - 1) * 64),
        linear=3 * 2 * tokens * (4 * 12 * 12 + 2 * 12 * 48),
        attention=4 * 4 * (3 * own + 3 * own + own + 2 * cross),
        head=2 * 12 * 4,
    )


def test_bottlenecks_by_hand() -> None:
    config = pair(fusion="mbt", bottlenecks=4)
    assert fusion_pairs(config) == (3 * (13**2 + 11**2),) * 2
    found, plain = flops(config), flops(pair(fusion="selfall"))
    assert found.attention == 4 * 4 * 3 * (9**2 + 7**2 + 2 * (13**2 + 11**2))
    assert found.linear - plain.linear == 2 * (2 * 4) * 2 * (4 * 12 * 12 + 2 * 12 * 48)
    assert (found.embedding, found.head) == (plain.embedding, plain.head)


@settings(max_examples=40)
@given(configs())
def test_parameters_are_those_of_the_model(config: FusionConfig) -> None:
    with torch.device("meta"):
        model = FusionModel(config)
    assert parameters(config) == sum(p.numel() for p in model.parameters())


@settings(max_examples=40)
@given(st.data(), st.integers(1, 3), st.sampled_from((0.0, 0.1)))
def test_activations_are_what_autograd_holds(data: st.DataObject, batch: int, dropout: float) -> None:
    config = data.draw(with_tables(configs(dropout=dropout, token_dropout=data.draw(st.sampled_from((0.0, 0.1))))))
    tokens = data.draw(counts(config))
    model = FusionModel(config)
    short = shorten(config, model.example_inputs(batch), tokens)
    inputs = {
        name: tensor.clone() for name, tensor in short.items()
    }  # no slices, which hold on to what they are cut from
    assert activation_bytes(config, tokens, batch) == saved_bytes(model, inputs)


@pytest.mark.parametrize("fusion", ["locomt", "multiall", "mbt"])
@pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 8), (torch.bfloat16, 2)])
def test_activations_in_other_dtypes(fusion: str, dtype: torch.dtype, size: int) -> None:
    config = pair(fusion=fusion)
    model = FusionModel(config).to(dtype)
    for module in model.modules():  # with weights in float32 the CPU keeps a norm's statistics so, as CUDA always does
        if isinstance(module, torch.nn.LayerNorm):
            module.to(torch.promote_types(dtype, torch.float32))
    inputs = model.example_inputs(2)
    held = saved_bytes(model, {"video": inputs["video"], "audio": inputs["audio"].to(dtype)})
    assert activation_bytes(config, batch=2, dtype_bytes=size) == held


def test_stochastic_depth_holds_no_more_than_a_number_a_sample_and_branch() -> None:
    config = pair(drop_path=0.5)
    model = FusionModel(config)
    more = saved_bytes(model, model.example_inputs(2)) - activation_bytes(config, batch=2)
    layers_that_drop, branches, modalities, samples = 2, 2, 2, 2
    assert more == 4 * layers_that_drop * branches * modalities * samples


@given(st.data(), st.integers(2, 5))
def test_flops_of_a_batch_are_those_of_its_samples(data: st.DataObject, batch: int) -> None:
    config = data.draw(configs())
    tokens = data.draw(counts(config))
    for backward in (False, True):
        assert flops(config, tokens, batch, backward).total == batch * flops(config, tokens, 1, backward).total


@given(configs(fusion="selfall", steps=(), time_steps=0))
def test_modalities_that_do_not_meet_add_up(config: FusionConfig) -> None:
    full = config.layout.as_dict()
    alone = [flops(config, {name: count}) for name, count in full.items()]
    together = flops(config)
    assert together.embedding + together.linear + together.attention == sum(f.total - f.head for f in alone)


def test_variants_differ_in_fusion_alone() -> None:
    config = pair(views="self:3\nself:1 video~audio:2")
    found = variants(config)
    assert list(found) == ["locomt", "selfall", "multiall", "mbt"]
    assert found["locomt"] is config
    assert all(other.fusion == name and other.views is None for name, other in found.items() if name != "locomt")
    assert {other.layout for other in found.values()} == {config.layout}


def test_variants_of_one_modality_look_at_themselves() -> None:
    config = FusionConfig(dim=12, heads=3, depth=2, fusion_layers=1, fusion="selfall", num_outputs=2,
                          modalities={"video": SPECS["video"]})  # fmt: skip
    assert flops(variants(config)["locomt"]) == flops(config)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"vidoe": 3}, "'vidoe' is not one of video, audio"),
        ({"video": -1}, "'video' has 0 to 9 tokens, got -1"),
        ({"audio": 8}, "'audio' has 0 to 7 tokens, got 8"),
        ({}, "from one or more of video, audio, got none"),
        ({"video": 0, "audio": 0}, "from one or more of video, audio, got none"),
    ],
)
def test_token_counts_that_cannot_be(tokens: dict[str, int], message: str) -> None:
    with pytest.raises(CostError, match=message):
        token_counts(pair(), tokens)


def test_token_counts_with_steps() -> None:
    config = pair(modalities=SPECS, steps=("text", "lips"))
    assert token_counts(config, {"video": 9, "lips": 4}) == dict.fromkeys(SPECS, 0) | {"video": 9, "lips": 4}
    with pytest.raises(CostError, match="from one or more of text, lips, got none"):
        token_counts(config, {"video": 9})
    with pytest.raises(CostError, match="as many from each of steps"):
        token_counts(config, {"text": 3, "lips": 4})
