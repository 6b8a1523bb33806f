"""A learning rate by a short range test."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from locomt.data import ManifestDataset, collate
from locomt.nn.model import FusionModel
from locomt.progress import each
from locomt.train.optim import make_optimizer
from locomt.train.recipe import Recipe
from locomt.train.runs import device_of
from locomt.train.standards import fill_standards

RATES = 24
LOWEST, HIGHEST = 1e-5, 1e-1
USUAL = (3e-4, 3e-3)
"""What a rate found by few steps is kept within."""


def find_rate(recipe: Recipe, labels: list[str]) -> float:
    """A learning rate by a range test (Smith, "Cyclical Learning Rates", WACV 2017, section 3.3): the rate rises from
    step to step, and a tenth is taken of that at which the loss, smoothed, was least.

    Draws from generators of its own; the same recipe has the same rate.
    """
    device, data = device_of(recipe), recipe.data
    dataset = ManifestDataset(data, data.train_split, labels)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.train.seed)
        model = FusionModel(recipe.fusion_config(labels))
        fill_standards(model, dataset)
        model.to(device).train()
        optimizer = make_optimizer(model, replace(recipe.train, learning_rate=LOWEST))
        least, best, smooth = math.inf, LOWEST, None
        for step in each("trying learning rates", "steps", range(RATES)):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (RATES - 1))
            for group in optimizer.param_groups:
                group["lr"] = rate
            places = torch.randint(len(dataset), (recipe.train.batch_size,)).tolist()
            batch = collate([dataset[place] for place in places], config=data).to(device)
            if not batch.ids:
                continue
            loss = data.target.loss(model(batch.inputs, batch.lengths).float(), batch.labels)
            value = loss.item()
            smooth = value if smooth is None else 0.7 * smooth + 0.3 * value
            if not math.isfinite(value) or smooth > 4 * least:
                break
            if smooth < least:
                least, best = smooth, rate
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return float(f"{min(USUAL[1], max(USUAL[0], best / 10)):.1e}")
