"""Ordered classes: probabilities in order, the loss by hand, scores against scikit-learn, and a run from end to end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given
from hypothesis import strategies as st

from feature_project import read_rows, write_manifest
from locomt.compare.majority import majority
from locomt.data import label_list
from locomt.tasks import IGNORED, TASKS, LabelError
from locomt.tasks.ordinal import class_probabilities, ranked, threshold_logits
from locomt.train import Run, evaluate, fit, load_recipe, predict

ORDINAL = TASKS["ordinal"]()
LABELS = ("poor", "fair", "good", "great")
OUTPUTS = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=12)


@given(OUTPUTS)
def test_thresholds_come_in_order_and_probabilities_sum_to_1(values: list[float]) -> None:
    outputs = torch.tensor(values)
    logits, shares = threshold_logits(outputs), class_probabilities(outputs)
    assert (logits.diff() <= 0).all()
    assert (shares >= 0).all()
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert len(shares) == len(values) + 1


@given(OUTPUTS)
def test_the_class_is_the_median_of_the_probabilities(values: list[float]) -> None:
    outputs = torch.tensor(values).double()
    place = int(ranked(outputs))
    shares = class_probabilities(outputs)
    assert shares[:place].sum() <= 0.5 + 1e-5
    assert shares[place + 1 :].sum() <= 0.5 + 1e-5


@pytest.mark.parametrize("classes", [2, 3, 10, 200])
def test_outputs_of_0_say_that_all_classes_are_alike(classes: int) -> None:
    shares = class_probabilities(torch.zeros(5, classes - 1))
    torch.testing.assert_close(shares, torch.full((5, classes), 1 / classes), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_over_yes_and_no_of_every_threshold(smoothing: float) -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 3, 0])
    passed = threshold_logits(outputs).sigmoid().double().numpy()
    terms = []
    for sample, label in enumerate(labels.tolist()):
        for k in range(3):
            wanted = (1 - smoothing) * (label > k) + smoothing * (3 - k) / 4  # 3 - k of 4 classes are above it
            terms.append(-wanted * np.log(passed[sample, k]) - (1 - wanted) * np.log(1 - passed[sample, k]))
    assert ORDINAL.loss(outputs, labels, smoothing).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_class_farther_off_costs_more() -> None:
    outputs = torch.tensor([[3.0, 3.0, 3.0]])
    costs = [ORDINAL.loss(outputs, torch.tensor([label])).item() for label in range(4)]
    place = int(ranked(outputs[0]))
    assert costs[place] == min(costs)
    assert costs[place:] == sorted(costs[place:])
    assert costs[: place + 1] == sorted(costs[: place + 1], reverse=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixed_labels_are_a_mixed_loss(smoothing: float) -> None:
    torch.manual_seed(0)
    outputs, first, second = torch.randn(6, 3), torch.randint(0, 4, (6,)), torch.randint(0, 4, (6,))
    mixed = 0.3 * ORDINAL.mixable(first, 4) + 0.7 * ORDINAL.mixable(second, 4)
    expected = 0.3 * ORDINAL.loss(outputs, first, smoothing) + 0.7 * ORDINAL.loss(outputs, second, smoothing)
    torch.testing.assert_close(ORDINAL.loss(outputs, mixed, smoothing), expected)


def test_padded_steps_have_no_loss_and_no_gradient() -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(2, 5, 3, requires_grad=True), torch.randint(0, 4, (2, 5))
    labels[1, 3:] = IGNORED
    loss = ORDINAL.loss(outputs, labels)
    loss.backward()
    assert outputs.grad is not None
    assert (outputs.grad[1, 3:] == 0).all()
    assert (outputs.grad[1, :3] != 0).any(dim=-1).all()
    whole = 5 * ORDINAL.loss(outputs[:1], labels[:1]) + 3 * ORDINAL.loss(outputs[1:, :3], labels[1:, :3])
    torch.testing.assert_close(loss, whole / 8)


def test_scores_agree_with_scikit_learn() -> None:
    torch.manual_seed(0)
    outputs, labels = 2 * torch.randn(8, 9, 3), torch.randint(0, 3, (8, 9))
    labels[0, 4:] = labels[5, 1:] = IGNORED
    scores = ORDINAL.scores(LABELS)
    for part in range(0, 8, 3):
        scores.update(outputs[part : part + 3], labels[part : part + 3])
    result, real = scores.compute(), labels != IGNORED
    true, found = labels[real], ranked(outputs)[real]
    assert len(found.unique()) == 4
    assert result["metrics"] == pytest.approx(
        {
            "mae": sk.mean_absolute_error(true, found),
            "kappa": sk.cohen_kappa_score(true, found, weights="quadratic"),
            "accuracy": sk.accuracy_score(true, found),
        }
    )
    for i, label in enumerate(LABELS[:3]):
        own = true == i
        off = (found[own] - i).abs().double()
        expected = {"mae": off.mean().item(), "recall": (off == 0).double().mean().item()}
        assert result["per_class"][label] == pytest.approx({**expected, "support": int(own.sum())})
    assert result["per_class"]["great"] == {"mae": None, "recall": None, "support": 0}
    scores.reset()
    scores.update(ORDINAL.floor(torch.tensor([2]), 4)[None], torch.tensor([2]))
    assert scores.compute()["metrics"] == {"mae": 0, "kappa": None, "accuracy": 1}


@pytest.mark.parametrize("classes", [2, 3, 7, 300])
def test_the_floor_answers_the_median(classes: int) -> None:
    for place in range(classes):
        assert ranked(ORDINAL.floor(torch.tensor([place] * 3), classes)) == place


def test_the_answer_comes_before_likelier_classes() -> None:
    """0.4 poor, 0.15 fair, 0.2 good, 0.25 great: the median is fair."""
    above = torch.tensor([0.6, 0.45, 0.25]).logit()
    even = torch.tensor([3 / 4, 1 / 2, 1 / 4]).logit()
    falls = above.diff() / even.diff() * np.log(2)
    outputs = torch.cat([above[:1] - even[:1], falls.expm1().log()])
    guesses = ORDINAL.answer(outputs, LABELS, 3)["predictions"]
    assert [guess["label"] for guess in guesses] == ["fair", "poor", "great"]
    assert [guess["score"] for guess in guesses] == pytest.approx([0.15, 0.4, 0.25])


def test_one_class_has_no_order() -> None:
    with pytest.raises(LabelError, match="two classes or more"):
        ORDINAL.num_outputs(["good"])


@pytest.fixture
def trained(make_project: Callable[..., Path], tmp_path: Path) -> Run:
    """A run with what a recipe may ask of classes; the classes are named, in no order of the alphabet."""
    asked = {"sampling": "balanced", "label_smoothing": 0.1, "augment": {"mixup": 0.2}}
    recipe = make_project("ordinal", epochs=15, optimizer="adamw", learning_rate=0.01, **asked)
    names = ("small", "large", "huge")
    write_manifest(recipe.parent, [row | {"label": names[int(row["label"])]} for row in read_rows(recipe.parent)])
    options = ["--data.labels", "[small, large, huge]", "--model.dropout", "0", "--model.drop_path", "0"]
    fit(load_recipe(recipe, options), tmp_path / "run")
    return Run.load(tmp_path / "run")


def test_a_tiny_model_learns_an_order(trained: Run) -> None:
    summary = json.loads((trained.path / "summary.json").read_text())
    assert summary["monitor"] == "val_mae"
    assert trained.model.config.num_outputs == 2
    result, data = evaluate(trained, device="cpu"), trained.recipe.data
    floor = majority(data, label_list(data))["mae"]
    assert floor is not None
    assert result["metrics"]["mae"] < floor / 2
    assert result["metrics"]["kappa"] > 0.5
    rows = [row for row in read_rows(Path(data.manifest).parent) if row["split"] == "test"]
    folder = Path(data.manifest).parent
    items = [{name: folder / row[name] for name in ("motion", "sound") if row[name]} for row in rows]
    answers = predict(trained, items, device="cpu")
    for answer in answers:
        assert sum(guess["score"] for guess in answer["predictions"]) == pytest.approx(1, abs=1e-5)
    places = {name: place for place, name in enumerate(trained.labels)}
    distances = [
        abs(places[answer["predictions"][0]["label"]] - places[row["label"]])
        for answer, row in zip(answers, rows, strict=True)
    ]
    assert np.mean(distances) == pytest.approx(result["metrics"]["mae"])


def test_the_best_epoch_is_the_one_with_the_least_distance(make_project: Callable[..., Path]) -> None:
    recipe = load_recipe(make_project("ordinal"))
    assert (recipe.monitor, recipe.monitor_mode) == ("mae", "min")
    better = replace(recipe, train=replace(recipe.train, monitor="kappa"))
    assert better.monitor_mode == "max"
