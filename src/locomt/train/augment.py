"""Augmentation of whole batches, on the device they are on, between the loader and the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from locomt.data.batch import Batch, within_samples
from locomt.data.config import DataConfig
from locomt.nn.config import ConfigError
from locomt.nn.fields import check_types
from locomt.train.transforms import drop_modalities, jitter_frames, mask_spectrograms, mix


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """The field `augment` of a recipe's section `train`; everything is off by default.

    Attributes:
        mixup: alpha of the Beta(alpha, alpha) distribution of the mixing coefficient (Zhang et al., "mixup", ICLR
            2018); 0 turns it off. One coefficient and one pairing serve all modalities of a batch.
        time_masks: masks along time in every spectrogram (Park et al., "SpecAugment", Interspeech 2019).
        time_mask: most frames to a mask, which is never longer than half of the real frames.
        frequency_masks: masks along frequency.
        frequency_mask: most bands to a mask.
        color: strength of the colour jitter, in [0, 1]: brightness, contrast and saturation of a clip are each
            multiplied by a number in [1 - color, 1 + color].
        color_probability: how many of the clips have it.
        gray: probability that a clip loses its colours.
        scale: strength of the scale jitter, in [0, 1): a square somewhere in the frames, whose side is a share in
            [1 - scale, 1] of theirs, is scaled up to their size.
        flip: probability that a clip is mirrored, left for right.
        drop_modality: probability that a sample loses a modality that it has; one always stays.
    """

    mixup: float = 0.0
    time_masks: int = 0
    time_mask: int = 48
    frequency_masks: int = 0
    frequency_mask: int = 48
    color: float = 0.0
    color_probability: float = 0.8
    gray: float = 0.0
    scale: float = 0.0
    flip: float = 0.0
    drop_modality: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("mixup", "time_masks", "frequency_masks"):
            _require(0 <= getattr(self, name) < float("inf"), f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("time_mask", "frequency_mask"):
            _require(getattr(self, name) >= 1, f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("color", "color_probability", "gray", "flip"):
            _require(0 <= getattr(self, name) <= 1, f"{name}: expected [0, 1], got {getattr(self, name)}")
        for name in ("scale", "drop_modality"):
            _require(0 <= getattr(self, name) < 1, f"{name}: expected [0, 1), got {getattr(self, name)}")

    @property
    def does_nothing(self) -> bool:
        """No batch is changed."""
        switches = ("mixup", "time_masks", "frequency_masks", "color", "gray", "scale", "flip", "drop_modality")
        return not any(getattr(self, name) for name in switches)


class Augment:
    """Changes training batches as its configuration says.

    Every number is drawn on the CPU from the seed and the key that comes with a batch, whatever was drawn before and
    whatever the device: the same key gives the same batch, in a resumed run too.

    Args:
        config: what to do.
        data: the kinds of the modalities, the task, and which modalities carry a label a step.
        classes: how many labels there are.
        seed: of the run.

    Raises:
        ConfigError: `config` and `data` contradict each other.
    """

    def __init__(self, config: AugmentConfig, data: DataConfig, classes: int, seed: int) -> None:
        check_augment(config, data)
        self.config, self.data, self.classes, self.seed = config, data, classes, seed

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
        inputs = dict(batch.inputs)
        with torch.autocast(next(iter(inputs.values())).device.type, enabled=False):
            for name, tensor in inputs.items():
                kind = self.data.modalities[name].kind
                if kind == "video":
                    inputs[name] = jitter_frames(tensor, config, rng)
                elif kind == "audio":
                    inputs[name] = mask_spectrograms(tensor, batch.lengths[name], config, rng)
            batch = replace(batch, inputs=inputs)
            if config.mixup:
                share, partner = float(rng.beta(config.mixup, config.mixup)), rng.permutation(len(batch.ids))
                batch = replace(batch, labels=self.data.target.mixable(batch.labels, self.classes))
                batch = mix(batch, share, torch.from_numpy(partner))
        if config.drop_modality:
            needed = self.data.steps or tuple(self.data.pace) or tuple(self.data.modalities)
            batch = replace(batch, lengths=drop_modalities(batch.lengths, needed, config.drop_modality, rng))
            if self.data.time_steps:  # what is left may end earlier
                batch = replace(batch, labels=within_samples(batch.labels, batch.lengths, self.data))
        return batch


def check_augment(config: AugmentConfig, data: DataConfig) -> None:
    """Refuse what cannot be mixed.

    Raises:
        ConfigError: mixup with text, whose ids have no mean, or with labels that belong to steps.
    """
    if not config.mixup:
        return
    for name, source in data.modalities.items():
        _require(
            source.kind != "text",
            f"train.augment.mixup: modality {name!r} is text, and a mean of token ids is no text; set mixup to 0",
        )
    refusal = data.target.refuses_mixing
    _require(not refusal, f"train.augment.mixup: {refusal}; set mixup to 0")
