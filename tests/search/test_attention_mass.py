"""Attention mass, against softmax written out over what the model attends with."""

import pytest
import torch

from locomt import FusionConfig, FusionModel
from locomt.data import Batch
from locomt.nn import FeatureSpec
from locomt.search.budget import SearchError
from locomt.search.methods.mass import need_dense
from locomt.train.attention_mass import measure_mass
from locomt.views import MULTI, View, view_set

LENGTHS = {"video": 6, "audio": 3, "text": 4}  # input steps; [CLS] comes on top


def make_model(fusion: str = "multiall") -> FusionModel:
    torch.manual_seed(0)
    specs = {name: FeatureSpec(dim=5, max_length=length) for name, length in LENGTHS.items()}
    config = FusionConfig(
        modalities=specs, num_outputs=2, dim=8, heads=2, depth=3, fusion_layers=2, fusion=fusion, dropout=0.5
    )
    model = FusionModel(config)
    for parameter in model.parameters():  # far from uniform attention
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def make_batch(inputs: dict[str, torch.Tensor], lengths: dict[str, torch.Tensor] | None = None) -> Batch:
    ids = [str(i) for i in range(len(next(iter(inputs.values()))))]
    lengths = lengths or {name: torch.tensor([len(row) for row in value]) for name, value in inputs.items()}
    return Batch(ids=ids, inputs=inputs, lengths=lengths, labels=torch.zeros(len(ids), dtype=torch.long))


def draw(batch: int, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, steps, 5, generator=generator) for name, steps in LENGTHS.items()}


def test_blocks_are_sums_of_the_softmax_that_the_model_computes() -> None:
    model, inputs = make_model(), draw(3)
    mass = measure_mass(model, [make_batch(inputs)])
    starts = [0, 7, 11, 16]
    # The probabilities themselves: what attention makes of values that are unit vectors.
    projections = []
    handles = [
        block.attention.qkv.register_forward_hook(lambda _, __, out: projections.append(torch.cat([*out.values()], 1)))
        for block in model.fusion
    ]
    with torch.inference_mode():
        model(inputs)
    for handle in handles:
        handle.remove()
    for layer, joint in enumerate(projections):
        q, k, _ = joint.double().view(3, 16, 3, 2, 4).permute(2, 0, 3, 1, 4)
        probabilities = (q @ k.transpose(-1, -2) / 2).softmax(-1)
        for i in range(3):
            for j in range(3):
                block = probabilities[:, :, starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
                expected = block.sum(-1).mean(dim=(0, 2))
                torch.testing.assert_close(mass.mean[layer, :, i, j], expected, rtol=1e-5, atol=1e-6)


def test_multi_keeps_everything_and_parts_add_up() -> None:
    mass = measure_mass(make_model(), [make_batch(draw(2))])
    views = [MULTI, *view_set(tuple(LENGTHS))]
    kept = mass.kept(views)
    assert kept.shape == (2, 2, 5)
    torch.testing.assert_close(kept[..., 0], torch.ones(2, 2, dtype=torch.float64))
    torch.testing.assert_close(kept[..., 1:].sum(-1), torch.ones(2, 2, dtype=torch.float64))  # self and the pairs
    assert bool((kept > 0).all())


def test_padding_and_missing_modalities_take_no_part() -> None:
    model = make_model()
    inputs = draw(2)
    lengths = {"video": torch.tensor([6, 4]), "audio": torch.tensor([3, 0]), "text": torch.tensor([2, 4])}
    padded = {name: value.clone() for name, value in inputs.items()}
    for name, own in lengths.items():
        for sample, count in enumerate(own.tolist()):
            padded[name][sample, count:] = 1e3
    together = measure_mass(model, [make_batch(padded, lengths)])
    alone = measure_mass(
        model,
        [
            make_batch(
                {name: value[i : i + 1, : lengths[name][i]] for name, value in inputs.items() if lengths[name][i] > 0}
            )
            for i in range(2)
        ],
    )
    torch.testing.assert_close(together.sums, alone.sums, rtol=1e-4, atol=1e-6)
    assert together.samples.tolist() == alone.samples.tolist() == [2, 1, 2]
    torch.testing.assert_close(together.mean.sum(-1), torch.ones(2, 2, 3, dtype=torch.float64))


def test_what_is_never_seen_weighs_nothing() -> None:
    inputs = {name: value for name, value in draw(2).items() if name != "text"}
    mass = measure_mass(make_model(), [make_batch(inputs)])
    kept = mass.kept([MULTI, View("video~text")])
    torch.testing.assert_close(kept[..., 0], torch.ones(2, 2, dtype=torch.float64))
    assert bool((kept[..., 1] == 0).all())


def test_only_multiall_is_measured() -> None:
    with pytest.raises(SearchError, match="expected a model of fusion 'multiall', got 'selfall'"):
        need_dense(make_model("selfall"))


def test_heads_look_within_their_views() -> None:
    """A head of views gives all its attention to what it sees; where that is missing, to its own modality."""
    torch.manual_seed(0)
    specs = {name: FeatureSpec(dim=5, max_length=length) for name, length in LENGTHS.items()}
    views = "self:1 video~audio:1\nmulti:1 audio>text:1"
    model = FusionModel(
        FusionConfig(modalities=specs, num_outputs=2, dim=8, heads=2, depth=3, fusion_layers=2, views=views)
    )
    mass = measure_mass(model, [make_batch(draw(2))])
    assert model.table is not None
    for layer, row in enumerate(model.table.layers):
        for head, view in enumerate(row.heads):
            for i, query in enumerate(row.modalities):
                seen = any(view.sees(query, key) for key in row.modalities)
                assert mass.mean[layer, head, i].sum().item() == pytest.approx(float(seen))
                for j, key in enumerate(row.modalities):
                    assert (mass.mean[layer, head, i, j] > 0) == view.sees(query, key)
    inputs = draw(2)
    del inputs["audio"]
    alone = measure_mass(model, [make_batch(inputs)])
    assert alone.mean[0, 1].diagonal().tolist() == pytest.approx([1.0, 0.0, 0.0])
