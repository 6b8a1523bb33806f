"""What holds of every task in the table."""

import json

import pytest
import torch
from torch import Tensor

from locomt.tasks import IGNORED, TASKS, LabelError, Task
from locomt.tasks.class_names import places_of
from locomt.tasks.ordinal import threshold_logits

LABELS = ["1", "2", "3"]


def made(name: str, *, stepwise: bool = False) -> Task:
    return TASKS[name](stepwise=stepwise, **({"seconds": 2.0, "step": 0.5} if TASKS[name].in_time else {}))


def cells(task: Task) -> list[str]:
    """Four label cells; every class is in one and missing in another."""
    if task.in_time:
        return ["1@0-1;2@0.5-2", "3@0-2", ";", "2@0-0.5"]
    if task.stepwise:
        return ["1;2", "3", "2;2;1", "3;1;1"]
    return ["1;2", "3", ";", "2"] if task.several else ["1", "3", "2", "2"]


def parsed(task: Task) -> list[Tensor]:
    places = places_of(LABELS) if task.has_classes else {}
    return [task.parse(cell, places) for cell in cells(task)]


def batch(task: Task) -> Tensor:
    labels = parsed(task)
    return task.stack(labels, max((len(label) for label in labels if task.stepwise), default=0))


def outputs(task: Task, labels: Tensor) -> Tensor:
    torch.manual_seed(0)
    steps = labels.shape[1:2] if task.stepwise or task.in_time else ()
    return torch.randn(len(labels), *steps, task.num_outputs(LABELS), requires_grad=True)


def _name(task: Task) -> str:
    return task.name + (" of steps" if task.stepwise else "")


MADE = [made(name, stepwise=stepwise) for name, task in TASKS.items() for stepwise in {False, task.takes_steps}]
every_task = pytest.mark.parametrize("task", MADE, ids=_name)
of_steps = pytest.mark.parametrize("task", [task for task in MADE if task.stepwise], ids=_name)
of_one_class = pytest.mark.parametrize(
    "task", [task for task in MADE if task.has_classes and not task.several], ids=_name
)


@every_task
def test_a_task_is_found_by_its_name(task: Task) -> None:
    assert TASKS[task.name] is type(task)
    assert task.floor_name


@every_task
def test_what_a_run_is_judged_by_is_scored(task: Task) -> None:
    """The loss apart, which is there in any case, and no test score: another comes first."""
    labels = batch(task)
    scores = task.scores(LABELS)
    scores.update(outputs(task, labels).detach(), labels)
    result = scores.compute()
    first, *_ = task.monitors
    assert first != "loss"
    assert task.monitors["loss"] == "min"
    assert set(task.monitors) - {"loss"} <= result["metrics"].keys()
    assert set(task.monitors.values()) <= {"min", "max"}
    assert all(task.better(name) == ("less" if mode == "min" else "more") for name, mode in task.monitors.items())
    assert set(result["per_class"]) <= set(LABELS)
    json.dumps(result)


def probabilities(task: Task, logits: Tensor) -> Tensor:
    """What an answer says, as numbers of which a mean makes sense."""
    if not task.has_classes:
        return logits
    if task.name == "ordinal":
        return threshold_logits(logits).sigmoid()
    return logits.sigmoid() if task.several else logits.softmax(dim=-1)


@every_task
def test_a_mean_of_answers_is_one_of_probabilities(task: Task) -> None:
    """Of those that are there, each with its own say; and one answer by itself stays what it is."""
    labels = batch(task)
    answers = 3 * torch.stack([outputs(task, labels), -outputs(task, labels), torch.randn_like(outputs(task, labels))])
    answers = answers.detach().double()
    there = torch.ones(answers.shape[:-1], dtype=torch.bool)
    there[1, 0], there[1:, 1] = False, False
    said = probabilities(task, answers)
    wanted = torch.stack([said[[0, 2], 0].mean(dim=0), said[0, 1], said[:, 2].mean(dim=0), said[:, 3].mean(dim=0)])
    torch.testing.assert_close(probabilities(task, task.mean_answer(answers, there)), wanted)
    sure = torch.full_like(answers[:2], 60.0)
    sure[..., 1:] = -60.0
    torch.testing.assert_close(
        probabilities(task, task.mean_answer(sure, there[[0, 2]])), probabilities(task, sure[0]), atol=1e-12, rtol=1e-9
    )


@every_task
def test_every_output_is_learned_from_every_real_answer(task: Task) -> None:
    labels = batch(task)
    logits = outputs(task, labels)
    loss = task.loss(logits, labels)
    loss.backward()
    assert logits.grad is not None
    assert loss.dtype == torch.float32
    real = ~labels.isnan() if labels.is_floating_point() else labels != IGNORED
    if labels.is_floating_point():
        real = real.any(dim=-1)
    assert (logits.grad[real] != 0).any(dim=-1).all()
    assert (logits.grad[~real] == 0).all()
    assert task.count(labels) == int(real.sum())


@of_steps
def test_padding_changes_no_loss_and_no_score(task: Task) -> None:
    labels = batch(task)
    logits = outputs(task, labels).detach()
    longer = torch.nn.functional.pad(logits, (0, 0, 0, 2), value=7.0)
    padded = task.stack(parsed(task), labels.shape[1] + 2)
    torch.testing.assert_close(task.loss(longer, padded), task.loss(logits, labels))
    found = []
    for answers, truth in ((logits, labels), (longer, padded)):
        scores = task.scores(LABELS)
        scores.update(answers, truth)
        found.append(scores.compute())
    assert found[0] == found[1]


@every_task
def test_the_floor_is_an_answer_like_others(task: Task) -> None:
    labels = batch(task)
    if task.stepwise:
        labels = labels.flatten(0, 1)
        labels = labels[~labels.isnan().flatten()] if labels.is_floating_point() else labels[labels != IGNORED]
    answer = task.floor(labels, len(LABELS))
    assert answer.shape == (task.num_outputs(LABELS),)
    assert answer.isfinite().all()
    json.dumps(task.answer(answer.expand(3, -1) if task.stepwise or task.in_time else answer, LABELS, 2))


@of_one_class
def test_answers_begin_with_what_is_scored(task: Task) -> None:
    """A model that is right of the first answer, by its own account, scores as right."""
    labels = batch(task)
    logits = outputs(task, labels).detach()
    rows = logits.flatten(0, -2)
    told = [LABELS.index(task.answer(row, LABELS, 1)["predictions"][0]["label"]) for row in rows]
    scores = task.scores(LABELS)
    scores.update(rows, torch.tensor(told))
    assert scores.compute()["metrics"]["accuracy"] == 1


@of_steps
def test_steps_are_named(task: Task) -> None:
    predictions = task.answer(torch.zeros(4, task.num_outputs(LABELS)), LABELS, 1)["predictions"]
    assert [guess["step"] for guess in predictions] == [0, 1, 2, 3]


@every_task
def test_an_empty_cell_says_nothing(task: Task) -> None:
    with pytest.raises(LabelError, match="empty cell"):
        task.parse("", places_of(LABELS))
    assert task.names("") == []


@every_task
def test_names_are_those_that_are_parsed(task: Task) -> None:
    assert {name for cell in cells(task) for name in task.names(cell)} == set(LABELS)
    assert task.order({"3", "1", "2"}) == LABELS


@every_task
def test_an_answer_without_looking_costs_a_number(task: Task) -> None:
    assert 0 < task.blind_loss(len(LABELS), parsed(task)) < 20


@every_task
def test_labels_are_mixed_or_the_reason_is_told(task: Task) -> None:
    if task.stepwise or task.in_time:
        assert task.refuses_mixing
        return
    labels = batch(task)
    logits, mixable = outputs(task, labels).detach(), task.mixable(labels, len(LABELS))
    assert not task.refuses_mixing
    torch.testing.assert_close(task.loss(logits, mixable), task.loss(logits, labels))
