"""What becomes of each modality in training: its loss, score and skill, its gradient, its share in the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from locomt import ranks
from locomt.nn.model import Alone, Apart, FusionModel
from locomt.tasks import Scores, Task
from locomt.train.mean_loss import MeanLoss
from locomt.train.skill import Constants, Skill
from locomt.train.weighing import Weighing

ROUNDING = 1e-5
"""By less, no answer tells more than another: where both tell all there is to tell, rounding would decide."""
UNDECIDED = 0.1
"""What the losses of single modalities are worth while nothing tells anything yet."""


class ByModality(nn.Module):
    """Follows the modalities that a model's head reads through training.

    Attributes:
        skills: what each tells by itself, from 0 to 1, as the last validation found it; empty before. See `Skill`.
        together: what the model's answer to all of them tells, likewise.
        shares: how much each counts in the answer, as the last validation found it; empty where all count alike.
        apart: whether the answer is put together from what each says with the others missing, likewise.

    Args:
        task: of the model.
        labels: the names of the classes.
        model: that is trained.
        may_be_apart: whether the answer may be put together from what each says by itself.
    """

    def __init__(self, task: Task, labels: Sequence[str], model: FusionModel, *, may_be_apart: bool = True) -> None:
        super().__init__()
        self.task, self.names = task, model.config.read
        self.scores = nn.ModuleList(task.scores(labels) for _ in self.names)
        self.train_loss = {name: MeanLoss() for name in self.names}
        self.val_loss = {name: MeanLoss() for name in self.names}
        self.gradients = {name: MeanLoss() for name in self.names}
        self._mixed = Weighing(task, self.names, model.head)
        self._single = Weighing(task, self.names, model.head)
        constants: Constants = {}
        self._skills = {name: Skill(task, model.head, constants) for name in self.names}
        self._together, self._apart = (Skill(task, model.head, constants) for _ in range(2))
        self.skills: dict[str, float] = {}
        self.together = 0.0
        self.shares: dict[str, float] = {}
        self.apart, self._may_be_apart = False, may_be_apart

    @property
    def worth(self) -> float:
        """How much the losses of single modalities are worth going down, from 0 to 1.

        All of it where the best modality tells as much by itself as all together: that is what the fused model has to
        learn. Nothing where only several together tell anything: a modality alone can but be learned by heart. Between,
        the square of the best one's part in what all tell. As long as nothing tells anything, a modality may only be
        slow: a little, which is hardly in the way, and is enough once the loss of all together is gone.
        """
        if not self.skills:
            return 0.0
        best = max(self.skills.values())
        if not best and not self.together:
            return UNDECIDED
        return round((best / self.together) ** 2, 2) if best < self.together else 1.0

    def loss(self, alone: Mapping[str, Alone], labels: Tensor, smoothing: float) -> Tensor:
        """Twice the mean loss of what the model answers to each modality, of the samples that have it, over all.

        So each of two counts as much as the loss of all together, and many do not drown it.
        """
        total, samples = labels.new_zeros((), dtype=torch.float32), max(1, self.task.count(labels))
        for name, answer in alone.items():
            own = _of(answer, labels)
            if count := self.task.count(own):
                loss = self.task.loss(answer.logits, own, smoothing)
                self.train_loss[name].update(loss, len(own))
                total = total + count / samples * loss
        return total * 2 / len(self.names)

    def measure_gradients(self, model: FusionModel) -> None:
        """Take in the norm of the gradient of every tower, embedding included, in this step."""
        for name in self.names:
            parts = (model.embeddings.of(name), model.towers.of(name))
            found = [p.grad for part in parts for p in part.parameters() if p.grad is not None]
            if found:
                self.gradients[name].update(torch.stack(torch._foreach_norm(found)).norm(), 1)

    def add(self, apart: Apart, labels: Tensor) -> None:
        """Take in a batch of the validation split."""
        self._mixed.add(apart.reads, labels)
        self._single.add_apart(apart, labels)
        for name, scores in self._scored():
            if name not in apart.alone:
                continue
            answer = apart.alone[name]
            own = _of(answer, labels)
            if self.task.count(own):
                self.val_loss[name].update(self.task.loss(answer.logits, own), len(own))
                self._skills[name].add(answer.logits, own)
                scores.update(answer.logits, own)

    def answers(self, *, weighed: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Find what each modality tells, and how the answer is best put together. The split is forgotten.

        Where no modality tells anything by itself all count alike: what each says has no sense without the others. Else
        the answer is to all together or to each apart that tells something, whichever tells more of the split.

        Args:
            weighed: whether there is anything to find; else the answer is the plain mean of all together.

        Returns:
            The logits and the labels of each batch by that answer.
        """
        self.skills = {name: skill.measure() for name, skill in self._skills.items()}
        finds = weighed and max(self.skills.values()) > 0
        self.shares = self._mixed.fit() if finds else {}
        self.together = _skill(self._together, self._mixed.answers(self.shares))
        self.apart, found = False, self._mixed
        if finds and self._may_be_apart:
            shares = self._single.fit({name for name, skill in self.skills.items() if skill > 0})
            if _skill(self._apart, self._single.answers(shares)) > self.together + ROUNDING:
                self.apart, self.shares, found = True, shares, self._single
        yield from found.answers(self.shares)
        self._mixed.batches.clear()
        self._single.batches.clear()

    def validated(self) -> Iterator[tuple[str, float]]:
        """What logs are to have of the validation split: the skill of all together, and of each modality by itself the
        loss, the metrics and the skill."""
        yield "skill", self.together
        yield "apart", float(self.apart)
        for name, scores in self._scored():
            if (loss := self.val_loss[name].compute()) is not None:
                yield f"val_loss/{name}", loss
                for metric, value in scores.compute()["metrics"].items():
                    yield f"val_{metric}/{name}", math.nan if value is None else float(value)
                yield f"skill/{name}", self.skills[name]
            scores.reset()

    def trained(self) -> Iterator[tuple[str, float]]:
        """The loss of each modality by itself over the epoch, and the mean norm of its tower's gradient.

        NaN where there was none: what is not logged anew would stay as it was.
        """
        for kind, means in (("train_loss", self.train_loss), ("gradient", self.gradients)):
            for name, mean in means.items():
                value = mean.compute()
                yield f"{kind}/{name}", math.nan if value is None else value

    def _scored(self) -> Iterator[tuple[str, Scores]]:
        for name, scores in zip(self.names, self.scores, strict=True):
            assert isinstance(scores, Scores)
            yield name, scores

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep, of all processes together; `restore` takes it back."""
        kept = [{name: ranks.total(mean.sums) for name, mean in means.items()} for means in self._sums]
        return {"sums": kept, "skills": self.skills, "together": self.together}

    def restore(self, state: Mapping[str, Any], *, first: bool) -> None:
        """Go on with a checkpoint's; the first process takes the sums, which are those of all."""
        self.skills, self.together = state["skills"], state["together"]
        for means, kept in zip(self._sums, state["sums"], strict=True) if first else ():
            for name, value in kept.items():
                means[name].sums = value

    @property
    def _sums(self) -> tuple[dict[str, MeanLoss], ...]:
        return self.train_loss, self.gradients


def _skill(skill: Skill, answers: Iterator[tuple[Tensor, Tensor]]) -> float:
    for logits, labels in answers:
        skill.add(logits, labels)
    return skill.measure()


def _of(answer: Alone, labels: Tensor) -> Tensor:
    """The labels of the samples that an answer is about."""
    return labels if answer.samples is None else labels[answer.samples.to(labels.device)]
