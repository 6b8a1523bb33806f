import math

import pytest
import torch

from locomt.nn import FeatureSpec, FusionConfig, TextSpec
from locomt.nn.model import FusionModel
from locomt.train.config import TrainConfig
from locomt.train.optim import UNDECAYED, make_optimizer, make_schedule, parameter_groups, warmup_cosine


@pytest.fixture
def model() -> FusionModel:
    specs = {"a": FeatureSpec(dim=3, max_length=4), "b": TextSpec(vocabulary=5, max_length=4)}
    return FusionModel(
        FusionConfig(dim=8, heads=2, depth=2, fusion_layers=1, fusion="mbt", modalities=specs, num_outputs=2)
    )


def test_only_weights_decay(model: FusionModel) -> None:
    decayed, others = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    kept = {names[id(parameter)] for parameter in others["params"]}
    assert {names[id(parameter)] for parameter in decayed["params"]} == set(names.values()) - kept
    assert all(name.endswith("weight") for name in set(names.values()) - kept)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    # Every name on the list is one that the model really has.
    assert {name.split(".")[-1] for name in kept} == {"bias", "weight", *UNDECAYED}


def test_warmup_then_cosine() -> None:
    share = warmup_cosine(total=110, warmup=10)
    assert [share(step) for step in range(10)] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert share(10) == 1
    assert share(60) == pytest.approx(0.5)
    assert share(109) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))
    assert share(110) == share(200) == 0


def test_whole_run_of_warmup_never_divides_by_zero() -> None:
    assert warmup_cosine(total=5, warmup=5)(5) == 1


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizer_and_schedule_follow_the_recipe(model: FusionModel, name: str, kind: type) -> None:
    config = TrainConfig(optimizer=name, learning_rate=0.3, momentum=0.8, epochs=4, warmup_epochs=0.5)
    optimizer = make_optimizer(model, config)
    schedule = make_schedule(optimizer, config, steps_per_epoch=10)
    assert isinstance(optimizer, kind)
    assert optimizer.defaults.get("momentum", 0.8) == 0.8
    rates = []
    for _ in range(40):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates.index(max(rates)) == 5
    assert max(rates) == pytest.approx(0.3)
    assert schedule.get_last_lr() == [0, 0]
