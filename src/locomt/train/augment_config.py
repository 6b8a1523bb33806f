"""The field `augment` of a recipe's section `train`: what is done to training batches, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from locomt.data.config import DataConfig
from locomt.nn.fields import check_types
from locomt.require import require

SOUND = ("noise", "gain", "shift", "speed")
"""The fields that change sound where it is read."""
WHITE, CLIPS = "white", "clips"
MOST_DB, MOST_SHIFT = 100, 3600


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
        crop_area: least share of the frames' area that a random resized crop takes (Szegedy et al., "Going deeper with
            convolutions", CVPR 2015: 0.08), in (0, 1]; 1 turns it off. See `locomt.train.transforms.crop_sizes`.
        flip: probability that a clip is mirrored, left for right.
        drop_modality: probability that a sample loses a modality that it has; one always stays.
        noise: mixed into the sound of the training clips before its spectrogram: `white`; `clips`, the sum of other
            clips of the training split, as babble is; or a folder of sound files.
        noise_db: from how few to how many decibels the sound is above it (signal-to-noise ratio).
        noise_probability: how many of the sounds have it.
        gain: most decibels by which a sound becomes louder or softer.
        shift: most seconds by which the sound of a sample is moved against its pictures, silence taking its place.
        speed: strength of the change of speed of sounds, in [0, 1): played 1 - speed to 1 + speed times as fast.
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
    crop_area: float = 1.0
    flip: float = 0.0
    drop_modality: float = 0.0
    noise: str = ""
    noise_db: tuple[float, ...] = (0.0, 20.0)
    noise_probability: float = 1.0
    gain: float = 0.0
    shift: float = 0.0
    speed: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "noise_db", tuple(self.noise_db))
        require(
            len(self.noise_db) == 2 and -MOST_DB <= self.noise_db[0] <= self.noise_db[1] <= MOST_DB,
            f"noise_db: expected two numbers of decibels, the lower first, such as [0, 20], got {list(self.noise_db)}",
        )
        require(0 <= self.gain <= MOST_DB, f"gain: expected decibels from 0 to {MOST_DB}, got {self.gain}")
        require(0 <= self.shift <= MOST_SHIFT, f"shift: expected seconds from 0 to {MOST_SHIFT}, got {self.shift}")
        for name in ("mixup", "time_masks", "frequency_masks"):
            require(0 <= getattr(self, name) < float("inf"), f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("time_mask", "frequency_mask"):
            require(getattr(self, name) >= 1, f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("color", "color_probability", "gray", "flip", "noise_probability"):
            require(0 <= getattr(self, name) <= 1, f"{name}: expected [0, 1], got {getattr(self, name)}")
        for name in ("scale", "drop_modality", "speed"):
            require(0 <= getattr(self, name) < 1, f"{name}: expected [0, 1), got {getattr(self, name)}")
        require(0 < self.crop_area <= 1, f"crop_area: expected above 0, at most 1, got {self.crop_area}")
        require(self.crop_area == 1 or not self.scale, "crop_area: scale crops the frames too; leave one of them out")

    @property
    def does_nothing(self) -> bool:
        """No batch is changed; sounds may be."""
        switches = ("mixup", "time_masks", "frequency_masks", "color", "gray", "scale", "flip", "drop_modality")
        return self.crop_area == 1 and not any(getattr(self, name) for name in switches)

    @property
    def changes_sound(self) -> bool:
        """Sounds are changed where they are read, before their spectrogram."""
        return any(getattr(self, name) for name in SOUND)

    @property
    def noise_folder(self) -> str:
        """The folder of sound files, where there is one."""
        return "" if self.noise in (WHITE, CLIPS) else self.noise

    def without_sound(self) -> AugmentConfig:
        """The same for data without sound."""
        return replace(self, noise="", gain=0.0, shift=0.0, speed=0.0)


def check_augment(config: AugmentConfig, data: DataConfig) -> None:
    """Refuse what cannot be done to the data.

    Raises:
        ConfigError: mixup with text, whose ids have no mean, or with labels that belong to steps; noise and the like
            without sound; another speed with events in time.
    """
    if config.changes_sound:
        first = next(name for name in SOUND if getattr(config, name))
        holds = [source.kind for source in data.modalities.values()]
        require(
            any(source.holds == "spectrogram" for source in data.modalities.values()),
            f"train.augment.{first}: expected a modality of kind audio, got {', '.join(holds)}; leave it out",
        )
    require(
        not (config.speed and data.time_steps),
        f"train.augment.speed: the events of a {data.task} task keep their times; leave it out",
    )
    if not config.mixup:
        return
    for name, source in data.modalities.items():
        require(
            source.holds != "ids",
            f"train.augment.mixup: modality {name!r} is text, and a mean of token ids is no text; set mixup to 0",
        )
    refusal = data.target.refuses_mixing
    require(not refusal, f"train.augment.mixup: {refusal}; set mixup to 0")
