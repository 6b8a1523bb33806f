"""From files to batches: manifests, decoding of media, spectrograms, text, features, padding."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.data.batch import IGNORED, BadSample, Batch, Sample, average_clips, collate
    from locomt.data.config import DataConfig
    from locomt.data.dataset import FileDataset, ManifestDataset
    from locomt.data.errors import DataError, FeatureError, ManifestError, MediaError, NoStreamError, SilentError
    from locomt.data.features import read_features
    from locomt.data.labels import label_list
    from locomt.data.manifest import Row, read_manifest
    from locomt.data.media.frames import read_frames
    from locomt.data.media.info import MediaInfo, probe
    from locomt.data.media.sound import read_audio
    from locomt.data.media.spectrogram import kaldi_filter_bank, log_mel, mel_filters
    from locomt.data.sources import AudioSource, FeatureSource, Source, TextSource, VideoSource

# Imported when first asked for: a recipe is read without PyAV.
_HOMES = {
    "media.sound": ("read_audio",),
    "batch": ("IGNORED", "BadSample", "Batch", "Sample", "average_clips", "collate"),
    "config": ("DataConfig",),
    "dataset": ("FileDataset", "ManifestDataset"),
    "errors": ("DataError", "FeatureError", "ManifestError", "MediaError", "NoStreamError", "SilentError"),
    "features": ("read_features",),
    "labels": ("label_list",),
    "manifest": ("Row", "read_manifest"),
    "media.info": ("MediaInfo", "probe"),
    "sources": ("AudioSource", "FeatureSource", "Source", "TextSource", "VideoSource"),
    "media.spectrogram": ("kaldi_filter_bank", "log_mel", "mel_filters"),
    "media.frames": ("read_frames",),
}

__all__ = [  # noqa: RUF022  in the order of the table above
    "read_audio",
    "IGNORED",
    "BadSample",
    "Batch",
    "Sample",
    "average_clips",
    "collate",
    "DataConfig",
    "FileDataset",
    "ManifestDataset",
    "DataError",
    "FeatureError",
    "ManifestError",
    "MediaError",
    "NoStreamError",
    "SilentError",
    "read_features",
    "label_list",
    "Row",
    "read_manifest",
    "MediaInfo",
    "probe",
    "AudioSource",
    "FeatureSource",
    "Source",
    "TextSource",
    "VideoSource",
    "kaldi_filter_bank",
    "log_mel",
    "mel_filters",
    "read_frames",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"locomt.data.{module}"), name)
    raise AttributeError(f"module 'locomt.data' has no attribute {name!r}")
