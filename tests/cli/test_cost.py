import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from locomt import FusionModel
from locomt.cli import cost
from locomt.cli.main import main
from locomt.cost import flops, variants
from locomt.cost.counted import count_flops
from locomt.train.recipe_file import load_recipe

DOCS = Path(__file__).parents[2] / "docs" / "cost.md"
RECIPE = """
model: {dim: 12, heads: 3, depth: 3, fusion_layers: 2, cross: 0.5}
data:
  manifest: clips.csv
  labels: [yes, no, maybe]
  modalities:
    video: {kind: video, column: clip, frames: 4, size: 32}
    text: {kind: text, column: text, max_length: 20}
train: {accelerator: cpu}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "clips.yaml"
    path.write_text(RECIPE.replace("[yes, no, maybe]", "['yes', 'no', 'maybe']"))
    return str(path)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.0)


def document(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(["cost", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def failure(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["cost", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_json_document(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, recipe)
    assert found["tokens"] == {"video": 17, "text": 21}
    assert "1 multiply-add = 2 FLOPs" in found["convention"]
    own, heads = 17**2 + 21**2, 2 * 3
    bounds = found["guarantee"]
    assert bounds["locomt"] == (heads - 3) * own + 3 * 2 * 17 * 21
    assert bounds["self"] == heads * own
    assert bounds["bottle"] == heads * (21**2 + 25**2)
    assert bounds["multi"] == heads * 38**2
    assert bounds["holds"] is True
    assert bounds["holds_up_to"] == 7
    config = load_recipe(recipe).fusion_config()
    assert [model["name"] for model in found["models"]] == ["locomt", "selfall", "multiall", "mbt"]
    for model, other in zip(found["models"], variants(config).values(), strict=True):
        assert model["gflops"] == count_flops(other) / 1e9 == 2 * model["gmacs"]
        assert model["attention_gflops"] == flops(other).attention / 1e9
        assert model["computed"]["gflops"] == count_flops(other, everything=False) / 1e9 < model["gflops"]
        assert model["computed"]["attention_gflops"] == flops(other, everything=False).attention / 1e9
        assert model["parameters"] == sum(p.numel() for p in FusionModel(other).parameters())
        assert "latency_ms" not in model


def test_overrides_and_batch(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = document(capsys, recipe)
    more = document(capsys, recipe, "--batch", "4", "--data.modalities.text.max_length", "40", "--model.fusion", "mbt")
    assert more["tokens"]["text"] == 41
    assert more["batch"] == 4
    assert len(more["guarantee"]["layers"]) == 2
    for small, large in zip(one["models"], more["models"], strict=True):
        assert large["activation_bytes"] > 4 * small["activation_bytes"]


def test_table(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", recipe]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (
        "video 17, text 21",
        "locomt",
        "multiall",
        "GMACs",
        "vs all rows",
        "C_bottle < C_multi does up to B = 7",
    ):
        assert word in out
    assert "BROKEN" not in out


def test_broken_guarantee_is_said(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    views = ("--model.views", '"multi:3\\nself:3"')
    assert main(["cost", recipe, *views, "--model.bottlenecks", "9"]) == 0
    out = capsys.readouterr().out
    assert "BROKEN: C_bottle < C_multi holds up to B = 7 at these token counts, not for 9" in out
    assert "BROKEN: C_LoCoMT <= C_self is not guaranteed: 3 of 3 heads of fusion layer 1 are multi" in out
    assert "holds;" not in out


@pytest.mark.usefixtures("_quick")
def test_measure(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, recipe, "--measure", "--batch", "2")
    assert found["measured"]["device"].startswith("cpu")
    for model in found["models"]:
        for run in ("forward", "training_step"):
            assert model[run]["latency_ms"] > 0
            assert model[run]["peak_memory_bytes"] > 4 * model["parameters"]
        assert model["latency_ms"] == model["forward"]["latency_ms"]
    dense = found["models"][2]
    assert dense["forward"]["latency_vs_multiall"] == dense["training_step"]["memory_vs_multiall"] == 1


@pytest.mark.usefixtures("_quick")
def test_measured_table(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", recipe, "--measure"]) == 0
    out, err = capsys.readouterr()
    assert "Measured on cpu" in out
    assert "training step, ms" in out
    assert err.startswith("measuring 4 models on cpu")


def test_one_modality(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(recipe).write_text(re.sub(r" +video: .*\n", "", Path(recipe).read_text()))
    found = document(capsys, recipe, "--model.fusion", "selfall")
    assert found["tokens"] == {"text": 21}
    assert found["guarantee"]["holds_up_to"] is None
    assert len({model["gflops"] for model in found["models"][:3]}) == 1


def test_labels_that_only_a_missing_manifest_has(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(recipe).write_text(re.sub(r" +labels: .*\n", "", Path(recipe).read_text()))
    said = failure(capsys, recipe)
    assert f"no file {Path(recipe).parent / 'clips.csv'}; to do without it" in said
    assert "--data.labels '[first, second]'" in said
    assert document(capsys, recipe, "--data.labels", "[first, second]")["tokens"]["text"] == 21


def test_labels_from_the_manifest(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    listed = document(capsys, recipe)
    path = Path(recipe)
    path.write_text(re.sub(r" +labels: .*\n", "", path.read_text()))
    (path.parent / "clips.csv").write_text(
        "id,split,label,clip,text\n1,train,a,1.mp4,x\n2,train,b,2.mp4,y\n3,train,c,3.mp4,z\n"
    )
    assert document(capsys, recipe) == listed


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--batch", "0"), "--batch: expected 1 or more samples, got 0"),
        (("--model.dpeth", "3"), "did you mean 'depth'"),
        (("--model.fusion_layers", "9"), "model.fusion_layers"),
    ],
)
def test_mistakes_are_one_line(
    recipe: str, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], message: str
) -> None:
    assert message in failure(capsys, recipe, *argv)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_device_that_is_not_there(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no CUDA device" in failure(capsys, recipe, "--measure", "--train.accelerator", "cuda")


def test_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.yaml" in failure(capsys, "nowhere.yaml")


def test_never_imports_lightning(recipe: str) -> None:
    code = (
        "import sys\nfrom locomt.cli import cost\nfrom locomt.cli.main import main\ncost.SECONDS = 0\n"
        f"assert main(['cost', {recipe!r}, '--json', '--measure']) == 0\n"
        "assert not {'lightning', 'pytorch_lightning', 'matplotlib', 'tensorboard'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["batch"] == 1


def test_documented_output_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS.read_text()
    (recipe,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (output,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "clips.yaml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    assert main(["cost", "clips.yaml"]) == 0
    printed = capsys.readouterr().out
    assert [line.rstrip() for line in printed.splitlines()] == output.splitlines()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--model.depth", "1000000"], r"model\.depth: expected at most 1,024, got 1,000,000: that fits no machine"),
        (["--model.dim", "2000000"], r"model\.dim: expected at most 65,536, got 2,000,000: that fits no machine"),
        (
            ["--model.dim", "65536", "--model.heads", "64", "--model.depth", "1000"],
            "parameters, .* GiB in float32: that fits no machine",
        ),
        (["--data.modalities.video.frames", "999999999"], "that fits no machine"),
        (["--model.views", "self:4000000000"], "expected at most 1,024 heads of a layer"),
        (["--batch", "9" * 30], "that fits no machine"),
    ],
)
def test_absurd_sizes_fit_no_machine(
    recipe: str, capsys: pytest.CaptureFixture[str], overrides: list[str], message: str
) -> None:
    assert re.search(message, failure(capsys, recipe, *overrides))


def test_a_step_beyond_every_machine_is_said_to_be(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    long = ["--data.modalities.video.frames", "4000000", "--data.modalities.video.size", "512", "--batch", "1000"]
    assert main(["cost", recipe, *long]) == 0
    out = capsys.readouterr().out
    assert re.search(r"NOTE: a training step of batch 1000 fits no machine: .* take locomt [\d,]+ TiB, selfall", out)
    assert not any(model["fits_a_machine"] for model in document(capsys, recipe, *long)["models"])
    assert all(model["fits_a_machine"] for model in document(capsys, recipe)["models"])
    assert "fits no machine" in failure(capsys, recipe, *long, "--measure")
