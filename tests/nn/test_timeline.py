"""Answers along time: what they take from the tokens around them, padding, missing modalities, compilation."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from locomt import FusionConfig, FusionModel
from locomt.nn import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.config import FUSIONS, ConfigError
from locomt.nn.timeline import reached, resampling

SPECS = {
    "video": VideoSpec(frames=6, size=8, patch=4, tubelet=2),
    "audio": AudioSpec(frames=23, mels=17, patch=8, stride=5, class_tokens=2),
    "lips": FeatureSpec(dim=5, max_length=6),
    "words": TextSpec(vocabulary=20, max_length=7),
    "photo": ImageSpec(size=8, patch=4),
}
TIMED = ("video", "audio", "lips")


def make(names: tuple[str, ...] = tuple(SPECS), **options: Any) -> FusionModel:
    options = {"dim": 16, "heads": 4, "depth": 2, "fusion_layers": 1, "num_outputs": 3, "time_steps": 5} | options
    torch.manual_seed(0)
    return FusionModel(FusionConfig(modalities={n: SPECS[n] for n in names}, **options)).double().eval()


def inputs_of(model: FusionModel, batch: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {n: t.double() if t.is_floating_point() else t for n, t in model.example_inputs(batch).items()}


@pytest.mark.parametrize(("tokens", "steps"), [(6, 6), (5, 20), (12, 4), (9, 7), (1, 3), (7, 1)])
def test_shares_are_those_of_antialiased_linear_resizing(tokens: int, steps: int) -> None:
    spec = FeatureSpec(dim=1, max_length=tokens)
    shares = resampling(spec, tokens / steps, steps, tokens, torch.tensor([tokens]))[0]
    unit = torch.eye(tokens)[:, None, None]  # what each token alone leads to
    wanted = interpolate(unit, (1, steps), mode="bilinear", antialias=True)[:, 0, 0] if steps < tokens else (
        interpolate(unit[:, 0], steps, mode="linear")[:, 0]
    )  # fmt: skip
    torch.testing.assert_close(shares, wanted.T)


def test_overlapping_patches_lie_at_their_middles() -> None:
    spec = AudioSpec(frames=26, mels=16, patch=16, stride=10)  # tokens over frames 0 to 16 and 10 to 26
    shares = resampling(spec, 4.0, 7, 2, torch.tensor([2]))[0]  # time steps with their middles at 2, 6, ..., 26
    torch.testing.assert_close(shares[:, 1], torch.tensor([0, 0, 0.2, 0.6, 1, 1, 1]))


@given(st.integers(1, 30), st.floats(0.3, 9), st.integers(1, 12), st.data())
def test_shares_add_up_to_1_and_none_falls_on_padding(steps: int, pace: float, grid: int, data: st.DataObject) -> None:
    tokens = torch.tensor([data.draw(st.integers(1, grid)), 0])
    shares = resampling(FeatureSpec(dim=1, max_length=grid), pace, steps, grid, tokens)
    torch.testing.assert_close(shares[0].sum(-1), torch.ones(steps))
    assert not shares[0, :, tokens[0] :].any()
    assert not shares[1].any()


def test_a_time_step_is_reached_where_it_begins_before_the_end() -> None:
    assert reached(torch.tensor([0, 1, 4, 5, 99]), 2.0, 4).sum(dim=1).tolist() == [0, 1, 2, 3, 4]
    assert reached(torch.tensor([3]), 0.1 * 3, 20).sum() == 10  # 0.1 * 3 > 0.3


@settings(max_examples=15)
@given(st.data(), st.sampled_from(FUSIONS), st.integers(1, 9))
def test_a_padded_sample_is_the_sample_alone(data: st.DataObject, fusion: str, steps: int) -> None:
    model = make(fusion=fusion, time_steps=steps, strategy="random")
    inputs = inputs_of(model, 3)
    full = {n: len(t[0]) for n, t in inputs.items()}
    lengths = {n: torch.tensor([data.draw(st.integers(0, full[n])) for _ in range(3)]) for n in SPECS}
    lengths["video"] = lengths["video"] // 2 * 2
    lengths["audio"][lengths["audio"] < 8] = 0
    lengths["audio"] = (lengths["audio"] - 8) // 5 * 5 + 8  # whole patches, of which -2 stands for none
    lengths["audio"] = lengths["audio"].clamp(min=0)
    out = model(inputs, lengths)
    assert out.shape == (3, steps, 3)
    for b in range(3):
        alone = {n: inputs[n][b : b + 1, : lengths[n][b]] for n in SPECS if lengths[n][b]}
        if alone.keys() & TIMED:
            torch.testing.assert_close(out[b : b + 1], model(alone))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_any_subset_that_has_a_time_axis_runs(fusion: str) -> None:
    model = make(fusion=fusion)
    inputs = inputs_of(model, 1)
    for size in (1, 2, 3):
        for names in itertools.combinations(inputs, size):
            some = {n: inputs[n] for n in names}
            if not set(names) & set(TIMED):
                with pytest.raises(ValueError, match="one or more of video, audio, lips, which have a time axis"):
                    model(some)
                continue
            out = model(some)
            missing = {n: torch.tensor([len(inputs[n][0]) if n in names else 0]) for n in inputs}
            torch.testing.assert_close(out, model(inputs, missing))


def test_lengths_of_some_leave_the_others_full() -> None:
    model = make(("video", "lips", "words"))
    inputs = inputs_of(model, 2)
    some = {"lips": torch.tensor([6, 2])}
    every = some | {"video": torch.tensor([6, 6]), "words": torch.tensor([7, 7])}
    assert torch.equal(model(inputs, some), model(inputs, every))


def test_steps_beyond_one_modality_come_from_the_others() -> None:
    """All self, so that nothing but the head joins the modalities; a video of 3 of 6 frames reaches 3 of 5 steps."""
    model = make(("video", "lips"), fusion="selfall")
    inputs = inputs_of(model, 2)
    inputs["video"] = inputs["video"][:, :4]
    video, lips, both = model({"video": inputs["video"]}), model({"lips": inputs["lips"]}), model(inputs)
    torch.testing.assert_close(both[:, :4], (video + lips)[:, :4] / 2)
    torch.testing.assert_close(both[:, 4:], lips[:, 4:])


def test_a_change_at_one_time_is_heard_at_that_time() -> None:
    """Below the head tokens keep to themselves: no attention, no feed-forward layer."""
    model = make(("lips",), fusion="selfall", time_steps=6)
    with torch.no_grad():
        for block in model.fusion:
            for parameter in block.parameters():
                parameter.zero_()
        for block in model.towers["lips"]:
            for parameter in block.parameters():
                parameter.zero_()
    inputs = inputs_of(model, 1)
    before = model(inputs)
    inputs["lips"][0, 2] += 1
    assert (model(inputs) != before).any(-1).nonzero().tolist() == [[0, 2]]


def test_compiles_without_graph_breaks() -> None:
    torch._dynamo.reset()
    model = make(("audio", "words"), depth=1)
    inputs = inputs_of(model, 2)
    lengths = {"audio": torch.tensor([23, 8]), "words": torch.tensor([7, 0])}
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs, lengths), model(inputs, lengths))
    torch.testing.assert_close(compiled(inputs), model(inputs))


def test_exports() -> None:
    model = make(("audio", "words"), depth=1)
    inputs = inputs_of(model, 2)
    program = torch.export.export(model, (inputs,))
    torch.testing.assert_close(program.module()(inputs), model(inputs))


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = make(("video", "words"), pace={"video": 1.25}).float()
    model.save_pretrained(tmp_path)
    again = FusionModel.from_pretrained(tmp_path).eval()
    assert again.config == model.config
    inputs = model.example_inputs(2)
    assert torch.equal(again(inputs), model(inputs))


def test_autocast_runs_in_bf16() -> None:
    model = make().float()
    inputs = model.example_inputs(2)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(inputs)
    torch.testing.assert_close(out.float(), model(inputs), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_steps": -1}, "time_steps: expected 0 or more, got -1"),
        ({"steps": ("lips",)}, "belong to time steps or to steps, not to both"),
        ({"pace": {"words": 1.0}}, "'words' is not one of the modalities with a time axis, video, audio, lips"),
        ({"pace": {"lips": 0.0}}, "expected of 'lips' more than 0 input steps, got 0.0"),
        ({"pace": {"lips": 1.0}, "time_steps": 0}, "expected time_steps"),
        ({"names": ("words", "photo")}, "expected a modality with a time axis"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_gpu_gives_what_a_cpu_gives(where: str) -> None:
    model = make().float()
    inputs = model.example_inputs(2)
    lengths = {"audio": torch.tensor([23, 0]), "lips": torch.tensor([2, 6])}
    wanted = model(inputs, lengths), model(inputs)
    model.cuda()
    inputs = {n: t.cuda() for n, t in inputs.items()}
    found = model(inputs, {n: t.to(where) for n, t in lengths.items()}), model(inputs)
    torch.testing.assert_close([out.cpu() for out in found], list(wanted), atol=1e-4, rtol=1e-4)
