"""Bundles: what `locomt export` writes answers as the model does, without torch, and is whole or refused."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import locomt.runtime
from locomt import FusionConfig, FusionModel
from locomt.cli.main import main
from locomt.data import DataConfig, FileDataset, collate
from locomt.export.parity import ParityError, same_answers
from locomt.export.write import export
from locomt.require import ConfigError
from locomt.runtime import BundleError
from locomt.runtime.bundle import run
from locomt.runtime.contents import DOCUMENT, sealed
from locomt.train.predictor import Predictor
from media_clips import add_audio, add_video, pictures, tone, write_clip, write_video

BLOCKED = ("torch", "lightning", "torchmetrics", "transformers", "safetensors", "jsonargparse", "yaml", "rich")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    modalities = {
        "video": {"kind": "video", "column": "clip", "frames": 4, "size": 8, "patch": 8},
        "audio": {"kind": "audio", "column": "clip", "seconds": 1.0, "mels": 16},
        "title": {"kind": "text", "column": "title", "max_length": 6},
    }
    data = DataConfig(manifest="none.csv", modalities=modalities, crop=0.5, clips=2)
    specs = {name: source.spec() for name, source in data.modalities.items()}
    torch.manual_seed(0)
    model = FusionModel(
        FusionConfig(
            dim=8, heads=2, depth=1, fusion_layers=1, views="video~audio:1 self:1", num_outputs=3, modalities=specs
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    folder = tmp_path_factory.mktemp("model")
    made = Predictor(folder, model, data, ("one", "two", "three"), 4)
    made.save(folder)
    return made


@pytest.fixture(scope="module")
def bundle(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    found = export(predictor, folder)
    assert found.difference < 1e-5
    assert found.latencies.keys() == {1, 8}
    return folder


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("clips")
    clip = write_clip(
        folder / "both.mkv",
        lambda o: add_video(o, pictures(30)),
        lambda o: add_audio(o, tone(1.2, 16000)[None], 16000),
    )
    mute = write_video(folder / "mute.mkv", pictures(3))
    (folder / "broken.mp4").write_bytes(b"no clip")
    both = {"video": str(clip), "audio": str(clip), "title": "a title"}
    return [str(clip), str(mute), both, {"title": "a"}, str(folder / "broken.mp4"), str(folder / "none.mp4")]


def test_it_answers_without_torch_as_predict_does(predictor: Predictor, bundle: Path, items: list[Any]) -> None:
    program = (
        "import json, sys, time\n"
        f"for name in {BLOCKED}: sys.modules[name] = None\n"
        "import locomt.runtime\n"
        "answers = locomt.runtime.load(sys.argv[1]).predict(json.loads(sys.argv[2]), top=2)\n"
        "print(json.dumps(answers))\n"
    )
    words = [sys.executable, "-c", program, str(bundle), json.dumps(items)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    ours, theirs = json.loads(done.stdout), predictor.predict(items, top=2, device="cpu")
    assert [answer.get("missing") for answer in ours] == [
        ["title"], ["audio", "title"], None, ["video", "audio"], None, None
    ]  # fmt: skip
    for one, other in zip(ours, theirs, strict=True):
        scores = [answer.pop("predictions", []) for answer in (one, other)]
        assert one == other
        assert [guess["label"] for guess in scores[0]] == [guess["label"] for guess in scores[1]]
        assert [guess["score"] for guess in scores[0]] == pytest.approx([guess["score"] for guess in scores[1]], 1e-4)
    assert len({answer["predictions"][0]["score"] for answer in predictor.predict(items[:4], device="cpu")}) == 4


def test_no_graph_tells_of_the_machine_that_made_it(bundle: Path, predictor: Predictor) -> None:
    places = [str(Path(module.__file__).parent).encode() for module in (locomt, torch)]
    content = (bundle / "model.onnx").read_bytes()
    assert b"inputs_video" in content
    assert not [place for place in places if place in content]


def test_importing_the_runtime_imports_next_to_nothing() -> None:
    program = "import sys, locomt.runtime; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "av", "onnxruntime", "PIL", "lightning", "locomt.nn", "locomt.tasks"}
    assert not heavy & set(done.stdout.split())


def test_examples_have_what_is_expected_of_them(predictor: Predictor, bundle: Path) -> None:
    opened = locomt.runtime.load(bundle)
    assert opened.labels == ["one", "two", "three"]
    examples = opened.examples()
    assert [set(inputs) for inputs, _ in examples][:2] == [{"video", "audio", "title"}, {"video"}]
    for inputs, expected in examples:
        np.testing.assert_allclose(opened.logits([inputs])[0], expected, rtol=1e-4, atol=1e-5)
    together = opened.logits([inputs for inputs, _ in examples])
    np.testing.assert_allclose(together, [expected for _, expected in examples], rtol=1e-4, atol=1e-5)


def test_samples_of_a_split_are_answered_alike(predictor: Predictor, bundle: Path, items: list[Any]) -> None:
    opened, data = locomt.runtime.load(bundle), predictor.data
    dataset = FileDataset(data, items[:4], clips=data.clips)
    batch = collate([dataset[i] for i in range(4)], config=data)
    inputs = opened.document["inputs"]

    def answers(arrays: Any, lengths: Any) -> Any:
        return run(opened.session, arrays, lengths)

    assert same_answers(predictor, answers, inputs, [(batch, torch.empty(0))]) == 8  # two crops each
    with pytest.raises(ParityError, match="row 1 of the split"):
        same_answers(predictor, lambda *given: -answers(*given), inputs, [(batch, torch.empty(0))])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _other_version(path: Path) -> None:
    document = json.loads((path / DOCUMENT).read_text())
    (path / DOCUMENT).write_text(json.dumps({**document, "format": 2}))


def _form(path: Path) -> None:
    document = json.loads((path / DOCUMENT).read_text())
    rest = {name: value for name, value in document.items() if name not in ("format", "files", "checksum")}
    (path / DOCUMENT).unlink()
    (path / DOCUMENT).write_text(sealed({**rest, "form": "pt2"}, path))


FAULTS = {
    "graph": (lambda path: _flip(path / "model.onnx"), r"model\.onnx: the bundle is damaged: it is not as it was"),
    "no graph": (lambda path: (path / "model.onnx").unlink(), r"model\.onnx: .* there is no such file"),
    "labels": (
        lambda path: (path / DOCUMENT).write_text((path / DOCUMENT).read_text().replace("two", "six")),
        r"bundle\.json: .* it does not have the checksum",
    ),
    "half": (
        lambda path: (path / DOCUMENT).write_text((path / DOCUMENT).read_text()[:99]),
        r"bundle\.json: .* it is no",
    ),
    "list": (lambda path: (path / DOCUMENT).write_text("[]"), r"bundle\.json: .* holds no object"),
    "version": (_other_version, r"bundle\.json: expected format 1, got 2"),
    "unfinished": (lambda path: (path / DOCUMENT).unlink(), r"holds no bundle: expected bundle\.json"),
    "form": (_form, "of form 'pt2'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_damaged_or_of_another_version_is_refused_by_name(bundle: Path, tmp_path: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert locomt.runtime.load(copy).document["task"] == "multiclass"
    damage(copy)
    with pytest.raises(BundleError, match=message):
        locomt.runtime.load(copy)


def test_the_command(predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "program"
    words = ["export", str(predictor.folder), "--format", "pt2", "--out", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == str(out)
    assert told["difference"] < 1e-5
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "bundle.json", "examples.npz", "model.pt2"]
    with zipfile.ZipFile(out / "model.pt2") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert not [content for content in contents if str(Path(torch.__file__).parent).encode() in content]
    assert main(words) == 2
    assert "is there already; remove it, or name another folder" in capsys.readouterr().err


def test_nothing_is_left_of_a_graph_that_answers_otherwise(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Program:
        pass

    def other(path: Path, names: Any) -> Any:
        return lambda inputs, lengths: np.zeros((len(lengths), 3), np.float32)

    from locomt.export import write

    form = write.FORMS["pt2"]._replace(write=lambda program, path: path.write_bytes(b""), open=other)
    monkeypatch.setitem(write.FORMS, "pt2", form)
    monkeypatch.setattr(write, "export_graph", lambda model: Program())
    with pytest.raises(ParityError, match="the graph's logits differ"):
        export(predictor, tmp_path / "bundle", "pt2")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="expected one of onnx, pt2, aoti, got 'tflite'"):
        export(predictor, tmp_path / "bundle", "tflite")


@pytest.mark.parametrize(
    ("form", "message"), [("onnx", r"needs onnxscript: pip install 'locomt\[export\]'"), ("aoti", "a C\\+\\+ compiler")]
)
def test_what_a_form_takes_is_asked_for_first(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("locomt.export.write.export_graph", lambda model: pytest.fail("it was traced"))
    with pytest.raises(ConfigError, match=message):
        export(predictor, tmp_path / "bundle", form)
