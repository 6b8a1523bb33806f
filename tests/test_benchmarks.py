"""The benchmarks' arithmetic, what they compare with, and what they write; no time is asserted."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attention
import augment
import contenders
import data_clips
import data_rivals
import document
import model
import models
import plot
import pytest
import torch
from cases import CPU_CASES, CUDA_CASES, Case, cases
from gpu import graphed, peak_bytes

import data
from locomt.cost import flops
from locomt.cost.timing import paired_seconds

TWO = {"a": 9, "b": 6}


def small(padded: bool, batch: int = 3) -> Case:
    return Case(batch, 8, TWO, "self:1 a~b:1", padded)


def test_flop_ratio_of_full_samples() -> None:
    case = small(padded=False)
    assert case.pairs == 3 * (9 * 9 + 6 * 6 + 2 * 9 * 6)
    assert case.flop_ratio == case.pairs / (3 * 2 * 15**2)
    assert case.flops == 4 * 8 * case.pairs


def test_flop_ratio_of_padded_samples_is_that_of_the_lengths_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = torch.tensor([[9, 3], [5, 6], [7, 4]])
    monkeypatch.setattr(Case, "lengths", lengths)
    case = Case(3, 8, TWO, "self:2 a~b:1", padded=True)
    own = (9**2 + 3**2) + (5**2 + 6**2) + (7**2 + 4**2)
    across = 2 * (9 * 3 + 5 * 6 + 7 * 4)
    assert case.pairs == 2 * own + across
    assert case.dense_pairs == 3 * (12**2 + 11**2 + 11**2)
    assert case.flop_ratio == (2 * own + across) / case.dense_pairs


@pytest.mark.parametrize("case", cases("cuda"), ids=lambda case: case.name)
def test_lengths_are_between_half_and_full_and_the_same_each_time(case: Case) -> None:
    full = torch.tensor(list(case.tokens.values()))
    assert case.lengths.shape == (case.batch, len(full))
    assert torch.equal(case.lengths, case.lengths)
    assert bool((case.lengths <= full).all())
    assert bool((2 * case.lengths >= full).all())
    assert case.padded == bool((case.lengths < full).any())


def test_every_case_is_there_full_and_padded_under_a_name_of_its_own() -> None:
    assert len({case.name for case in cases("cuda")}) == 2 * len(CUDA_CASES) == 12
    assert cases("cpu") == CPU_CASES


@pytest.mark.parametrize(
    ("device", "name"),
    [("cpu", "each"), *(pytest.param("cuda", name, marks=pytest.mark.gpu) for name in ("each", "varlen"))],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_dense_attention_of_packed_samples_equals_masked_attention(device: str, name: str, batch: int) -> None:
    case = small(padded=True, batch=batch)
    numbers = contenders.draw(case, device)
    rivals = contenders.dense(case, numbers)

    def packed(values: torch.Tensor) -> torch.Tensor:
        return values.transpose(1, 2)[numbers.real]

    def joined(values: Sequence[torch.Tensor] | torch.Tensor) -> torch.Tensor:
        return torch.cat([value[0].transpose(0, 1) for value in values]) if name == "each" else values

    masked, other = rivals["masked"], rivals[name]
    close = {"rtol": 0.03, "atol": 0.03} if device == "cuda" else {}
    torch.testing.assert_close(joined(other.forward()), packed(masked.forward()), **close)
    gradients, expected = other.both(), masked.both()
    for i in range(3):
        found = joined(gradients[i::3]) if name == "each" else gradients[i]
        torch.testing.assert_close(found, packed(expected[i]), **close)


def test_views_of_all_modalities_equal_dense_attention() -> None:
    case = Case(2, 8, TWO, "multi:2")
    numbers = contenders.draw(case, "cpu")
    mine, dense = contenders.view(case, numbers, "auto"), contenders.dense(case, numbers)["dense"]
    torch.testing.assert_close(mine.forward(), dense.forward())
    torch.testing.assert_close(mine.both(), dense.both())


@pytest.mark.parametrize("padded", [False, True])
def test_a_case_is_reported(padded: bool) -> None:
    row = attention.run_case(small(padded), "auto", "cpu", budget=0.0)
    assert row["flop_ratio"] == round(small(padded).flop_ratio, 4)
    assert row["backend"] == "sdpa"
    assert row["forward_ratio"] > 0 < row["forward_backward_ratio"]
    assert row["relative_error"] < 1e-5
    assert row["name"] in attention.summary(row)


@pytest.mark.gpu
@pytest.mark.parametrize("padded", [False, True])
def test_a_case_of_one_sample_is_reported_with_graphs_and_memory(padded: bool) -> None:
    row = attention.run_case(Case(1, 64, {"a": 90, "b": 60}, "self:1 a~b:1", padded), "auto", "cuda", budget=0.0)
    assert {"graph_forward_ratio", "graph_forward_backward_ratio", "memory_ratio"} <= set(row)


@pytest.mark.parametrize("padded", [False, True])
def test_contenders_that_are_wrong_are_not_timed(padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_wrong_ones(case: Case, numbers: contenders.Batch) -> dict[str, contenders.Contender]:
        found = dense(case, numbers)
        right = next(iter(found.values()))
        wrong = right._replace(attend=lambda q, k, v: right.attend(q, k, v) * 1.1)
        failing = right._replace(attend=lambda q, k, v: q @ v)
        return {**found, "wrong": wrong, "failing": failing}

    dense = contenders.dense
    monkeypatch.setattr(attention, "dense", with_wrong_ones)
    row = attention.run_case(small(padded), "auto", "cpu", budget=0.0)
    assert set(row["forward_ms"]) == {"sdpa", *(("masked", "each") if padded else ("dense",))}
    assert row["errors"]["wrong"] == pytest.approx(0.1, rel=1e-4)
    assert isinstance(row["errors"]["failing"], str)
    assert all(row["errors"][name] < 1e-5 for name in row["forward_ms"])


def test_attention_from_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attention, "cases", lambda device: (small(False), small(True)))
    out = tmp_path / "x.json"
    monkeypatch.setattr(sys, "argv", ["attention.py", "--device", "cpu", "--seconds", "0", "--out", str(out)])
    attention.main()
    written = json.loads(out.read_text())
    assert written["command"] == "python attention.py --device cpu --seconds 0"
    assert [case["padded"] for case in written["cases"]] == [False, True]
    plot.plot([written], tmp_path / "x.svg")
    assert "sdpa, forward + backward, padded" in (tmp_path / "x.svg").read_text()


def test_every_candidate_is_timed_as_often() -> None:
    calls = {"a": 0, "b": 0}

    def run(name: str) -> None:
        calls[name] += 1

    found = paired_seconds({name: lambda name=name: run(name) for name in calls}, "cpu", budget=0.0)
    assert set(found) == {"a", "b"}
    assert calls["a"] == calls["b"] == 2 + 5


@pytest.mark.gpu
def test_a_graph_repeats_what_was_recorded() -> None:
    count = torch.zeros((), device="cuda")
    replay = graphed(lambda: count.add_(1))
    before = float(count)
    replay()
    assert float(count) == before + 1


@pytest.mark.gpu
def test_peak_memory_counts_what_a_run_adds() -> None:
    assert peak_bytes(lambda: torch.empty(2**20, device="cuda", dtype=torch.uint8).clone()) == 2 * 2**20


def rows(**ratios: float) -> list[dict[str, Any]]:
    return [{"name": name, "flop_ratio": 0.5, "time_ratio": ratio} for name, ratio in ratios.items()]


def test_parts_of_one_benchmark_merge() -> None:
    about = {"date": "2026-01-01", "device": "G", "torch": "2", "triton": "3", "cudnn": 9, "python": "3.12"}
    old = {**about, "command": "one", "cases": rows(a=0.6, b=0.7)}
    new = {**about, "date": "2026-01-02", "command": "two", "cases": rows(b=0.5, c=0.4)}
    both = document.merged(old, new)
    assert both["cases"] == rows(a=0.6, b=0.5, c=0.4)
    assert both["date"] == "2026-01-02"
    assert both["command"] == "one && two"
    assert document.merged(both, new) == both
    with pytest.raises(ValueError, match="different machines"):
        document.merged(old, {**new, "device": "another"})


@pytest.mark.parametrize("shape", models.SHAPES)
@pytest.mark.parametrize("fusion_layers", model.FUSION_LAYERS)
def test_models_have_the_shapes_that_their_names_say(shape: str, fusion_layers: int) -> None:
    for name, config in models.configs(models.SHAPES[shape], fusion_layers).items():
        assert "+".join(map(str, config.layout.lengths)) == shape
        assert (config.fusion, config.fusion_layers, config.depth) == (name, fusion_layers, 12)
        assert (config.dim, config.heads) == (768, 12)


@pytest.mark.parametrize("shape", models.SHAPES)
def test_half_of_locomts_heads_are_cross_and_it_costs_least(shape: str) -> None:
    configs = models.configs(models.SHAPES[shape], 12)
    for layer in configs["locomt"].view_table().layers:
        assert sum(view.is_cross for view in layer.heads) == 6
    cost = {name: flops(config).total for name, config in configs.items()}
    assert min(cost, key=cost.get) == "locomt"
    assert max(cost, key=cost.get) == models.BASELINE


def test_utilisation_is_the_part_of_a_rate() -> None:
    assert model.utilisation(3e12, seconds=0.01, rate=6e14) == 0.5


def test_models_without_cuda_say_what_they_need(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["model.py"])
    model.main()
    assert capsys.readouterr().out.count("\n") == 1


def attention_document() -> dict[str, Any]:
    ratios = {"auto": 0.6, "triton": 0.6, "sdpa": 0.9}
    case = {"name": "x", "backend": "triton", "flop_ratio": 0.5}
    case |= {
        f"{p}_{kind}": ratios if kind == "ratios" else 0.6 for p in attention.PASSES for kind in ("ratio", "ratios")
    }
    return {"device": "NVIDIA G", "cases": [case, {**case, "padded": True}]}


def test_points_are_those_of_every_backend_once() -> None:
    points = plot.attention_points(attention_document())
    assert len(points) == 2 * 2 * 2  # passes, backends, full and padded
    assert (0.5, 0.9, "sdpa", "forward", True) in points


def test_plot_is_the_same_each_time(tmp_path: Path) -> None:
    models_document = {
        "device": "NVIDIA G",
        "cases": [{"model": "locomt", "task": "training", "flop_ratio": 0.8, "time_ratio": 0.82}],
    }
    for name in ("one.svg", "two.svg"):
        plot.plot([attention_document(), models_document], tmp_path / name)
    one = (tmp_path / "one.svg").read_text()
    assert one == (tmp_path / "two.svg").read_text()
    assert "<dc:date>" not in one
    assert "triton, forward + backward, padded" in one
    assert "locomt, training" in one


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, data_clips.Kind]:
    kind = data_clips.Kind("a.mp4", 320, 240, 2.0, "libx264", "aac", 44_100, (("preset", "ultrafast"), ("g", "20")))
    return data_clips.make(tmp_path_factory.mktemp("clips"), kind), kind


@pytest.mark.parametrize("rival", ["pyav", "ffmpeg"])
@pytest.mark.parametrize("task", data_rivals.TASKS)
def test_rivals_read_the_same_frames_and_the_same_sound(
    short_clip: tuple[Path, data_clips.Kind], task: str, rival: str
) -> None:
    if rival not in data.decoders():
        pytest.skip("there is no ffmpeg program")
    wanted = data.wanted_of(*short_clip, task)
    ours, theirs = data_rivals.by_locomt(wanted), data.decoders()[rival](wanted)
    assert len(ours) == len(theirs)
    if task != "audio":
        assert ours[0].shape == theirs[0].shape
        apart = (ours[0].float() - theirs[0].float()).abs().mean(dim=(1, 2, 3))
        assert apart.max() < 4  # of 255: they scale otherwise; another frame is 10 to 60 away
        assert (ours[0][1:].float() - theirs[0][:-1].float()).abs().mean(dim=(1, 2, 3)).min() > 6
    if task != "video":
        assert 0 <= len(theirs[-1]) - len(ours[-1]) <= 5  # what AAC added at the end, up to two packets
        heard = len(ours[-1]) - 3  # the last windows reach beyond it
        assert (ours[-1][:heard] - theirs[-1][:heard]).abs().mean() < 0.05  # standard deviations


def test_kinds_of_clips_are_what_they_say(short_clip: tuple[Path, data_clips.Kind], tmp_path: Path) -> None:
    from locomt.data import probe

    info = probe(short_clip[0])
    assert (info.video.codec, info.video.width, info.video.height, info.video.frames) == ("h264", 320, 240, 50)
    assert (info.audio.codec, info.audio.rate, info.audio.channels) == ("aac", 44_100, 2)
    again = data_clips.make(tmp_path, short_clip[1])
    assert again.read_bytes() == short_clip[0].read_bytes()


def test_data_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, short_clip: tuple[Path, data_clips.Kind]
) -> None:
    kind = short_clip[1]
    monkeypatch.setattr(data, "KINDS", (kind,))
    monkeypatch.setattr(data, "WORKERS", (0,))
    out = tmp_path / "x.json"
    arguments = ["data.py", "--kinds", kind.name, "--samples", "16", "--seconds", "0", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    data.main()
    written = json.loads(out.read_text())
    assert [case["name"] for case in written["cases"]] == ["a.mp4 both", "a.mp4 video", "a.mp4 audio"]
    assert set(written["cases"][0]["clips_per_second"]) == set(data.decoders())
    assert [row["name"] for row in written["loaders"]] == [
        "files, 0 workers", "shards, 0 workers", "shards, crops, 0 workers"
    ]  # fmt: skip
    assert written["appetite"]["clips_per_second"] > 0


def test_appetite_is_that_of_training() -> None:
    found = data.appetite_of({"cases": [{"name": data.APPETITE, "batch": 32, "ms": 128.0}]})
    assert found == 250.0
    assert data.appetite_of(document.read(document.RESULTS / "h200-model.json")) > 0


def test_augmentation_from_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        sys, "argv", ["augment.py", "--device", "cpu", "--samples", "2", "--seconds", "0", "--out", "x.json"]
    )
    monkeypatch.chdir(tmp_path)
    augment.main()
    written = json.loads((tmp_path / "x.json").read_text())
    assert [case["name"] for case in written["cases"]] == ["whole", "one by one"]
    assert all(case["ms_per_sample"] > 0 and case["share_of_training"] > 0 for case in written["cases"])
    assert "--out" not in written["command"]
