"""The kinds of modality: a file each, with what goes in, how it becomes tokens, and which checkpoints fit.

A new kind is a subclass of `ModalitySpec` in a file of its own, and its line in `MODALITIES`.
"""

from locomt.nn.modalities.audio import AudioSpec
from locomt.nn.modalities.base import ModalitySpec
from locomt.nn.modalities.features import FeatureSpec
from locomt.nn.modalities.image import ImageSpec
from locomt.nn.modalities.text import TextSpec
from locomt.nn.modalities.video import VideoSpec

__all__ = ["MODALITIES", "AudioSpec", "FeatureSpec", "ImageSpec", "ModalitySpec", "TextSpec", "VideoSpec"]

MODALITIES: dict[str, type[ModalitySpec]] = {
    spec.kind: spec for spec in (VideoSpec, ImageSpec, AudioSpec, FeatureSpec, TextSpec)
}
"""Kind -> its class, in the order in which messages list them."""
