import pytest
import torch
from torch.nn.functional import one_hot

from locomt.tasks import TASKS


def test_smoothed_cross_entropy_is_the_cross_entropy_of_smoothed_targets() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5), torch.randint(0, 5, (6,))
    targets = 0.9 * one_hot(labels, 5) + 0.1 / 5
    expected = -(targets * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(TASKS["multiclass"]().loss(logits, labels, 0.1), expected)


def test_smoothed_multilabel_loss_follows_its_formula() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5), torch.randint(0, 2, (6, 5)).float()
    targets = 0.7 * labels + 0.3 / 5
    expected = -(targets * logits.sigmoid().log() + (1 - targets) * (-logits).sigmoid().log()).mean()
    torch.testing.assert_close(TASKS["multilabel"]().loss(logits, labels, 0.3), expected)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_padded_steps_have_no_loss_and_no_gradient(task: str) -> None:
    torch.manual_seed(0)
    outputs = 4 if task == "multiclass" else 1
    logits = torch.randn(2, 5, outputs, requires_grad=True)
    labels = torch.randint(0, 4, (2, 5)) if task == "multiclass" else torch.randn(2, 5, 1)
    labels[1, 3:] = -100 if task == "multiclass" else float("nan")
    loss = TASKS[task]().loss(logits, labels)
    loss.backward()
    assert (logits.grad[1, 3:] == 0).all()
    assert (logits.grad[1, :3] != 0).all()
    whole = TASKS[task]().loss(logits[:1], labels[:1]) * 5 + TASKS[task]().loss(logits[1:, :3], labels[1:, :3]) * 3
    torch.testing.assert_close(loss, whole / 8)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_time_steps_beyond_the_end_have_no_loss_and_no_gradient(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 4, requires_grad=True), torch.randint(0, 2, (2, 5, 4)).float()
    labels[1, 3:] = float("nan")
    loss = TASKS["temporal"]().loss(logits, labels, smoothing)
    loss.backward()
    assert (logits.grad[1, 3:] == 0).all()
    assert (logits.grad[1, :3] != 0).all()
    flat = [torch.cat([tensor[0], tensor[1, :3]]) for tensor in (logits, labels)]
    torch.testing.assert_close(loss, TASKS["multilabel"]().loss(*flat, smoothing))
    assert TASKS["temporal"]().count(labels) == 8


def test_bf16_logits_are_scored_in_float32() -> None:
    logits = torch.randn(4, 3, dtype=torch.bfloat16)
    assert TASKS["multiclass"]().loss(logits, torch.tensor([0, 1, 2, 0])).dtype == torch.float32


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_probabilities_as_labels(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5), torch.randint(0, 5, (6,))
    hard = TASKS["multiclass"]().loss(logits, labels, smoothing)
    torch.testing.assert_close(TASKS["multiclass"]().loss(logits, one_hot(labels, 5).float(), smoothing), hard)
    other = torch.randint(0, 5, (6,))
    mixed = 0.3 * one_hot(labels, 5) + 0.7 * one_hot(other, 5)
    expected = 0.3 * hard + 0.7 * TASKS["multiclass"]().loss(logits, other, smoothing)  # it is linear in the targets
    torch.testing.assert_close(TASKS["multiclass"]().loss(logits, mixed, smoothing), expected)


def test_multilabel_targets_between_0_and_1() -> None:
    torch.manual_seed(0)
    logits, first, second = torch.randn(6, 5), torch.randint(0, 2, (6, 5)).float(), torch.randint(0, 2, (6, 5)).float()
    mixed = TASKS["multilabel"]().loss(logits, 0.3 * first + 0.7 * second, 0.1)
    parts = [TASKS["multilabel"]().loss(logits, labels, 0.1) for labels in (first, second)]
    torch.testing.assert_close(mixed, 0.3 * parts[0] + 0.7 * parts[1])
