"""Runs that several processes share: every sample once, the result of one process, stopped and gone on with."""

import csv
import json
import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from feature_project import SIZES, make_project
from locomt.ranks import LaunchError
from locomt.train.loading import ShareSampler
from locomt.train.recipe_file import load_recipe
from locomt.train.sampling import EpochSampler

STEPS = 3  # an epoch: of 12 samples 5, 5 and 2
STILL = ["--model.dropout", "0", "--model.drop_path", "0"]  # what each process draws for itself
STILL += ["--train.unimodal_loss", "1"]  # losses that samples without a modality have no part in
OPTIONS = ["--train.epochs", "2", "--train.checkpoint_minutes", "1e-9", "--data.max_bad", "0.1"]


ONE_BY_ONE = [*OPTIONS, *STILL, "--train.batch_size", "1", "--train.weight_decay", "0.1"]


LARGE = [*OPTIONS, *STILL, "--train.batch_size", "5", "--train.weight_decay", "0.1", "--train.ema", "0.5"]
SMALL = [*LARGE, "--train.batch_size", "1", "--train.accumulate", "5"]


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("samples", [1, 7, 12, 23])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_of_a_batch_are_the_batch(samples: int, count: int) -> None:
    batches = list(ShareSampler(EpochSampler(samples, seed=1), 4))
    shares = [list(ShareSampler(EpochSampler(samples, seed=1), 4, (place, count))) for place in range(count)]
    assert {len(share) for share in shares} == {len(batches)}  # none waits for a step that others do not take
    for batch, *parts in zip(batches, *shares, strict=True):
        assert sorted(chain(*parts)) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sorted(chain(*batches)) == list(range(samples))


def score(place: int, count: int) -> Any:
    """Metrics of large logits, of which a process has its share."""
    from locomt.tasks import TASKS

    torch.manual_seed(0)
    logits, labels = torch.empty(40, 2).uniform_(-1e4, 1e4), torch.randint(0, 2, (40, 2)).float()
    scores = TASKS["multilabel"]().scores(["a", "b"])
    scores.update(logits[place::count], labels[place::count])
    return scores.compute()["metrics"]


def work(root: Path) -> None:
    """The program of both processes: a whole run, one that is stopped and goes on, one to compare.

    The first run is a command line, which begins the other process: this same program.
    """
    from locomt.cli.main import main
    from locomt.train.fitting import fit
    from locomt.train.module import FusionModule

    step, taken = FusionModule.training_step, []
    place = os.environ.get("LOCAL_RANK", "0")

    def watched(self: Any, batch: Any, index: int) -> Any:
        taken.append((self.current_epoch, batch.ids + [bad.id for bad in batch.bad]))
        return step(self, batch, index)

    FusionModule.training_step = watched  # type: ignore[method-assign]
    options = [*OPTIONS, "--train.devices", "2", "--data.workers", "1"]
    assert main(["train", str(root / "clips.yaml"), "--run", str(root / "whole"), "--json", *options]) == 0
    whole = list(taken)
    recipe = load_recipe(root / "clips.yaml", options)

    def stop(done: int, total: int) -> None:
        if done == STEPS + 2:
            raise PowerCut

    told: list[Any] = []
    try:
        fit(recipe, root / "stopped", on_step=stop)
    except PowerCut:
        taken.clear()
    fit(recipe, root / "stopped", resume=True, on_epoch=told.append)
    rest = list(taken)
    fit(load_recipe(root / "clips.yaml", [*OPTIONS, *STILL, "--train.devices", "2"]), root / "still")
    fit(load_recipe(root / "clips.yaml", [*ONE_BY_ONE, "--train.devices", "2"]), root / "one")
    fit(load_recipe(root / "clips.yaml", [*SMALL, "--train.devices", "2"]), root / "small")
    answer = {"whole": whole, "rest": rest, "told": len(told), "scores": score(int(place), 2)}
    (root / f"{place}.json").write_text(json.dumps(answer))
    torch.distributed.barrier()  # the first process, which is waited for, ends last


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes left, of 12 training samples with a bad one."""
    root = make_project(tmp_path_factory.mktemp("ranks") / "project").parent
    (root / "train3_motion.npy").unlink()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, __file__, str(root)]
    with (root / "out.txt").open("w") as out, (root / "err.txt").open("w") as err:
        done = subprocess.run(program, env=environment, stdout=out, stderr=err, timeout=300)
    assert done.returncode == 0, (root / "err.txt").read_text()
    return root


def answers(root: Path) -> list[dict[str, Any]]:
    return [json.loads((root / f"{place}.json").read_text()) for place in range(2)]


def history(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        return [{n: float(v) for n, v in row.items() if n != "seconds"} for row in csv.DictReader(file)]


def test_every_sample_once_an_epoch(root: Path) -> None:
    for epoch in range(2):
        seen = [name for answer in answers(root) for e, names in answer["whole"] if e == epoch for name in names]
        assert sorted(seen) == sorted(f"train{i}" for i in range(SIZES["train"]))


def test_it_comes_to_what_one_process_comes_to(root: Path) -> None:
    from locomt.train import fit

    fit(load_recipe(root / "clips.yaml", [*OPTIONS, *STILL]), root / "alone")
    weights = [load_file(root / name / "model" / "model.safetensors") for name in ("alone", "still")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-6)
    for alone, shared in zip(history(root / "alone"), history(root / "still"), strict=True):
        assert shared == pytest.approx(alone, rel=1e-4)
    assert history(root / "alone")[0]["skipped"] == 1
    lists = [(root / name / "bad_samples.jsonl").read_text() for name in ("alone", "still")]
    assert lists[0] == lists[1]


def test_a_batch_without_a_readable_sample_is_skipped_as_with_one_process(root: Path) -> None:
    """Not one weight moves in such a step, by momentum and decay neither."""
    from locomt.train import fit

    fit(load_recipe(root / "clips.yaml", ONE_BY_ONE), root / "one_alone")
    weights = [load_file(root / name / "model" / "model.safetensors") for name in ("one_alone", "one")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-6)
    assert [row["skipped"] for row in history(root / "one")] == [1, 1]


def test_batches_of_one_step_come_to_what_one_process_and_batch_come_to(root: Path) -> None:
    """Of a batch's one sample some processes have none, and of a step's last batch no process may have a sound."""
    from locomt.train import fit

    fit(load_recipe(root / "clips.yaml", LARGE), root / "large")
    weights = [load_file(root / name / "model" / "model.safetensors") for name in ("large", "small")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-6)
    for large, small in zip(history(root / "large"), history(root / "small"), strict=True):
        assert small == pytest.approx(large, rel=1e-4)


def test_scores_are_those_of_all_processes(root: Path) -> None:
    for answer in answers(root):
        assert answer["scores"] == pytest.approx(score(0, 1))


def test_a_stopped_run_goes_on_with_the_shares_that_are_left(root: Path) -> None:
    for answer in answers(root):
        assert answer["rest"] == answer["whole"][STEPS + 1 :]
    models = [(root / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert models[0] == models[1]
    assert history(root / "whole") == history(root / "stopped")
    assert [answer["told"] for answer in answers(root)] == [1, 0]


def test_one_answer_from_the_command_line(root: Path) -> None:
    answer = json.loads((root / "out.txt").read_text())
    assert (answer["run"], answer["skipped"]) == (str(root / "whole"), 1)
    said = [line for line in (root / "err.txt").read_text().splitlines() if "reducer.cpp" not in line]  # torch's C++
    assert said[0].startswith("device: 2 processes, each on CPU, ")
    told = [line for line in said[4:] if not line.startswith(("caution: ", "training: "))]  # the latter if it is slow
    assert [line.split()[:2] for line in told] == [
        ["3", "classes,"],
        ["an", "epoch"],
        ["epoch", "1/2"],
        ["epoch", "2/2"],
        ["1", "samples"],
    ]


@pytest.mark.parametrize(
    ("told", "devices", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, 1, "train.devices is 1, but the environment says 2 proc"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, 2, "begin 2 (torchrun --nproc_per_node 2)"),
        ({"RANK": "0"}, 1, "RANK is 0, but WORLD_SIZE is not set"),
        ({"RANK": "one", "WORLD_SIZE": "1"}, 1, "RANK is 'one', expected a number"),
        ({"WORLD_SIZE": ""}, 1, "WORLD_SIZE is '', expected a number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, 2, "RANK is 2, expected it below WORLD_SIZE, 2"),
    ],
)
def test_processes_that_do_not_fit_are_refused_before_anything_is_written(
    told: dict[str, str], devices: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from locomt.train import fit

    recipe = load_recipe(make_project(tmp_path / "project"), ["--train.devices", str(devices)])
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=re.escape(message)):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_torchrun_takes_the_form_that_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    from torch.distributed.run import parse_args

    line = "--nproc_per_node 2 -m locomt train clips.yaml --train.devices 2"
    args = parse_args(f"{line} --out runs/first".split())
    assert args.training_script_args == ["train", "clips.yaml", "--train.devices", "2", "--out", "runs/first"]
    with pytest.raises(SystemExit):  # hence the other name
        parse_args(f"{line} --run runs/first".split())
    assert "ambiguous" in capsys.readouterr().err


if __name__ == "__main__":
    work(Path(sys.argv[1]))


def test_variables_of_a_scheduler_are_not_about_this_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of Slurm that has two tasks, in which one process trains."""
    from locomt.train import fit

    recipe = load_recipe(make_project(tmp_path / "project"), ["--train.epochs", "1"])
    told = {"NTASKS": "2", "PROCID": "0", "LOCALID": "0", "JOB_ID": "5", "JOB_NAME": "train", "NODELIST": "localhost"}
    alone = fit(recipe, tmp_path / "alone")
    for name, value in told.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert fit(recipe, tmp_path / "run")["train_loss"] == alone["train_loss"]
