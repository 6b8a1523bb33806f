"""`locomt predict` on folders, patterns and manifests, and answers in a file."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import feature_project
from locomt.cli.main import main
from locomt.data.dataset import FileDataset
from locomt.train import Run, fit, load_recipe, predict

Ask = Callable[..., tuple[int, str]]
FEATURES = 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    recipe = load_recipe(feature_project.make_project(folder / "project", epochs=1))
    fit(recipe, folder / "run")
    return folder


@pytest.fixture
def ask(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """`locomt predict RUN ...` in a folder with the test split's files: its exit code and what it said on stderr."""
    monkeypatch.chdir(tmp_path)
    Path("clips", "more").mkdir(parents=True)
    for number in range(FEATURES):
        name = f"test{number}_motion.npy"
        shutil.copy(trained / "project" / name, Path("clips", *(["more"] if number == 4 else []), name))

    def run(*words: str) -> tuple[int, str]:
        code = main(["predict", str(trained / "run"), *words])
        return code, " ".join(capsys.readouterr().err.split())

    return run


def table(name: str) -> list[dict[str, Any]]:
    """The rows of a file of predictions, as its JSON lines have them."""
    path = Path(name)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(path).to_pylist()
    else:
        rows = [{n: cell or None for n, cell in row.items()} for row in csv.DictReader(path.read_text().splitlines())]
    for row in rows:
        scores = {n.removeprefix("p_"): row.pop(n) for n in list(row) if n.startswith("p_")}
        row["probabilities"] = {n: float(score) for n, score in scores.items()} if row["error"] is None else None
        row["missing"] = json.loads(row["missing"] or "{}")
    return rows


def test_a_folder_in_all_forms(ask: Ask, trained: Path) -> None:
    Path("clips", "broken.npy").write_bytes(b"no array")
    Path("clips", "notes.txt").write_text("not asked")
    Path("clips", ".hidden.npy").touch()
    for form in ("csv", "jsonl", "parquet"):
        code, err = ask("motion=clips", "--out", f"preds.{form}")
        assert code == 2
        assert f"1 of 6 samples could not be read; column error of preds.{form} says why" in err
    rows = table("preds.jsonl")
    assert rows == table("preds.csv") == table("preds.parquet")
    assert [row["file"] for row in rows] == [str(path) for path in sorted(Path("clips").rglob("[bt]*.npy"))]
    broken, *whole = rows
    assert broken["label"] is None
    assert "broken.npy" in broken["file"]
    assert broken["error"]
    expected = predict(Run.load(trained / "run"), [{"motion": row["file"]} for row in whole])
    for row, answer in zip(whole, expected, strict=True):
        scores = {guess["label"]: guess["score"] for guess in answer["predictions"]}
        assert row["probabilities"] == pytest.approx(scores)
        assert list(row["probabilities"]) == sorted(feature_project.LABELS)
        assert row["label"] == max(scores, key=lambda label: scores[label])
    assert not list(Path().glob("*.part"))


def test_patterns_and_what_none_fits(ask: Ask) -> None:
    assert (
        ask("motion=clips/*.npy", "motion=clips/test0_motion.npy", "motion=clips/**/*4_*.npy", "--out", "preds.jsonl")[
            0
        ]
        == 0
    )
    names = [row["file"] for row in table("preds.jsonl")]
    assert names == [*(f"clips/test{n}_motion.npy" for n in range(4)), "clips/more/test4_motion.npy"]
    assert ask("clips/*.mp4") == (2, "locomt predict: expected files, but none fits 'clips/*.mp4'")
    Path("empty").mkdir()
    assert ask("empty") == (2, "locomt predict: empty: expected files of features in this folder, got nothing")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_manifest_needs_no_labels_and_says_what_is_missing(ask: Ask, trained: Path, form: str) -> None:
    shutil.copy(trained / "project" / "test1_sound.npy", "clips")
    rows = [{"id": f"clip {n}", "motion": f"clips/test{n}_motion.npy", "sound": ""} for n in range(3)]
    rows[1]["sound"] = "clips/test1_sound.npy"
    rows[2]["motion"] = "../outside.npy"
    lines = [json.dumps(row) for row in rows]
    if form == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    manifest = Path(f"new.{form}")
    manifest.write_text("\n".join(lines))
    code, err = ask(str(manifest))
    assert (code, "leads out of the manifest's folder" in err) == (2, True)
    manifest.write_text("\n".join(lines[:-1]))
    code, err = ask(str(manifest), "--out", "preds.csv")
    assert code == 0
    assert "1 of 2 samples were answered without sound; column missing of preds.csv says why" in err
    found = table("preds.csv")
    assert [row["file"] for row in found] == ["clip 0", "clip 1"]
    assert [row["missing"] for row in found] == [{"sound": "nothing was given of it"}, {}]
    pair = {"motion": "clips/test1_motion.npy", "sound": "clips/test1_sound.npy"}
    (answer,) = predict(Run.load(trained / "run"), pair)
    assert found[1]["probabilities"][answer["predictions"][0]["label"]] == pytest.approx(
        answer["predictions"][0]["score"], abs=1e-5
    )


def test_files_of_one_name_belong_together(ask: Ask, trained: Path) -> None:
    for modality in ("motion", "sound"):
        Path(modality).mkdir()
        for number in range(3):
            shutil.copy(trained / "project" / f"test{number + 1}_{modality}.npy", f"{modality}/{number}.npy")
    Path("sound", "1.npy").unlink()
    code, err = ask("motion=motion/,sound=sound/*.npy", "--out", "preds.jsonl")
    assert code == 0
    assert "1 of 3 samples were answered without sound" in err
    rows = table("preds.jsonl")
    assert [(row["file"], row["missing"]) for row in rows] == [
        ("0", {}), ("1", {"sound": "nothing was given of it"}), ("2", {})
    ]  # fmt: skip
    items = [{name: f"{name}/{n}.npy" for name in ("motion", "sound") if (n, name) != (1, "sound")} for n in range(3)]
    for row, answer in zip(rows, predict(Run.load(trained / "run"), items), strict=True):
        assert row["probabilities"] == {guess["label"]: guess["score"] for guess in answer["predictions"]}
    assert "expected folders or patterns of all" in ask("motion=motion/,sound=sound/0.npy")[1]
    np.savez("motion/0.npz", np.zeros((2, 6)))
    assert "motion/0.npy and motion/0.npz have one name, 0" in ask("motion=motion/,sound=sound/")[1]


def test_one_file_does_not_stand_for_two_modalities_of_a_kind(ask: Ask) -> None:
    code, err = ask("clips/test0_motion.npy")
    assert code == 2
    assert "it may be of motion or of sound: say which, as motion=clips/test0_motion.npy" in err


def test_manifests_that_cannot_serve(ask: Ask) -> None:
    manifest = Path("new.csv")
    manifest.write_text("id,clip\na,b.npy\n")
    assert ask("new.csv") == (
        2,
        "locomt predict: new.csv: expected a column out of 'motion', 'sound', got 'id', 'clip'",
    )
    manifest.write_text("id,motion\na,clips/test0_motion.npy\na,clips/test1_motion.npy\n")
    assert ask("new.csv") == (2, "locomt predict: new.csv: line 3: 'a' is the name of another row already")


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Reading stops the program as Ctrl-C does once `stop[0]` samples were read; how many were is `len` of the rest."""
    state, read = [10**9], FileDataset.__getitem__

    def get(self: FileDataset, index: int) -> Any:
        if len(state) > state[0]:
            raise KeyboardInterrupt
        state.append(index)
        return read(self, index)

    monkeypatch.setattr(FileDataset, "__getitem__", get)
    return state


@pytest.mark.parametrize("tail", [b"", b'{"file": "clips/test', b"\0" * 30 + b"\n"])
def test_a_stopped_run_goes_on_and_ends_alike(ask: Ask, stopping: list[int], tail: bytes) -> None:
    for number in range(12):
        shutil.copy("clips/test0_motion.npy", f"clips/x{number:02}.npy")
    assert ask("motion=clips", "--out", "whole.csv")[0] == 0
    assert len(stopping) == 1 + 17
    stopping[:] = [12]  # batches are of five
    code, err = ask("motion=clips", "--out", "preds.csv")
    assert code == 130
    assert "stopped; the same command goes on with what is in preds.csv.part" in err
    assert not Path("preds.csv").exists()
    with Path("preds.csv.part", "rows.jsonl").open("ab") as file:
        file.write(tail)
    stopping[:] = [10**9]
    code, err = ask("motion=clips", "--out", "preds.csv")
    assert code == 0
    assert "10 samples are in preds.csv.part already" in err
    assert len(stopping) == 1 + 7
    whole, resumed = table("whole.csv"), table("preds.csv")
    assert [(r["file"], r["label"]) for r in whole] == [(r["file"], r["label"]) for r in resumed]
    assert not Path("preds.csv.part").exists()


def test_what_is_there_is_not_overwritten(ask: Ask, trained: Path, stopping: list[int]) -> None:
    assert ask("motion=clips", "--out", "preds.jsonl")[0] == 0
    assert ask("motion=clips", "--out", "preds.jsonl") == (
        2, "locomt predict: preds.jsonl is there already; remove it, or name another file",
    )  # fmt: skip
    assert ask("motion=clips", "--out", "preds.txt")[1].endswith(
        "expected a file that ends in .csv, .jsonl, .parquet, got preds.txt"
    )
    stopping[:] = [1]
    assert ask("motion=clips", "--out", "other.csv")[0] == 130
    rows = Path("other.csv.part", "rows.jsonl")
    rows.write_text('{"model": "of another"}\n')
    assert "other.csv.part has predictions of another model" in ask("motion=clips", "--out", "other.csv")[1]
    assert rows.exists()


def test_a_pipe_is_told_now_and_then(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locomt.cli.predict.EVERY", 0)
    err = ask("motion=clips", "--out", "preds.csv")[1]
    assert "1 of 5 samples, " in err
    assert err.endswith("5 rows in preds.csv")


def test_batches_hold_no_more_than_one_at_a_time(trained: Path, tmp_path: Path, stopping: list[int]) -> None:
    """An answer is there before the samples of the next batch are read."""
    np.save(tmp_path / "a.npy", np.ones((3, 6), dtype=np.float32))
    run = Run.load(trained / "run")
    found = run.predictor.predictions([tmp_path / "a.npy"] * 17)
    next(found)
    assert len(stopping) - 1 == run.recipe.train.batch_size == 5
    assert len(list(found)) == 16
