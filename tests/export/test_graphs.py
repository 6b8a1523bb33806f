"""Graphs of models: they answer as the model does, whatever the batch, the times and what samples lack."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from locomt import FusionConfig, FusionModel
from locomt.export.parity import ParityError, difference, samples_of
from locomt.nn import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.graph import described

VECTORS = {"a": FeatureSpec(dim=3, max_length=5), "b": FeatureSpec(dim=2, max_length=4, standardise=True)}
CASES = {
    "views, shares": {
        "views": "cls:1 a>b:1 self:1 multi:1",
        "heads": 4,
        "on_missing": "self",
        "shares": {"a": 0.3},
    },
    "apart": {"views": "self:1 a~b:1\na~b:2", "fusion_layers": 2, "depth": 2, "apart": True, "shares": {"b": 2.0}},
    "mbt, temporal": {"fusion": "mbt", "time_steps": 6},
    "multiall, shared, steps": {
        "fusion": "multiall",
        "shared_weights": True,
        "steps": ("a", "t"),
        "modalities": {"a": VECTORS["a"], "t": TextSpec(vocabulary=9, max_length=5), "b": VECTORS["b"]},
    },
    "selfall of media": {
        "fusion": "selfall",
        "modalities": {
            "v": VideoSpec(frames=6, size=8, patch=4, tubelet=2, differences=True),
            "s": AudioSpec(frames=23, mels=12, patch=8, stride=4, class_tokens=2),
            "p": ImageSpec(size=8, patch=4),
        },
    },
}


def make(**fields: object) -> FusionModel:
    """A model whose answers to different samples are far apart."""
    torch.manual_seed(0)
    sizes = {"dim": 8, "heads": 2, "depth": 1, "fusion_layers": 1, "num_outputs": 3, "modalities": VECTORS}
    model = FusionModel(FusionConfig(**{**sizes, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


@pytest.mark.parametrize("name", CASES)
def test_a_graph_answers_as_its_model(name: str) -> None:
    model = make(**CASES[name])
    program = model.export()
    assert not [node for node in program.graph.nodes if "locomt" in str(node.target) or "triton" in str(node.target)]
    module, names = program.module(), list(model.config.modalities)

    def answers(inputs: Sequence[np.ndarray], lengths: np.ndarray) -> np.ndarray:
        tensors = {n: torch.from_numpy(array) for n, array in zip(names, inputs, strict=True)}
        return module(tensors, torch.from_numpy(lengths)).detach().numpy()

    assert difference(model, answers, described(model)) < 1e-5
    with pytest.raises(ParityError, match="Nothing was written"):
        difference(model, lambda *given: answers(*given) + np.float32(0.01), described(model))


def test_samples_have_what_the_head_reads_and_lack_all_else() -> None:
    model = make(**CASES["mbt, temporal"])
    whole, lone, *others = samples_of(model, 20)
    assert {name: len(array) for name, array in whole.items()} == {"a": 5, "b": 4}
    assert {name: len(array) for name, array in lone.items()} == {"a": 1}
    assert {len(sample) for sample in others} == {1, 2}
