"""Small models of every kind, drawn at random, and the token counts that they can have."""

import math
from dataclasses import replace
from itertools import permutations

from hypothesis import strategies as st

from locomt import FusionConfig
from locomt.nn import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.config import FUSIONS, ON_MISSING
from locomt.views import STRATEGIES

SPECS = {
    "video": VideoSpec(frames=4, size=16, patch=8, tubelet=2),
    "audio": AudioSpec(frames=24, mels=16, patch=8),
    "speech": AudioSpec(frames=23, mels=17, patch=8, stride=5, class_tokens=2),
    "text": TextSpec(vocabulary=11, max_length=6),
    "lips": FeatureSpec(dim=5, max_length=6),
    "depth": VideoSpec(frames=2, size=8, patch=8, channels=1),
    "photo": ImageSpec(size=16, patch=8),
}
STEP = {name: math.prod(spec.grid[1:]) for name, spec in SPECS.items()}  # tokens to a step of the time axis
ALIGNED = ("text", "lips")


@st.composite
def configs(draw: st.DrawFn, modalities: int = 7, **fixed: object) -> FusionConfig:
    names = draw(st.lists(st.sampled_from(sorted(SPECS)), min_size=1, max_size=modalities, unique=True))
    depth = draw(st.integers(1, 3))
    head = draw(st.sampled_from(("sample", "steps", "time")))
    steps = tuple(name for name in names if name in ALIGNED) if head == "steps" else ()
    timed = any(SPECS[name].has_time for name in names)
    drawn = {
        "dim": 12,
        "heads": draw(st.sampled_from((1, 3))),
        "depth": depth,
        "fusion_layers": draw(st.integers(1, depth)),
        "fusion": draw(st.sampled_from(FUSIONS)),
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "cross": draw(st.sampled_from((0.0, 0.5, 1.0))) if len(names) > 1 else 0.0,
        "bottlenecks": draw(st.integers(1, 3)),
        "shared_weights": draw(st.booleans()),
        "on_missing": draw(st.sampled_from(ON_MISSING)),
        "mlp_ratio": draw(st.sampled_from((1.5, 4.0))),
        "num_outputs": draw(st.integers(1, 4)),
        "modalities": {name: SPECS[name] for name in names},
        "steps": steps,
        "time_steps": draw(st.integers(1, 9)) if head == "time" and timed else 0,
        "apart": draw(st.booleans()),
    }
    return FusionConfig(**{**drawn, **fixed})  # type: ignore[arg-type]


@st.composite
def with_tables(draw: st.DrawFn, drawn: st.SearchStrategy[FusionConfig]) -> FusionConfig:
    """Some that follow a table follow one of views of every kind, a few to each layer: heads leave modalities out."""
    config = draw(drawn)
    names = list(config.modalities)
    if config.fusion != "locomt" or len(names) < 2 or not draw(st.integers(0, 3)):
        return config
    pairs = [f"{a}{mark}{b}" for a, b in permutations(names, 2) for mark in "~>"]
    rows = []
    for _ in range(config.fusion_layers):
        few = draw(st.lists(st.sampled_from(["self", "multi", "cls", *pairs]), min_size=1, max_size=2))
        rows.append(" ".join(f"{draw(st.sampled_from(few))}:1" for _ in range(config.num_heads)))
    return replace(config, views="\n".join(rows))


@st.composite
def counts(draw: st.DrawFn, config: FusionConfig) -> dict[str, int] | None:
    """Full lengths, or shorter ones with modalities missing, of which something can be read."""
    if draw(st.booleans()):
        return None
    found = {}
    for name, full in config.layout.as_dict().items():
        fixed = SPECS[name].class_tokens
        steps = draw(st.integers(0, (full - fixed) // STEP[name]))
        found[name] = fixed + STEP[name] * steps if steps else 0
    aligned = draw(st.integers(2, 7))
    for name in config.steps:
        found[name] = aligned
    if not any(found[name] for name in config.read):
        name = config.read[0]
        found[name] = config.layout.as_dict()[name]
    return found
