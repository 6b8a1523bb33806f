r"""One of several classes that have an order: grades, ratings, degrees of severity.

With K classes the model has K - 1 outputs, and a class is how many of K - 1 thresholds are passed. A threshold is a yes
or no, "is it above class k?", with a binary cross-entropy of its own, as in Cao, Mirjalili & Raschka, "Rank consistent
ordinal regression for neural networks" (CORAL; Pattern Recognition Letters 2020), and in Frank & Hall (ECML 2001).

What is above class k + 1 is above class k too, but K - 1 independent answers may say otherwise, and then the difference
of two of them is no probability. CORAL has one weight vector for all thresholds, so that their logits differ by biases
alone, in whose order one has to trust (it is proven for the minimum of the loss). Here outputs are turned into logits
that come in order whatever the weights are, as the cut points of cumulative link models often are (McCullagh, JRSS B
1980):

$$\ell_0 = a_0 + z_0, \qquad \ell_k = \ell_{k-1} - (a_{k-1} - a_k)\,\mathrm{softplus}(z_k) / \ln 2$$

with $a_k = \mathrm{logit}((K - 1 - k) / K)$. The head is the linear layer of all tasks, how far thresholds are apart
may depend on the sample, and outputs of 0 stand for all classes alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot, pad, softplus

from locomt.hints import listed
from locomt.tasks.label_text import LabelError, number_of
from locomt.tasks.multiclass import Multiclass
from locomt.tasks.task import IGNORED, Scores, likeliest, logit_of_mean

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped


class Ordinal(Multiclass):
    """One class out of a list that has an order. Labels are as those of `Multiclass`, mixed ones too."""

    name: ClassVar[str] = "ordinal"
    scale_free: ClassVar[bool] = False
    monitors: ClassVar[Mapping[str, str]] = {"mae": "min", "kappa": "max", "accuracy": "max", "loss": "min"}
    floor_name: ClassVar[str] = "median class"

    def order(self, names: Collection[str]) -> list[str]:
        """From the lowest to the highest, where all are numbers.

        Raises:
            LabelError: they are not: what order words have, nobody knows but who wrote them. Or there are no two.
        """
        self.num_outputs(list(names))
        try:
            return sorted(names, key=lambda name: (number_of(name), name))
        except LabelError:
            raise LabelError(
                f"an ordinal task needs the order of its classes, which are no numbers, {listed(sorted(names), 3)}; "
                "list them in data.labels from the lowest to the highest"
            ) from None

    def num_outputs(self, labels: Sequence[str]) -> int:
        """One a threshold.

        Raises:
            LabelError: there are no two classes.
        """
        if len(labels) < 2:
            raise LabelError(f"an ordinal task has two classes or more (data.labels), got {listed(labels)}")
        return len(labels) - 1

    def loss(
        self,
        logits: Float[Tensor, "batch *steps thresholds"],
        labels: Shaped[Tensor, "batch *rest"],
        smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy, the mean over the thresholds; it is the class that is smoothed, not each answer."""
        classes = logits.shape[-1] + 1
        if labels.is_floating_point():
            shares = labels
        else:
            logits, labels = logits.flatten(0, -2), labels.flatten()
            logits, labels = logits[labels != IGNORED], labels[labels != IGNORED]
            shares = one_hot(labels, classes).float()
        shares = shares * (1 - smoothing) + smoothing / classes
        return binary_cross_entropy_with_logits(threshold_logits(logits.float()), _above(shares))

    def blind_loss(self, classes: int, labels: Iterable[Tensor]) -> float:
        """That of a yes or no."""
        return math.log(2)

    def scores(self, labels: Sequence[str]) -> Scores:
        return OrdinalScores(labels)

    def floor(self, labels: Int[Tensor, " samples"], classes: int) -> Float[Tensor, " thresholds"]:
        """The median class, of which the mean distance is least: as many thresholds passed."""
        half = (labels.median().item() + 0.5) / classes
        return pad(torch.tensor([math.log(half / (1 - half))]), (0, classes - 2))

    def mean_answer(
        self, logits: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
    ) -> Float[Tensor, "*rest outputs"]:
        return outputs_of(logit_of_mean(threshold_logits(logits), there))

    def _guesses(self, logits: Float[Tensor, " thresholds"], labels: Sequence[str], top: int) -> list[dict[str, Any]]:
        """The class whose threshold is the last one passed, with its probability, then the likeliest of the others."""
        scores = class_probabilities(logits)
        first = scores.clone()
        first[ranked(logits)] = math.inf
        return likeliest(first, scores, labels, top)


def threshold_logits(outputs: Float[Tensor, "*batch thresholds"]) -> Float[Tensor, "*batch thresholds"]:
    """Of being above each class but the last one; none is larger than the one before it."""
    alike = _alike(outputs)
    falls = -alike.diff() * softplus(outputs[..., 1:]) / math.log(2)
    first = alike[:1] + outputs[..., :1]
    return torch.cat([first, first - falls.cumsum(dim=-1)], dim=-1)


def outputs_of(logits: Float[Tensor, "*batch thresholds"]) -> Float[Tensor, "*batch thresholds"]:
    """The outputs that `threshold_logits` makes these out of."""
    alike = _alike(logits)
    soft = (logits.diff(dim=-1) / alike.diff() * math.log(2)).clamp(min=0)  # rounding may leave less
    return torch.cat([logits[..., :1] - alike[:1], soft + (-(-soft).expm1()).log()], dim=-1)


def _alike(outputs: Float[Tensor, "*batch thresholds"]) -> Float[Tensor, " thresholds"]:
    """The logits of the thresholds where all classes are alike."""
    count = outputs.shape[-1]
    return (torch.arange(count, 0, -1, dtype=outputs.dtype, device=outputs.device) / (count + 1)).logit()


def class_probabilities(outputs: Float[Tensor, "*batch thresholds"]) -> Float[Tensor, "*batch classes"]:
    """None is below 0, and they sum to 1."""
    above = threshold_logits(outputs.float()).sigmoid()
    return (pad(above, (1, 0), value=1.0) - pad(above, (0, 1))).clamp(min=0)


def ranked(outputs: Float[Tensor, "*batch thresholds"]) -> Int[Tensor, "*batch"]:
    """The class: how many thresholds are passed, being likelier than not. It is the median of the probabilities."""
    return (threshold_logits(outputs.float()) > 0).sum(dim=-1)


def _above(shares: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch thresholds"]:
    """The share of the classes above each but the last one."""
    return shares.flip(-1).cumsum(dim=-1).flip(-1)[..., 1:]


class OrdinalScores(Scores):
    """How far the class answered is from the true one, in classes, all from the table of both (torchmetrics').

    `mae` is the mean distance, `kappa` Cohen's with quadratic weights (Cohen, Psychological Bulletin 1968): 1 minus the
    mean squared distance over what it would be if answers and labels were independent; None where both are one class.
    Per class `mae`, `recall` and `support`, the first two None of a class without a sample.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        from torchmetrics.classification import MulticlassConfusionMatrix

        super().__init__(labels)
        self.table = MulticlassConfusionMatrix(len(labels), ignore_index=IGNORED)

    def update(self, logits: Float[Tensor, "batch *steps thresholds"], labels: Int[Tensor, "batch *steps"]) -> None:
        self.table.update(ranked(logits), labels)

    def compute(self) -> dict[str, dict[str, Any]]:
        counts = self.table.compute().double().cpu()  # [true, answered]
        places = torch.arange(len(counts), dtype=torch.float64)
        distance = (places[:, None] - places).abs()
        true, answered, samples = counts.sum(dim=1), counts.sum(dim=0), counts.sum()
        chance = (distance.square() * torch.outer(true, answered)).sum() / samples
        metrics = {
            "mae": (distance * counts).sum() / samples,
            "kappa": 1 - (distance.square() * counts).sum() / chance,
            "accuracy": counts.trace() / samples,
        }
        each = {"mae": (distance * counts).sum(dim=1) / true, "recall": counts.diagonal() / true}
        return {
            "metrics": {name: _defined(value) for name, value in metrics.items()},
            "per_class": {
                label: {name: _defined(values[i]) for name, values in each.items()} | {"support": int(true[i])}
                for i, label in enumerate(self.labels)
            },
        }


def _defined(value: Tensor) -> float | None:
    """None of 0 / 0."""
    number = value.item()
    return number if math.isfinite(number) else None
