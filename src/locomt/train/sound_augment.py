"""Augmentation of sound, before its spectrogram: where clips are read, anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from locomt.data import BadSample, ManifestDataset, Sample
from locomt.train.augment_config import AugmentConfig
from locomt.train.loading import AroundSampler
from locomt.train.noise import noise_of

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

STREAM = 1
"""Set beside the seed, so that what is drawn here is not what `locomt.train.augment` draws for a batch."""

Numbered = tuple[Any, int, int]
"""An index of a dataset, the epoch, and the place in its order."""


class NumberedSampler(AroundSampler):
    """Adds the epoch and the place in its order to each index: what its random numbers are drawn from."""

    def __iter__(self) -> Iterator[Numbered]:
        return ((index, self.epoch, place) for place, index in enumerate(self.sampler))


class ChangedSound(Dataset[Sample | BadSample]):
    """The training samples with their sound changed: its speed, its place in time, noise, its level, in this order.

    What is drawn depends on the seed, the epoch and the place in its order alone, whichever process draws it; so a
    sample that comes twice in an epoch is changed twice.

    Args:
        dataset: of the training split.
        config: what to do.
        seed: of the run.

    Raises:
        ConfigError: the noise is a folder without sound.
    """

    def __init__(self, dataset: ManifestDataset, config: AugmentConfig, seed: int) -> None:
        self.dataset, self.config, self.seed = dataset, config, seed
        self.noise = noise_of(config.noise, dataset) if config.noise else None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, numbered: Numbered) -> Sample | BadSample:
        index, *key = numbered
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, STREAM), spawn_key=key))
        row = index[0] if isinstance(index, tuple) else index
        return self.dataset.changed(index, partial(self._change, row, rng))

    def _change(self, row: int, rng: np.random.Generator, name: str, samples: Tensor) -> Tensor:
        config = self.config
        if config.speed:
            samples = played_at(samples, 1 + config.speed * (2 * rng.random() - 1))
        if config.shift:
            seconds = config.shift * (2 * rng.random() - 1)
            samples = shifted(samples, round(seconds * self.dataset.config.modalities[name].rate))
        if self.noise is not None and rng.random() < config.noise_probability:
            lowest, highest = config.noise_db
            level = lowest + (highest - lowest) * rng.random()
            samples = mixed(samples, self.noise.draw(row, name, len(samples), rng), level)
        if config.gain:
            samples = samples * 10 ** (config.gain * (2 * rng.random() - 1) / 20)
        return samples


def mixed(
    samples: Float[Tensor, " samples"], noise: Float[Tensor, " samples"], decibels: float
) -> Float[Tensor, " samples"]:
    """Sound with noise so many decibels below it, by their powers from its first to its last sample that is not 0.

    What is 0 before and after, as where a crop reaches beyond the sound, has no share in its power. Where either is
    silent there is no such ratio, and the sound stays as it is.
    """
    heard = samples.nonzero()
    if not len(heard):
        return samples
    real = slice(int(heard[0]), int(heard[-1]) + 1)
    power, other = (float(part[real].double().square().mean()) for part in (samples, noise))
    return samples + noise * (power / other / 10 ** (decibels / 10)) ** 0.5 if other > 0 else samples


def shifted(samples: Float[Tensor, " samples"], by: int) -> Float[Tensor, " samples"]:
    """Sound so many samples later, or earlier where that is negative, with silence where nothing is left of it."""
    moved = torch.zeros_like(samples)
    if abs(by) < len(samples):
        moved[max(0, by) : len(samples) + min(0, by)] = samples[max(0, -by) : len(samples) - max(0, by)]
    return moved


def played_at(samples: Float[Tensor, " samples"], speed: float) -> Float[Tensor, " shorter"]:
    """Sound so many times faster, and higher: the frequencies of it that still are below half the rate."""
    count = max(1, round(len(samples) / speed))
    spectrum = torch.fft.rfft(samples)[: count // 2 + 1]
    played: Tensor = torch.fft.irfft(spectrum, n=count)
    return played * (count / len(samples))
