"""`locomt train`, `evaluate` and `predict` from the command line to the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.cli.main import main
from locomt.cli.predict import parse_item

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture
def locomt(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs one command line in an empty working directory: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> tuple[int, str, str]:
        code = main([str(word) for word in argv])
        return code, *capsys.readouterr()

    return run


def test_train_then_resume_then_again(locomt: Command, recipe: Path, tmp_path: Path) -> None:
    code, out, err = locomt("train", recipe, "--train.epochs", "2")
    assert code == 0
    assert (tmp_path / "runs" / "clips" / "model" / "model.safetensors").exists()
    assert "val_accuracy" in out
    lines = err.splitlines()
    assert lines[0].startswith("device: CPU, ")
    assert lines[2:5] == [
        "data: 12 train, 6 val, 5 test samples, 3 classes; multiclass",
        "training: 2 epochs of 3 batches of 5",
        "3 classes, samples in 'train' / 'val' / 'test': 'left' 4 / 2 / 2, 'right' 4 / 2 / 2, 'up' 4 / 2 / 1",
    ]
    assert [line.partition(":")[0] for line in lines[5:7]] == ["caution"] * 2  # of the samples to score
    assert lines[7].startswith("an epoch takes about ")
    assert [line.split()[1] for line in lines[8:]] == ["1/2", "2/2"]
    code, _, err = locomt("train", recipe, "--train.epochs", "2", "--resume")
    assert code == 0
    assert err.splitlines()[0] == "runs/clips has finished: nothing to resume"
    assert all(line.startswith("caution: ") for line in err.splitlines()[1:])
    code, out, err = locomt("train", recipe, "--train.epochs", "2")
    assert (code, out) == (2, "")
    assert err.startswith("locomt train: runs/clips holds a finished run; resume it (--resume)")
    assert len(err.splitlines()) == 1


def test_resuming_with_another_recipe_is_one_line(locomt: Command, recipe: Path) -> None:
    locomt("train", recipe, "--train.epochs", "1")
    code, out, err = locomt("train", recipe, "--train.epochs", "2", "--resume")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "was begun with train.epochs 1, the recipe now says 2" in err


def test_rows_and_splits_that_are_left_out_are_said(locomt: Command, recipe: Path) -> None:
    manifest = recipe.parent / "clips.csv"
    manifest.write_text(manifest.read_text().replace(",val,", ",vla,"))
    code, _, err = locomt("train", recipe, "--train.epochs", "1")
    assert code == 0
    assert "rows of other splits are not used: 'vla' (6); for those 'vla' set data.val_split to it" in err
    assert "no row has split 'val' (data.val_split): the last epoch is taken" in err


def test_what_looks_like_an_accident_is_said_before_training(locomt: Command, recipe: Path) -> None:
    manifest = recipe.parent / "clips.csv"
    manifest.write_text(manifest.read_text().replace("train0,train,left", "train0,train,lefty"))
    code, _, err = locomt("train", recipe, "--train.epochs", "1")
    assert code == 0
    lines = err.splitlines()[4:]
    assert lines[0].startswith("4 classes, samples in 'train' / 'val' / 'test': 'left' 3 / 2 / 2, 'lefty' 1 / 0 / 0, ")
    assert lines[1] == "classes with one sample in split 'train' (1): 'lefty'"
    assert lines[2] == "classes that may be meant to be one: 'lefty' (1) and 'left' (7) differ in one letter"
    assert lines[5] == "caution: classes without a sample in split 'val'; no score tells of them (1): 'lefty'"
    assert lines[8].startswith("epoch 1/1")


def test_a_regression_target_beyond_float32_is_skipped_by_name(locomt: Command, tmp_path: Path) -> None:
    recipe = make_project(tmp_path / "project", "regression")
    manifest = recipe.parent / "clips.csv"
    manifest.write_text(manifest.read_text().replace("train0,train,0.0", "train0,train,35.1e55"))
    code, _, err = locomt("train", recipe, "--run", "run", "--train.epochs", "1", "--data.max_bad", "0.1")
    assert code == 0
    assert "1 samples could not be read and were skipped" in err
    (bad,) = map(json.loads, (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines())
    assert (bad["id"], bad["row"]) == ("train0", 2)
    assert bad["reason"].startswith("expected a finite number as label, got '35.1e55', which float32 cannot hold")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 <= summary["train_loss"] < 10


def test_no_control_character_of_a_manifest_is_printed(locomt: Command, recipe: Path) -> None:
    manifest = recipe.parent / "clips.csv"
    text = manifest.read_text()
    manifest.write_text(text.replace(",up,", ",u\x1b[31mp,").replace(",test,", ",\x1b]0;x\x07test,"))
    for command in (("train", recipe, "--run", "run", "--train.epochs", "1"), ("evaluate", "run")):
        _, _, err = locomt(*command)
        assert "x1b" in err
        assert all(sign.isprintable() or sign == "\n" for sign in err)


def test_train_json(locomt: Command, recipe: Path) -> None:
    code, out, err = locomt("train", recipe, "--run", "here", "--resume", "--json", "--train.epochs=1")
    assert code == 0
    result = json.loads(out)
    assert result["run"] == "here"
    assert (result["epoch"], result["monitor"], result["skipped"]) == (1, "val_accuracy", 0)
    assert err.splitlines()[0] == "here holds no run: beginning one"


def test_out_is_another_name_of_run_and_metrics_have_their_whole_names(locomt: Command, recipe: Path) -> None:
    code, out, _ = locomt("train", recipe, "--out", "here", "--json", "--train.epochs=1", "--train.monitor", "val_f1")
    assert (code, json.loads(out)["monitor"]) == (0, "val_f1")
    options = ("--train.epochs", "1", "--train.monitor", "f1", "--resume")
    assert locomt("train", recipe, "--run", "here", *options)[0] == 0  # the same recipe


def test_a_diverged_run_exits_with_3(locomt: Command, recipe: Path) -> None:
    words = ("train", recipe, "--run", "wild", "--train.learning_rate", "1e4", "--train.epochs", "2")
    for again in ((), ("--resume",)):
        code, out, err = locomt(*words, *again)
        assert code == 3
        assert err.splitlines()[-1].startswith("caution: training diverged: ")
        assert "val_loss" in out


def test_a_run_that_stops_early_says_so_and_has_finished(locomt: Command, recipe: Path) -> None:
    options = ["--train.epochs", "9", "--train.learning_rate", "1e-20", "--train.patience", "1"]
    code, out, err = locomt("train", recipe, *options)
    line = "stopped after epoch 2 of 9: an epoch was no better than epoch 1"
    assert code == 0
    assert line in err.splitlines()
    assert "stopped" not in out  # a table of metrics
    code, _, err = locomt("train", recipe, *options, "--resume")
    assert code == 0
    assert err.startswith(f"runs/clips has finished: nothing to resume\n{line}\n")


def test_modalities_alone_are_beside_the_whole(locomt: Command, recipe: Path) -> None:
    code, out, err = locomt("train", recipe, "--run", "run", "--train.epochs", "2", "--train.unimodal_loss", "1")
    assert code == 0
    row = json.loads(Path("run", "summary.json").read_text())
    (shown,) = (line for line in err.splitlines() if line.startswith(f"epoch {row['epoch']}/2"))
    for name in ("train_loss", "val_loss", "val_accuracy"):
        parts = {part: row[f"{name}/{part}"] for part in ("motion", "sound")}
        alone = ", ".join(f"{part} {value:.4f}" for part, value in parts.items() if value is not None)
        assert f"  {name} {row[name]:.4f}" + (f" ({alone})" if alone else "  ") in shown
    assert "val_f1 " in shown
    assert "gradient" not in shown
    (cells,) = ([cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "gradient" in line)
    assert cells == ["gradient", "", f"{row['gradient/motion']:.4f}", f"{row['gradient/sound']:.4f}"]
    _, _, err = locomt("train", recipe, "--run", "plain", "--train.epochs", "1", "--train.unimodal_loss", "0")
    row = json.loads(Path("plain", "summary.json").read_text())
    (shown,) = (line for line in err.splitlines() if line.startswith("epoch 1/1"))
    assert f"  train_loss {row['train_loss']:.4f}  val_loss {row['val_loss']:.4f} (motion " in shown


def test_a_run_below_one_of_its_modalities_says_so_first(locomt: Command, recipe: Path) -> None:
    words = ("train", recipe, "--run", "run", "--train.epochs", "1", "--resume")
    assert locomt(*words)[0] == 0
    path = Path("run", "summary.json")
    row = json.loads(path.read_text()) | {"val_accuracy/motion": 0.25, "val_accuracy/sound": 0.75}
    for own, said in ((0.5, True), (0.75, False), (0.8, False)):
        path.write_text(json.dumps(row | {"val_accuracy": own}))
        _, out, _ = locomt(*words)
        assert (
            out.startswith("val_accuracy is 25.0 points below that of sound alone in this model (75.0 on the 4 of")
            == said
        )
        _, out, _ = locomt(*words, "--json")
        assert (next(iter(json.loads(out))) == "below") == said


def test_an_undefined_monitor_is_said(locomt: Command, tmp_path: Path) -> None:
    recipe = make_project(tmp_path / "labels", "multilabel", epochs=2)
    manifest = recipe.parent / "clips.csv"
    lines = [line.split(",") for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(",".join([*a[:2], ";" if a[1] == "val" else a[2], *a[3:]]) for a in lines))
    code, out, err = locomt("train", recipe, "--run", "run", "--json")
    assert (code, json.loads(out)["monitor"]) == (0, "val_loss")
    assert err.splitlines()[-1] == "val_mAP was undefined in every epoch: the epoch with the lowest val_loss was taken"


@pytest.mark.parametrize("words", [("train", "--run"), ("prepare", "--out"), ("compare", "--out"), ("search", "--out")])
def test_a_directory_that_cannot_be(locomt: Command, recipe: Path, tmp_path: Path, words: tuple[str, str]) -> None:
    command, option = words
    more = ("--budget", "0.9") if command == "search" else ()
    (tmp_path / "file").touch()
    code, out, err = locomt(command, recipe, option, "file/new", *more)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"locomt {command}: ")
    assert "file/new" in err
    assert "cannot create this directory" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.yaml"], "there is no file nowhere.yaml"),
        (["{recipe}", "--model.dpeth", "4"], "did you mean 'depth'?"),
        (["{recipe}", "--data.manifest", "nowhere.csv"], "nowhere.csv"),
        (["{recipe}", "--run", "project"], "is no empty directory and holds no run"),
    ],
)
def test_mistakes_are_one_line(locomt: Command, recipe: Path, words: list[str], message: str) -> None:
    code, out, err = locomt("train", *(word.format(recipe=recipe) for word in words))
    assert (code, out) == (2, "")
    assert err.startswith("locomt train: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_evaluate(locomt: Command, recipe: Path) -> None:
    locomt("train", recipe, "--run", "run")
    code, out, err = locomt("evaluate", "run", "--json")
    assert (code, len(err.splitlines())) == (0, 1)
    assert err.startswith("caution: split 'test' has 5 samples: ")
    result = json.loads(out)
    assert list(result) == ["metrics", "per_class", "samples", "skipped"]
    assert list(result["per_class"]) == ["left", "right", "up"]
    assert (result["samples"], result["skipped"]) == (5, 0)
    code, out, _ = locomt("evaluate", "run", "--split", "val")
    assert code == 0
    assert "run, split val" in out
    assert "right" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--split", "tset"], "no row has split 'tset'; there are test, train, val"),
        (["project"], "holds no run: expected a directory that `locomt train` made"),
        (["half"], "the run in half has not finished; go on with `locomt train ... --resume`"),
        (["run", "--data.manifest", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_evaluate_mistakes(locomt: Command, recipe: Path, tmp_path: Path, words: list[str], message: str) -> None:
    locomt("train", recipe, "--run", "run", "--train.epochs", "1")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.yaml").write_text((tmp_path / "run" / "config.yaml").read_text())
    code, out, err = locomt("evaluate", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_predict(locomt: Command, recipe: Path) -> None:
    locomt("train", recipe, "--run", "run", "--train.epochs", "12", "--model.dropout", "0", "--model.drop_path", "0")
    files = [f"project/test{i}_motion.npy" for i in range(3)]
    code, out, err = locomt("predict", "run", *(f"motion={file}" for file in files), "--top", "2", "--json")
    assert code == 0
    assert err.splitlines() == [
        f"locomt predict: {file}: answered without sound: nothing was given of it" for file in files
    ]
    answers = json.loads(out)
    assert [answer["file"] for answer in answers] == files
    assert [answer["predictions"][0]["label"] for answer in answers] == ["left", "right", "up"]
    assert all(len(answer["predictions"]) == 2 for answer in answers)
    assert all(0 < guess["score"] < 1 for answer in answers for guess in answer["predictions"])


def test_predict_says_what_it_cannot_read_and_does_the_rest(locomt: Command, recipe: Path, tmp_path: Path) -> None:
    locomt("train", recipe, "--run", "run", "--train.epochs", "1")
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    pair = "motion=project/test1_motion.npy,sound=project/test1_sound.npy"
    words = ("predict", "run", "broken.npy", pair, "nowhere.npy")
    code, out, err = locomt(*words, "--json")
    assert code == 2
    answers = json.loads(out)
    assert ["error" in answer for answer in answers] == [True, False, True]
    assert len(answers[1]["predictions"]) == 3
    assert sum(guess["score"] for guess in answers[1]["predictions"]) == pytest.approx(1)
    assert [line.split(": ")[1] for line in err.splitlines()] == ["broken.npy", "nowhere.npy"]
    code, out, _ = locomt(*words)
    assert code == 2
    assert "project/test1_motion.npy" in out
    assert "broken" not in out


def test_predict_takes_no_overrides(locomt: Command) -> None:
    code, _, err = locomt("predict", "run", "file.npy", "--data.max_bad", "1")
    assert code == 2
    assert "this command reads none" in err


def test_parse_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("video", "title")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    assert parse_item("a=b.mp4", names) == "a=b.mp4"
    assert parse_item("clips/a=b.mp4", names) == "clips/a=b.mp4"
    with pytest.raises(ValueError, match=r"modality 'vidoe' is not one of video, title, .*; did you mean 'video'\?"):
        parse_item("vidoe=a.mp4", names)
    for words in ("title=one,vidoe=a.mp4", "title=one, vidoe=a.mp4", "video=b.mp4,tilte=one"):
        with pytest.raises(ValueError, match=r"'(vidoe|tilte)' is not one of .*; did you mean '(video|title)'"):
            parse_item(words, names)
    with pytest.raises(ValueError, match=r"modality 'x' is not one of video, title, and there is no file a=b.mp4,x=y"):
        parse_item("video=a=b.mp4,x=y", names)
    with pytest.raises(ValueError, match="modality 'video' is there twice"):
        parse_item("video=a.mp4,video=b.mp4", names)
    assert parse_item("title=where, x=1", names) == {"title": "where, x=1"}
    (tmp_path / "a,vidoe=b.mp4").touch()
    assert parse_item("video=a,vidoe=b.mp4", names) == {"video": "a,vidoe=b.mp4"}
    assert parse_item("title=" + "long " * 1000, names)
    assert parse_item("video=a,b.mp4,title=one, two", names) == {"video": "a,b.mp4", "title": "one, two"}
