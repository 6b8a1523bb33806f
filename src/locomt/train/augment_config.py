"""The field `augment` of a recipe's section `train`: what is done to training batches, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from locomt.data.config import DataConfig
from locomt.nn.fields import check_types
from locomt.require import require


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
            require(0 <= getattr(self, name) < float("inf"), f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("time_mask", "frequency_mask"):
            require(getattr(self, name) >= 1, f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("color", "color_probability", "gray", "flip"):
            require(0 <= getattr(self, name) <= 1, f"{name}: expected [0, 1], got {getattr(self, name)}")
        for name in ("scale", "drop_modality"):
            require(0 <= getattr(self, name) < 1, f"{name}: expected [0, 1), got {getattr(self, name)}")

    @property
    def does_nothing(self) -> bool:
        """No batch is changed."""
        switches = ("mixup", "time_masks", "frequency_masks", "color", "gray", "scale", "flip", "drop_modality")
        return not any(getattr(self, name) for name in switches)


def check_augment(config: AugmentConfig, data: DataConfig) -> None:
    """Refuse what cannot be mixed.

    Raises:
        ConfigError: mixup with text, whose ids have no mean, or with labels that belong to steps.
    """
    if not config.mixup:
        return
    for name, source in data.modalities.items():
        require(
            source.holds != "ids",
            f"train.augment.mixup: modality {name!r} is text, and a mean of token ids is no text; set mixup to 0",
        )
    refusal = data.target.refuses_mixing
    require(not refusal, f"train.augment.mixup: {refusal}; set mixup to 0")
