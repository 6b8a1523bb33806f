"""Modules that follow a view table, and the whole fusion model. Needs torch alone."""

from locomt.nn.attention import ViewAttention
from locomt.nn.config import Architecture, FusionConfig
from locomt.nn.modalities import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.model import FusionModel

__all__ = [
    "Architecture",
    "AudioSpec",
    "FeatureSpec",
    "FusionConfig",
    "FusionModel",
    "ImageSpec",
    "TextSpec",
    "VideoSpec",
    "ViewAttention",
]
