import json
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from locomt.cli import checks, codecs
from locomt.cli.checks import Report
from locomt.cli.main import main

Usage = namedtuple("Usage", "total used free")


def test_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert code == (0 if found["can_train"] else 1)
    assert found["can_train"] is not any(problem["blocking"] for problem in found["problems"])
    assert set(found) >= {"machine", "packages", "torch", "backends", "media", "compiler", "problems"}
    assert found["backends"]["reference"] is None
    assert found["torch"]["devices"][0]["name"] == "cpu"


def test_text_names_packages_backends_and_codecs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = capsys.readouterr().out
    for word in ("lightning", "backend reference", "h264", "FFmpeg", "torch.compile", "Training works here."):
        assert word in out


def test_installed_versions_fit_their_bounds() -> None:
    report = Report()
    checks.check_packages(report)
    assert report.problems == []
    rows = {row["name"]: row for row in report.document["packages"]}
    assert rows["torch"]["state"] == "ok"
    assert rows["transformers"]["extra"] == "text"
    assert rows["optuna"]["extra"] == "experiments"
    assert rows["scikit-learn"]["extra"] == "experiments"
    assert "ruff" not in rows


@pytest.mark.parametrize(
    ("name", "version", "blocking"),
    [("lightning", "2.6.2", True), ("torch", "2.10.0", True), ("transformers", "4.0", False), ("optuna", "3.0", False)],
)
def test_unfit_version_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, version: str, blocking: bool
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda asked: version if asked == name else real(asked))
    report = Report()
    checks.check_packages(report)
    (problem,) = report.problems
    assert problem.blocking is blocking
    assert report.can_train is not blocking
    assert problem.what.startswith(f"{name} {version}, expected {name}")
    assert f"pip install '{name}" in problem.do


@pytest.mark.parametrize(("name", "problems"), [("av", 1), ("pyarrow", 0)])
def test_missing_package_is_a_problem_unless_it_is_an_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, problems: int
) -> None:
    real = metadata.version

    def version(asked: str) -> str:
        if asked == name:
            raise metadata.PackageNotFoundError(name)
        return real(asked)

    monkeypatch.setattr(metadata, "version", version)
    report = Report()
    checks.check_packages(report)
    assert len(report.problems) == problems
    assert {row["name"]: row["state"] for row in report.document["packages"]}[name] == "missing"


def test_full_disk_stops_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: Usage(100, 99, 10**8))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM: 0.1 GiB of disk are free" in out
    assert "Training will not work" in out


def test_no_backend_stops_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locomt.ops.backends", lambda: {"sdpa": "too old"})
    report = Report()
    checks.check_torch(report)
    assert not report.can_train
    assert "sdpa: too old" in report.problems[-1].what


def test_missing_compiler_and_headers_are_notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    report = Report()
    checks.check_compiler(report)
    assert "no-such-compiler" in str(report.problems[0])
    compiler = tmp_path / "cxx"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(checks.sysconfig, "get_path", lambda name: str(tmp_path))
    checks.check_compiler(report)
    assert "headers" in report.problems[1].what
    assert report.can_train


@pytest.mark.parametrize(("name", "kind", "container"), [("mpeg4", "video", "avi"), ("flac", "audio", "flac")])
def test_codec_of_ffmpeg_itself_works(name: str, kind: str, container: str) -> None:
    assert codecs.try_codec(name, kind, container)["error"] is None


def test_unknown_codec_is_missing() -> None:
    assert codecs.try_codec("no_such_codec", "video", "mp4") == {
        "name": "no_such_codec", "kind": "video", "encoder": None, "decoder": None, "error": None,
    }  # fmt: skip


def test_codec_that_does_not_fit_its_container_fails() -> None:
    assert codecs.try_codec("flac", "audio", "mp3")["error"]


def test_clip_that_loses_frames_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_read_back", lambda clip, kind: 3)
    assert codecs.try_codec("mpeg4", "video", "avi")["error"] == "10 frames in, 3 out"


def test_media_problems_say_what_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"name": "h264", "kind": "video", "encoder": None, "decoder": None, "error": None}
    broken = {"name": "aac", "kind": "audio", "encoder": "aac", "decoder": "aac", "error": "broken"}
    monkeypatch.setattr(codecs, "try_codecs", lambda: [gone, broken])
    report = Report()
    checks.check_media(report)
    assert [problem.blocking for problem in report.problems] == [True, False]
    assert "no video decoder for h264" in report.problems[0].what
    assert "audio could not be written and read back in aac" in report.problems[1].what
