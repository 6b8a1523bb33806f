"""Sizes of models and of what they see, and which of them fit the data, the machine and the minutes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from locomt.cost import flops
from locomt.data import ManifestDataset
from locomt.nn.model import FusionModel
from locomt.train.recipe import Recipe
from locomt.train.runs import device_of

BATCH = 8
STEPS, MOST_EPOCHS, FEWEST_EPOCHS = 400, 80, 6
"""Of a run: steps that small data get, and the bounds of its epochs."""
KEPT = 0.7
"""Share of the minutes that training may be planned to take; reading, scoring and saving take the rest."""
FAR = 3
"""How many times the minutes a size may be estimated to take, by the pace of a smaller one, and be timed itself."""
TIMED = 3
EPOCH, RUN = 0.03, 0.7
"""Seconds that an epoch takes besides its steps (checkpoint, row), and a run besides its epochs (set-up, scoring)."""
STOPPED = 0.8
"""Share of its epochs that a run takes before nothing gets better, on the whole."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """How often models are trained.

    Attributes:
        seeds: each modality alone, or the only one.
        fused: the model of all of them.
    """

    seeds: int = 1
    fused: int = 1


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size.

    Attributes:
        samples: training samples from which on it is considered: with fewer a larger model only learns them by heart.
        dim, heads, depth, fusion_layers: of the model.
        side, patch, frames, tubelet: of pictures and clips.
        mels: of sound.
    """

    samples: int
    dim: int
    heads: int
    depth: int
    fusion_layers: int
    side: int
    patch: int
    frames: int
    tubelet: int
    mels: int

    def model(self) -> dict[str, Any]:
        """Fields of `model:`."""
        return {
            "dim": self.dim, "heads": self.heads, "depth": self.depth, "fusion_layers": self.fusion_layers,
            "mlp_ratio": 2.0 if self.dim < 192 else 4.0,
        }  # fmt: skip

    def modality(self, kind: str) -> dict[str, Any]:
        """Fields of a modality of a kind."""
        pictures = {"size": self.side, "patch": self.patch}
        sized = {"image": pictures, "video": {**pictures, "frames": self.frames, "tubelet": self.tubelet}}
        return {**sized, "audio": {"mels": self.mels, "standardise": True}}.get(kind, {})


SIZES = (
    Size(samples=0, dim=64, heads=4, depth=3, fusion_layers=2, side=32, patch=8, frames=8, tubelet=2, mels=32),
    Size(samples=150, dim=96, heads=4, depth=4, fusion_layers=2, side=64, patch=16, frames=8, tubelet=2, mels=64),
    Size(samples=1000, dim=192, heads=6, depth=6, fusion_layers=3, side=96, patch=16, frames=8, tubelet=2, mels=64),
    Size(samples=5000, dim=192, heads=6, depth=12, fusion_layers=4, side=128, patch=16, frames=16, tubelet=2, mels=128),
    Size(
        samples=20000, dim=384, heads=6, depth=12, fusion_layers=4, side=224, patch=16, frames=16, tubelet=2, mels=128
    ),
)
"""From the smallest to the largest."""


def sizes_for(samples: int) -> tuple[Size, ...]:
    """The sizes that so many training samples can teach, the largest first."""
    return tuple(size for size in reversed(SIZES) if samples >= size.samples)


def epochs_for(samples: int) -> int:
    """Passes over the data, so that few samples have steps enough."""
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(STEPS * BATCH / samples)))


def training_seconds(recipe: Recipe, labels: list[str], counts: Mapping[str, int], pace: float, runs: Runs) -> float:
    """About how long it takes to train a recipe, and each of its modalities alone.

    In training the fused model is looked at with each modality by itself too (`train.unimodal_loss`): twice the FLOPs.

    Args:
        recipe: of the fused model, or of the only modality.
        labels: the classes.
        counts: split -> samples.
        pace: FLOPs a second, as `speed` says.
        runs: how often each is trained.
    """
    config, epochs = recipe.fusion_config(labels), STOPPED * recipe.train.epochs
    own = (flops(config, backward=True).total * counts["train"] + flops(config).total * counts["val"]) / pace
    parts = len(config.modalities)
    if parts == 1:
        return runs.seeds * (epochs * (own + EPOCH) + RUN)
    alone = runs.seeds * (epochs * (own + parts * EPOCH) + parts * RUN)
    return alone + runs.fused * (epochs * (2 * own + EPOCH) + RUN)


def speed(recipe: Recipe, labels: list[str]) -> float:
    """FLOPs a second of training on this machine: a few steps of the recipe's model on made-up input, timed."""
    device = device_of(recipe)
    config = recipe.fusion_config(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FusionModel(config).to(device).train()
        inputs = {name: part.to(device) for name, part in model.example_inputs(BATCH).items()}
    spent = []
    for _ in range(1 + TIMED):
        start = time.perf_counter()
        model(inputs).float().square().mean().backward()
        model.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return float(flops(config, batch=BATCH, backward=True).total / sorted(spent[1:])[TIMED // 2])


def reading_seconds(recipe: Recipe, labels: list[str], samples: int) -> float:
    """About how long it takes to read every sample once, by as many processes as there are cores: of two in the middle
    of the training split the faster one."""
    dataset = ManifestDataset(replace(recipe.data, cache=False), recipe.data.train_split, labels)
    spent = []
    for place in (len(dataset) // 2, (len(dataset) - 1) // 2):  # the first one loads the decoder too
        start = time.perf_counter()
        dataset[place]
        spent.append(time.perf_counter() - start)
    return min(spent) * samples / (os.cpu_count() or 1)


def described(size: Size, modalities: Mapping[str, Any]) -> str:
    """`width 64, 3 layers; video 32 x 32, 8 frames`."""
    parts = [f"width {size.dim}, {size.depth} layers"]
    for name, source in modalities.items():
        if source.holds == "pixels":
            frames = f", {source.frames} frames" if source.kind == "video" else ""
            parts.append(f"{name} {source.size} x {source.size}{frames}")
        elif source.holds == "spectrogram":
            parts.append(f"{name} {source.seconds:g} s, {source.mels} mel bands")
    return "; ".join(parts)
