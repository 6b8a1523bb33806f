"""One model under other view tables and under mixtures of views: the same heads, whatever they look at."""

import pytest
import torch

from locomt import FusionConfig, FusionModel, ViewTable
from locomt.nn import FeatureSpec
from locomt.nn.attention import ViewMixture
from locomt.views import view_set

NAMES = ("video", "audio", "text")
VIEWS = view_set(NAMES, one_way=True)


def make_model(fusion: str = "locomt", views: str | None = None) -> FusionModel:
    torch.manual_seed(0)
    specs = {name: FeatureSpec(dim=5, max_length=length) for name, length in zip(NAMES, (6, 3, 4), strict=True)}
    config = FusionConfig(
        modalities=specs, num_outputs=2, dim=16, heads=4, depth=3, fusion_layers=2, fusion=fusion, views=views
    )
    return FusionModel(config).double().eval()


def draw(seed: int) -> tuple[ViewTable, ViewMixture]:
    """A table, and a mixture that amounts to it."""
    chosen = torch.randint(len(VIEWS), (2, 4), generator=torch.Generator().manual_seed(seed))
    text = "\n".join(" ".join(f"{VIEWS[n]}:1" for n in row) for row in chosen.tolist())
    return ViewTable.parse(text, NAMES), ViewMixture(VIEWS, torch.nn.functional.one_hot(chosen, len(VIEWS)).double())


def inputs() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    given = {
        name: torch.randn(3, steps, 5, dtype=torch.float64, generator=generator)
        for name, steps in zip(NAMES, (6, 3, 4), strict=True)
    }
    return given, {"video": torch.tensor([6, 2, 5]), "audio": torch.tensor([3, 3, 0]), "text": torch.tensor([4, 1, 2])}


@pytest.mark.parametrize("seed", range(4))
def test_another_table_is_what_a_model_made_for_it_is(seed: int) -> None:
    model = make_model(views="self:1 video~audio:1 self:1 video>text:1\nmulti:2 self:2")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table, mixture = draw(seed)
    mixed = model(*inputs(), mixture)
    model.set_views(table)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (model.table, model.config.view_table()) == (table, table)
    fresh = FusionModel(model.config).double().eval()
    fresh.load_state_dict(before)
    torch.testing.assert_close(model(*inputs()), fresh(*inputs()), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(mixed, fresh(*inputs()), rtol=1e-12, atol=1e-14)
    other, _ = draw(seed + 1)
    model.load_state_dict(before)  # in the order of the table, whatever table is followed
    model.set_views(other)
    fresh.set_views(other)
    torch.testing.assert_close(model(*inputs()), fresh(*inputs()), rtol=1e-12, atol=1e-14)


def test_heads_of_a_mixture_weigh_their_views() -> None:
    """Half self and half cross is half of what either head gives, before the next layer makes more of it."""
    attention = make_model().fusion[0].attention
    streams = {name: torch.randn(2, 3, 16, dtype=torch.float64) for name in NAMES}
    outs = []
    for weights in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5)):
        mixture = ViewMixture(VIEWS[:2], torch.tensor([weights] * 4, dtype=torch.float64))
        outs.append(attention.streams(streams, mixture=mixture)["video"])
    torch.testing.assert_close(outs[2], (outs[0] + outs[1]) / 2)
    assert not torch.allclose(outs[0], outs[1])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            ViewTable.uniform("self", NAMES, 2, 8),
            "expected a view table of 2 layers of 4 heads over video, audio, text",
        ),
        (ViewTable.uniform("self", NAMES, 3, 4), "got 3 layers of 4 heads over"),
        (ViewTable.uniform("self", NAMES[::-1], 2, 4), "got 2 layers of 4 heads over text, audio, video"),
    ],
)
def test_a_table_that_does_not_fit_changes_nothing(table: ViewTable, message: str) -> None:
    model = make_model()
    before = model.table
    with pytest.raises(ValueError, match=message):
        model.set_views(table)
    assert model.table == model.config.view_table() == before
    assert [block.attention.views for block in model.fusion] == list(before.layers)


def test_bottlenecks_have_no_views() -> None:
    model, (table, mixture) = make_model("mbt"), draw(0)
    with pytest.raises(ValueError, match="fusion 'mbt' follows no view table"):
        model.set_views(table)
    with pytest.raises(ValueError, match="a model of fusion 'mbt' follows none"):
        model(*inputs(), mixture)
