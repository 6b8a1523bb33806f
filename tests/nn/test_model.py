"""The fusion model and its baselines: missing modalities, padding, gradients, compilation, configuration."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from locomt import FusionConfig, FusionModel, TokenLayout
from locomt.nn import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.config import FUSIONS, ConfigError

SPECS = {
    "video": VideoSpec(frames=4, size=8, patch=4, tubelet=2),
    "audio": AudioSpec(frames=12, mels=8, patch=4),
    "lips": FeatureSpec(dim=5, max_length=6),
    "words": TextSpec(vocabulary=20, max_length=7),
    "photo": ImageSpec(size=8, patch=4),
}
FULL = {name: spec.max_steps for name, spec in SPECS.items()}
STEP = {name: spec.step for name, spec in SPECS.items()}


def make(names: tuple[str, ...] = ("video", "audio"), **options: Any) -> FusionModel:
    options = {"dim": 16, "heads": 4, "depth": 3, "fusion_layers": 2, "num_outputs": 3} | options
    torch.manual_seed(0)
    return FusionModel(FusionConfig(modalities={n: SPECS[n] for n in names}, **options)).double().eval()


def inputs_of(model: FusionModel, batch: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {n: t.double() if t.is_floating_point() else t for n, t in model.example_inputs(batch).items()}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("shared_weights", [False, True])
def test_every_parameter_gets_a_gradient(fusion: str, shared_weights: bool) -> None:
    model = make(tuple(SPECS), fusion=fusion, shared_weights=shared_weights)
    model(inputs_of(model, 2)).square().sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("on_missing", ["zero", "self"])
def test_any_non_empty_subset_of_the_modalities_runs(fusion: str, on_missing: str) -> None:
    model = make(("video", "audio", "words"), fusion=fusion, on_missing=on_missing)
    inputs = inputs_of(model, 1)
    for size in (1, 2, 3):
        for names in itertools.combinations(inputs, size):
            out = model({n: inputs[n] for n in names})
            missing = {n: torch.tensor([FULL[n] if n in names else 0]) for n in inputs}
            assert out.isfinite().all()
            torch.testing.assert_close(out, model(inputs, missing))  # missing is a length of zero


@pytest.mark.parametrize("regroup", [False, True])
def test_other_views_on_the_same_weights_are_a_new_model_with_them(regroup: bool, tmp_path: Path) -> None:
    model = make(strategy="random", views_seed=1)
    inputs = inputs_of(model, 2)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for seed in (2, 3):
        fresh = make(strategy="random", views_seed=seed)
        fresh.load_state_dict(before)
        assert fresh.table != model.table
        model.set_views(fresh.table, regroup=regroup)
        torch.testing.assert_close(model(inputs), fresh(inputs))
        assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    model.save_pretrained(tmp_path)
    saved = FusionModel.from_pretrained(tmp_path)
    assert saved.table == model.table
    torch.testing.assert_close(saved.double()(inputs).float(), model(inputs).float(), rtol=1e-4, atol=1e-4)


def test_a_table_that_does_not_fit_is_refused() -> None:
    table = make(fusion="selfall", heads=2).table
    with pytest.raises(ValueError, match="expected a view table of 2 layers of 4 heads over video, audio, got 2 lay"):
        make().set_views(table)
    with pytest.raises(ValueError, match="'mbt' follows no view table"):
        make(fusion="mbt").set_views(table)


@settings(max_examples=12)
@given(st.data(), st.sampled_from(FUSIONS), st.booleans())
def test_a_padded_sample_is_the_sample_alone(data: st.DataObject, fusion: str, shared_weights: bool) -> None:
    names = ("video", "audio", "lips", "words")
    model = make(names, fusion=fusion, shared_weights=shared_weights, strategy="random")
    inputs = inputs_of(model, 3)
    lengths = {
        n: torch.tensor([STEP[n] * data.draw(st.integers(0, FULL[n] // STEP[n])) for _ in range(3)]) for n in names
    }
    lengths["lips"][0] = max(1, int(lengths["lips"][0]))
    out = model(inputs, lengths)
    for b in range(3):
        alone = {n: inputs[n][b : b + 1, : lengths[n][b]] for n in names if lengths[n][b]}
        if alone:
            torch.testing.assert_close(out[b : b + 1], model(alone))


def test_full_lengths_change_nothing() -> None:
    model = make()
    inputs = inputs_of(model, 2)
    lengths = {n: torch.full((2,), FULL[n]) for n in inputs}
    assert torch.equal(model(inputs), model(inputs, lengths))


@pytest.mark.parametrize("fusion", ["locomt", "multiall", "mbt"])  # between them every view and block
def test_compiles_without_graph_breaks(fusion: str) -> None:
    torch._dynamo.reset()
    model = make(("audio", "words"), fusion=fusion, depth=2, fusion_layers=1)  # a layer of each kind
    inputs = inputs_of(model, 2)
    lengths = {"audio": torch.tensor([12, 4]), "words": torch.tensor([7, 0])}
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs, lengths), model(inputs, lengths))
    with torch.no_grad():  # as it is used: a graph without a backward
        torch.testing.assert_close(compiled(inputs), model(inputs))


def test_exports_without_operators_of_ours() -> None:
    model = make(("audio", "words"))
    inputs = inputs_of(model, 2)
    program = torch.export.export(model, (inputs,))
    assert not [node for node in program.graph.nodes if "locomt" in str(node.target)]
    torch.testing.assert_close(program.module()(inputs), model(inputs))


def test_heads_for_steps_answer_for_every_step_and_average_what_is_there() -> None:
    specs = {"a": FeatureSpec(dim=5, max_length=6), "b": FeatureSpec(dim=3, max_length=6)}
    config = FusionConfig(modalities=specs, steps=("a", "b"), num_outputs=2, dim=16, heads=4, depth=2, fusion_layers=1)
    model = FusionModel(config).eval()
    a, b = torch.randn(2, 6, 5), torch.randn(2, 6, 3)
    out = model({"a": a, "b": b}, {"a": torch.tensor([6, 4]), "b": torch.tensor([6, 0])})
    assert out.shape == (2, 6, 2)
    torch.testing.assert_close(out[1:, :4], model({"a": a[1:, :4]}))
    with pytest.raises(ValueError, match="as many steps"):
        model({"a": a, "b": b[:, :5]})


def test_changing_one_modality_leaves_the_others_towers_alone() -> None:
    """All self, so that nothing but the averaged [CLS] joins the modalities."""
    model = make(fusion="selfall")
    inputs = inputs_of(model, 2)
    video, audio, both = model({"video": inputs["video"]}), model({"audio": inputs["audio"]}), model(inputs)
    torch.testing.assert_close(both, (video + audio) / 2)


def test_dropout_and_drop_path_act_in_training_only() -> None:
    model = make(dropout=0.3, drop_path=0.5)
    inputs = inputs_of(model, 4)
    assert torch.equal(model(inputs), model(inputs))
    model.train()
    assert not torch.equal(model(inputs), model(inputs))
    rates = [b.drop_path.rate for b in [*model.towers["video"], *model.fusion]]
    assert rates == [0, 0.25, 0.5]


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 5.5), ("small", 21.7), ("base", 85.8)])
def test_presets_are_the_vit_sizes(preset: str, millions: float) -> None:
    """One modality of 16 x 16 patches is a ViT: its published parameter count, less the 1,000-class head."""
    with torch.device("meta"):
        model = FusionModel(
            FusionConfig(preset=preset, modalities={"v": VideoSpec(frames=1)}, fusion="selfall", num_outputs=1)
        )
    count = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("head"))
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


def test_config_round_trips_and_its_layout_is_what_the_model_makes() -> None:
    config = FusionConfig(
        modalities=SPECS, num_outputs=2, dim=16, heads=4, depth=2, fusion_layers=1, views="self:2 video~words:2"
    )
    assert FusionConfig.from_dict(config.to_dict()) == config
    model = FusionModel(config)
    inputs = model.example_inputs(1)
    counts = {n: model.embeddings[n](x).shape[1] for n, x in inputs.items()}
    assert TokenLayout(counts) == config.layout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 10}, "dim 10 is no multiple of model.heads 4"),
        ({"fusion_layers": 4}, "expected 1 to model.depth = 3, got 4"),
        ({"fusion": "early"}, "expected one of locomt, selfall, multiall, mbt, got 'early'"),
        ({"preset": "huge"}, "expected one of tiny, small, base"),
        ({"views": "self:4"}, "expected 2 lines of 4 heads"),
        ({"views": "self:4\nself:2 video~smell:2"}, "model.views: line 2: .*'smell'"),
        ({"views": "self:4\nself:4", "fusion": "mbt"}, "'mbt' has a table of its own"),
        ({"steps": ("video",)}, "expected a kind whose every step is one token"),
        ({"steps": ("smell",)}, "'smell' is not one of"),
        ({"num_outputs": 0}, "expected 1 or more"),
        ({"dropout": 1.0}, r"expected \[0, 1\)"),
    ],
)
def test_configurations_that_cannot_be_built_say_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VideoSpec(size=20), "size 20 is no multiple of its patch 16"),
        (lambda: VideoSpec(frames=3, tubelet=2), "frames 3 is no multiple of its tubelet 2"),
        (lambda: AudioSpec(frames=100), "frames 100 is no multiple of its patch 16"),
        (lambda: FeatureSpec(dim=0, max_length=2), "dim: expected 1 or more"),
        (lambda: FusionConfig.from_dict({"dims": 3}), "unknown field 'dims'"),
        (lambda: FusionConfig.from_dict({"modalities": {"a": {"kind": "smell"}}}), "expected kind .*, got 'smell'"),
        (lambda: FusionConfig.from_dict({"modalities": {"a": {"kind": "features", "dim": 3}}}), "'max_length' is miss"),
    ],
)
def test_specs_that_cannot_be_built_say_why(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_bad_inputs_are_named() -> None:
    model = make()
    inputs = inputs_of(model, 2)
    for wrong, message in (
        ({}, "expected inputs for one or more of video, audio, got none"),
        ({"smell": inputs["audio"]}, "got smell"),
        ({"audio": inputs["audio"][..., :5]}, r"expected a spectrogram \[batch, time, 8\]"),
        ({"video": inputs["video"][..., :6]}, r"expected frames \[batch, time, 3, 8, 8\]"),
        ({"audio": inputs["audio"].repeat(1, 2, 1)}, "longer than the 12"),
    ):
        with pytest.raises(ValueError, match=message):
            model(wrong)


def test_a_modality_may_not_have_the_name_of_an_attribute() -> None:
    with pytest.raises(ValueError, match="'type' cannot be used"):
        FusionModel(FusionConfig(modalities={"type": SPECS["lips"]}, fusion="selfall", num_outputs=1))
