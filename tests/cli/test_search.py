"""`locomt search`, from the command line to its files."""

import json
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.cli.main import main
from locomt.search.ledger import read_results

WIDER = ["--data.modalities.motion.max_length", "8"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", epochs=1)


def test_a_search_and_what_it_leaves(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["search", str(recipe), "--budget", "0.5", *WIDER]
    assert main([*line, "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document == read_results(Path("search/clips/results.json"))
    cheapest, *others = [entry["views"] for entry in document["tables"]]
    assert cheapest == "motion~sound:2"
    assert others == ["self:1 motion~sound:1", "motion~sound:1 self:1"][: len(others)]
    assert others
    assert "spread seed 0: val_accuracy" in captured.err
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "found done" in captured.err
    assert f"cost of this search: {document['training_runs']:g} training run" in captured.out
    assert document["chosen"]["views"] in captured.out
    assert main(["train", "search/clips/chosen.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["val_accuracy"] == document["chosen"]["mean"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "much"], "budget: expected a share of Multiall's attention FLOPs"),
        (["--budget", "0.1"], "budget 0.1 is below what any table costs"),
        (["--budget", "8min"], "or a time, such as 3.5ms, got '8min'"),
        (["--budget", "0.5", "--method", "guess"], "method: expected one of strategies, random"),
        (["--budget", "0.5", "--from", "runs/dense"], "strategies takes no option --from; it is for mass, elastic"),
        (["--budget", "0.5", "--seeds", "0"], "seeds: expected 1 or more, got 0"),
        (["--budget", "0.5", "--data.val_split", "none"], "by which to choose"),
        (["--budget", "0.5", "--jobs", "0"], "jobs: expected 1 or more"),
        ([], "the following arguments are required: --budget"),
    ],
)
def test_mistakes_are_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    try:
        code = main(["search", str(recipe), "--out", str(out), *WIDER, *options])
    except SystemExit as stop:  # argparse
        code = stop.code  # type: ignore[assignment]
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("locomt search: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not out.exists()
