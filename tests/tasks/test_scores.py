"""Scores against scikit-learn, an independent implementation."""

from collections.abc import Iterator

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from scipy.stats import norm

from locomt.tasks import TASKS

LABELS = ("ant", "bee", "cat", "dog")


def batches(*tensors: torch.Tensor, size: int = 7) -> Iterator[tuple[torch.Tensor, ...]]:
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


def test_multiclass_agrees_with_scikit_learn() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 4), torch.randint(0, 4, (50,))
    scores = TASKS["multiclass"]().scores(LABELS)
    for part in batches(logits, labels):
        scores.update(*part)
    result, guesses = scores.compute(), logits.argmax(-1)
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, guesses)
    assert result["metrics"] == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, guesses),
            "precision": precision.mean(),
            "recall": recall.mean(),
            "f1": f1.mean(),
        }
    )
    for i, label in enumerate(LABELS):
        expected = {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": support[i]}
        assert result["per_class"][label] == pytest.approx(expected)


def test_padded_steps_do_not_count() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 4), torch.randint(0, 4, (3, 5))
    labels[0, 2:] = labels[2, 4:] = -100
    padded, flat = TASKS["multiclass"]().scores(LABELS), TASKS["multiclass"]().scores(LABELS)
    padded.update(logits, labels)
    flat.update(logits[labels >= 0], labels[labels >= 0])
    assert padded.compute() == flat.compute()
    assert sum(entry["support"] for entry in padded.compute()["per_class"].values()) == 11


def test_frames_of_events_agree_with_scikit_learn() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(9, 6, 4), torch.randint(0, 2, (9, 6, 4)).float()
    labels[..., 3] = 0
    labels[2, 4:] = labels[5, 1:] = float("nan")
    scores = TASKS["temporal"](step=0.1, seconds=9).scores(LABELS)
    for part in batches(logits, labels, size=4):
        scores.update(*part)
    result, real = scores.compute(), ~labels[..., 0].isnan()
    expected = sk.average_precision_score(labels[real][:, :3], logits[real][:, :3], average=None)
    assert result["metrics"]["mAP"] == pytest.approx(expected.mean())
    assert result["metrics"]["classes_scored"] == 3
    for i, label in enumerate(LABELS[:3]):
        assert result["per_class"][label]["average_precision"] == pytest.approx(expected[i])
        assert result["per_class"][label]["positives"] == labels[real][:, i].sum()
    assert result["per_class"]["dog"]["average_precision"] is None


def test_multilabel_agrees_with_scikit_learn() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(60, 4), torch.randint(0, 2, (60, 4)).float()
    scores = TASKS["multilabel"]().scores(LABELS)
    for part in batches(logits, labels):
        scores.update(*part)
    result, probabilities = scores.compute(), logits.sigmoid()
    precision = sk.average_precision_score(labels, probabilities, average=None)
    area = sk.roc_auc_score(labels, probabilities, average=None)
    assert result["metrics"] == pytest.approx(
        {
            "mAP": precision.mean(),
            "mAUC": area.mean(),
            "d_prime": 2**0.5 * norm.ppf(area.mean()),
            "classes_scored": 4,
        },
        rel=1e-5,
    )
    assert [entry["d_prime"] for entry in result["per_class"].values()] == pytest.approx(list(2**0.5 * norm.ppf(area)))
    assert [entry["auc"] for entry in result["per_class"].values()] == pytest.approx(list(area), rel=1e-5)


def large(rows: int, *, ties: bool) -> torch.Tensor:
    """Logits up to +-1e4, most of which a float32 sigmoid rounds to 0 or 1."""
    logits = torch.empty(rows, 4, dtype=torch.float64).uniform_(-1e4, 1e4)
    return (logits / 500).round() * 500 if ties else logits


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shift", [0, 2e4, -2e4])
def test_large_logits_are_ranked_as_they_are(ties: bool, dtype: torch.dtype, shift: float) -> None:
    torch.manual_seed(0)
    logits, labels = (large(200, ties=ties) + shift).to(dtype), torch.randint(0, 2, (200, 4)).float()
    ranked = logits.double()
    area = sk.roc_auc_score(labels, ranked, average=None)
    precision = sk.average_precision_score(labels, ranked, average=None)
    scores, steps = TASKS["multilabel"]().scores(LABELS), TASKS["temporal"](step=0.1, seconds=9).scores(LABELS)
    for part in batches(logits, labels):
        scores.update(*part)
    steps.update(logits.unflatten(0, (10, 20)), labels.unflatten(0, (10, 20)))
    result = scores.compute()
    assert [entry["auc"] for entry in result["per_class"].values()] == pytest.approx(list(area), abs=1e-6)
    expected = {
        "mAP": precision.mean(),
        "mAUC": area.mean(),
        "d_prime": 2**0.5 * norm.ppf(area.mean()),
        "classes_scored": 4,
    }
    assert result["metrics"] == pytest.approx(expected, abs=1e-6)
    assert steps.compute()["metrics"]["mAP"] == pytest.approx(precision.mean(), abs=1e-6)


def test_confident_logits_in_the_right_order_score_1() -> None:
    """The float32 sigmoids of all of these but the last are 1."""
    logits = torch.tensor([[40.0], [30.0], [25.0], [20.0], [-3.0]])
    labels = torch.tensor([[1.0], [1.0], [0.0], [0.0], [0.0]])
    scores = TASKS["multilabel"]().scores(["a"])
    scores.update(logits, labels)
    assert scores.compute()["metrics"] == {"mAP": 1.0, "mAUC": 1.0, "d_prime": None, "classes_scored": 1}


def test_events_are_still_those_of_probabilities() -> None:
    logits = torch.tensor([[[-1e4], [0.0], [1e4], [-0.1]]])
    scores = TASKS["temporal"](step=0.5, seconds=9).scores(["a"])
    scores.update(logits, torch.tensor([[[0.0], [1.0], [1.0], [0.0]]]))
    assert scores.compute()["metrics"]["event_f1"] == 1.0


@pytest.mark.parametrize("task", ["multilabel", "temporal"])
def test_what_is_no_number_has_no_rank(task: str) -> None:
    logits, labels = torch.tensor([[0.1, float("nan")], [0.2, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    scores = TASKS[task](step=0.5, seconds=9).scores(["a", "b"])
    scores.update(*((logits, labels) if task == "multilabel" else (logits[None], labels[None])))
    result = scores.compute()
    assert [entry["average_precision"] for entry in result["per_class"].values()] == [1.0, None]
    assert (result["metrics"]["mAP"], result["metrics"]["classes_scored"]) == (1.0, 1)


def test_classes_without_positives_are_left_out_and_reported() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 4), torch.randint(0, 2, (20, 4)).float()
    labels[:, 1] = 0
    labels[:, 2] = 1
    scores = TASKS["multilabel"]().scores(LABELS)
    scores.update(logits, labels)
    result = scores.compute()
    assert result["per_class"]["bee"] == {"average_precision": None, "auc": None, "d_prime": None, "positives": 0}
    assert result["per_class"]["cat"] == {"average_precision": 1.0, "auc": None, "d_prime": None, "positives": 20}
    assert result["metrics"]["classes_scored"] == 3
    kept = [entry["average_precision"] for entry in result["per_class"].values()]
    assert result["metrics"]["mAP"] == pytest.approx((kept[0] + kept[2] + kept[3]) / 3)


@pytest.mark.parametrize("shape", [(40, 1), (8, 5, 1)])
def test_regression_agrees_with_numpy(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values, labels = torch.randn(shape), torch.randn(shape)
    labels[0] = float("nan")
    scores = TASKS["regression"]().scores(())
    for part in batches(values, labels, size=3):
        scores.update(*part)
    result, real = scores.compute(), ~labels.isnan()
    assert result["per_class"] == {}
    assert result["metrics"] == pytest.approx(
        {
            "mae": (values - labels)[real].abs().mean().item(),
            "pearson": np.corrcoef(values[real], labels[real])[0, 1],
        },
        rel=1e-4,
    )


def test_a_constant_answer_has_no_correlation() -> None:
    scores = TASKS["regression"]().scores(())
    scores.update(torch.ones(5, 1), torch.arange(5.0)[:, None])
    assert scores.compute()["metrics"] == {"mae": pytest.approx(1.4), "pearson": None}


@pytest.mark.parametrize(("task", "label"), [("multiclass", torch.tensor([1, 2])), ("multilabel", torch.eye(4)[:2])])
def test_reset_forgets(task: str, label: torch.Tensor) -> None:
    torch.manual_seed(0)
    once, twice = TASKS[task]().scores(LABELS), TASKS[task]().scores(LABELS)
    logits = torch.randn(2, 4)
    twice.update(-logits, label.flip(0))
    twice.reset()
    for scores in (once, twice):
        scores.update(logits, label)
    assert once.compute() == twice.compute()
