"""Augmentation of whole batches, on the device they are on, between the loader and the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch

from locomt.data.batch import Batch, within_samples
from locomt.data.config import DataConfig
from locomt.nn.standard import Standard
from locomt.train.augment_config import AugmentConfig, check_augment
from locomt.train.transforms import drop_modalities, jitter_frames, mask_spectrograms, mix


class Augment:
    """Changes training batches as its configuration says.

    Every number is drawn on the CPU from the seed and the key that comes with a batch, whatever was drawn before and
    whatever the device: the same key gives the same batch, in a resumed run too.

    Args:
        config: what to do.
        data: the kinds of the modalities, the task, and which modalities carry a label a step.
        classes: how many labels there are.
        seed: of the run.
        standards: of the modalities that the model standardises: what stands for nothing in them is their mean.

    Raises:
        ConfigError: `config` and `data` contradict each other.
    """

    def __init__(
        self,
        config: AugmentConfig,
        data: DataConfig,
        classes: int,
        seed: int,
        standards: Mapping[str, Standard] = MappingProxyType({}),
    ) -> None:
        check_augment(config, data)
        self.config, self.data, self.classes, self.seed = config, data, classes, seed
        self.standards = standards

    @torch.no_grad()
    def __call__(self, batch: Batch, *key: int) -> Batch:
        """The batch, augmented: inputs keep their shapes, dtypes and device.

        Labels that are classes become probabilities `[B, classes]` where there is mixup.

        Args:
            batch: from `locomt.data.collate`, on any device; it is left as it is.
            key: whole numbers that no other batch of the run has: epoch and place in it, say.
        """
        config = self.config
        if config.does_nothing or not batch.ids:
            return batch
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        inputs, nothing = dict(batch.inputs), {name: standard.mean for name, standard in self.standards.items()}
        with torch.autocast(next(iter(inputs.values())).device.type, enabled=False):
            for name, tensor in inputs.items():
                holds = self.data.modalities[name].holds
                if holds == "pixels":
                    inputs[name] = jitter_frames(tensor, config, rng)
                elif holds == "spectrogram":
                    inputs[name] = mask_spectrograms(tensor, batch.lengths[name], config, rng, nothing.get(name, 0.0))
            batch = replace(batch, inputs=inputs)
            if config.mixup:
                share, partner = float(rng.beta(config.mixup, config.mixup)), rng.permutation(len(batch.ids))
                batch = replace(batch, labels=self.data.target.mixable(batch.labels, self.classes))
                batch = mix(batch, share, torch.from_numpy(partner), nothing)
        if config.drop_modality:
            needed = self.data.steps or tuple(self.data.pace) or tuple(self.data.modalities)
            batch = replace(batch, lengths=drop_modalities(batch.lengths, needed, config.drop_modality, rng))
            if self.data.time_steps:  # what is left may end earlier
                batch = replace(batch, labels=within_samples(batch.labels, batch.lengths, self.data))
        return batch
