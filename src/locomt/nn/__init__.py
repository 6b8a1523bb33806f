"""Modules that follow a view table, and the whole fusion model. Needs torch alone."""

from locomt.nn.attention import ViewAttention
from locomt.nn.config import Architecture, AudioSpec, FeatureSpec, FusionConfig, TextSpec, VideoSpec
from locomt.nn.model import FusionModel

__all__ = [
    "Architecture",
    "AudioSpec",
    "FeatureSpec",
    "FusionConfig",
    "FusionModel",
    "TextSpec",
    "VideoSpec",
    "ViewAttention",
]
