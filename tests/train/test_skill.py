"""What an answer tells of a split, by every task's loss."""

import pytest
import torch
from torch import Tensor, nn

from locomt.tasks import TASKS, Task
from locomt.train.skill import Skill

SAMPLES = 400


def said_and_true(name: str) -> tuple[Task, Tensor, Tensor]:
    """A task, answers that are right, and the labels."""
    if TASKS[name].in_time:
        target = TASKS[name](seconds=4.0, step=1.0)
        labels = (torch.arange(SAMPLES // 4 * 4 * 3).view(SAMPLES // 4, 4, 3) % 7 < 2).float()
        return target, 8 * labels - 4, labels
    target = TASKS[name]()
    names = ["x", "y", "z"] if target.has_classes else []
    places = {name: place for place, name in enumerate(names)}
    cells = [names[i % 3] for i in range(SAMPLES)] if names else [str(float(i % 3)) for i in range(SAMPLES)]
    labels = torch.stack([target.parse(cell, places) for cell in cells])
    if not names:
        return target, labels.view(SAMPLES, 1), labels
    if target.several:
        return target, 8 * labels.float() - 4, labels
    if target.num_outputs(names) == 3:
        return target, 8 * nn.functional.one_hot(labels, 3).float(), labels
    # above the first class by the first number, between the two thresholds by the second
    return target, torch.tensor([[-8.0, 0.0], [8.0, 16.0], [16.0, 0.0]])[labels], labels


def skill_of(target: Task, said: Tensor, labels: Tensor) -> float:
    skill = Skill(target, nn.Linear(2, said.shape[-1]))
    for part in torch.arange(len(labels)).split(64):
        skill.add(said[part], labels[part])
    found = skill.measure()
    assert skill.measure() == 0  # the split is forgotten
    return found


@pytest.mark.parametrize("name", TASKS)
def test_from_nothing_to_all(name: str) -> None:
    target, said, labels = said_and_true(name)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(said.shape, generator=generator)
    assert skill_of(target, said, labels) > 0.95
    assert skill_of(target, noise, labels) < 0.01
    assert skill_of(target, -said, labels) == 0  # right the other way round
    assert skill_of(target, torch.ones_like(said), labels) == 0
    half = skill_of(target, said + 4 * said.std() * noise / noise.std(), labels)
    assert 0.01 < half < 0.5


@pytest.mark.parametrize("name", TASKS)
def test_it_makes_no_difference_how_sure_an_answer_is(name: str) -> None:
    """A model that was not trained to answer so is off in the scale and in what it lies around."""
    target, said, labels = said_and_true(name)
    noisy = said + 3 * said.std() * torch.randn(said.shape, generator=torch.Generator().manual_seed(1))
    once = skill_of(target, noisy, labels)
    assert skill_of(target, 50 * noisy - 7, labels) == pytest.approx(once, abs=2e-3)
    assert skill_of(target, noisy / 50, labels) == pytest.approx(once, abs=2e-3)


def test_noise_tells_nothing_of_small_splits() -> None:
    """By the number that is fitted to it alone noise would gain now and then."""
    found = []
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(4, (80,), generator=generator)
        found.append(skill_of(TASKS["multiclass"](), torch.randn(80, 4, generator=generator), labels))
    assert sum(skill > 0 for skill in found) <= 2
    assert max(found) < 0.05


def test_what_makes_a_split_known_without_looking() -> None:
    one_class = torch.zeros(20, dtype=torch.long)
    assert skill_of(TASKS["multiclass"](), torch.randn(20, 3), one_class) == 0
    assert Skill(TASKS["multiclass"](), nn.Linear(2, 3)).measure() == 0


def test_a_constant_is_known_by_all_labels_and_not_by_their_sums() -> None:
    """0, 3, 3 and 1, 1, 4 have one sum and one sum of squares; a constant of the others would be far off."""
    head, shared = nn.Linear(2, 5), {}  # type: ignore[var-annotated]
    for classes in ([0, 3, 3], [1, 1, 4]):
        labels = torch.tensor(classes * 40)
        said = 4 * nn.functional.one_hot(labels, 5).float()
        found = []
        for constants in (shared, None):
            skill = Skill(TASKS["multiclass"](), head, constants)
            skill.add(said, labels)
            found.append(skill.measure())
        assert found[0] == found[1] > 0.5
    assert len(shared) == 2
