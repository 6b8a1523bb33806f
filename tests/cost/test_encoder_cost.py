"""The cost of text encoders, against models of several architectures as they run."""

import pytest

from locomt import FusionConfig, FusionModel
from locomt.cost import activation_bytes, flops, parameters
from locomt.cost.counted import count_flops
from locomt.cost.measured import saved_bytes
from locomt.nn import FeatureSpec, TextSpec
from text_encoders import CONFIGS

CASES = [(kind, "locomt", 24) for kind in sorted(CONFIGS)] + [("bert", "mbt", 16)]


@pytest.mark.parametrize(("kind", "fusion", "dim"), CASES)
def test_cost_is_what_is_counted(kind: str, fusion: str, dim: int) -> None:
    made = CONFIGS[kind]()
    encoder = {**made.to_diff_dict(), "model_type": made.model_type}
    specs = {
        "title": TextSpec(vocabulary=8, max_length=12, encoder=encoder),
        "lips": FeatureSpec(dim=3, max_length=4),
    }
    config = FusionConfig(dim=dim, heads=2, depth=1, fusion_layers=1, fusion=fusion, modalities=specs, num_outputs=2)
    for tokens, backward in ((None, True), ({"title": 6, "lips": 5}, False), ({"lips": 3}, True)):
        assert flops(config, tokens, 2, backward).total == count_flops(config, tokens, 2, backward)
    model = FusionModel(config).eval()
    assert parameters(config) == sum(p.numel() for p in model.parameters())
    inputs = model.example_inputs(1)
    assert activation_bytes(config) == saved_bytes(model, {name: tensor.clone() for name, tensor in inputs.items()})
