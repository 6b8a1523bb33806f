"""From files to batches: manifests, decoding of media, spectrograms, text, features, padding."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.data.batch import IGNORED, BadSample, Batch, Sample, average_clips, collate
    from locomt.data.config import DataConfig
    from locomt.data.dataset import FileDataset, ManifestDataset
    from locomt.data.errors import DataError, FeatureError, ManifestError, MediaError, NoStreamError, SilentError
    from locomt.data.feature_files import read_features
    from locomt.data.kinds import AudioSource, FeatureSource, ImageSource, Source, TextSource, VideoSource
    from locomt.data.labels import label_list
    from locomt.data.manifest import read_manifest
    from locomt.data.media.info import MediaInfo, probe
    from locomt.data.media.read import read_audio, read_frames
    from locomt.data.media.spectrogram import kaldi_filter_bank, log_mel, mel_filters
    from locomt.data.row import Row

# Imported when first asked for: a recipe is read without PyAV.
_HOMES = {
    "batch": ("IGNORED", "BadSample", "Batch", "Sample", "average_clips", "collate"),
    "config": ("DataConfig",),
    "dataset": ("FileDataset", "ManifestDataset"),
    "errors": ("DataError", "FeatureError", "ManifestError", "MediaError", "NoStreamError", "SilentError"),
    "feature_files": ("read_features",),
    "kinds": ("AudioSource", "FeatureSource", "ImageSource", "Source", "TextSource", "VideoSource"),
    "labels": ("label_list",),
    "manifest": ("read_manifest",),
    "media.info": ("MediaInfo", "probe"),
    "media.read": ("read_audio", "read_frames"),
    "media.spectrogram": ("kaldi_filter_bank", "log_mel", "mel_filters"),
    "row": ("Row",),
}

__all__ = [  # noqa: RUF022  in the order of the table above
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
    "AudioSource",
    "FeatureSource",
    "ImageSource",
    "Source",
    "TextSource",
    "VideoSource",
    "label_list",
    "read_manifest",
    "MediaInfo",
    "probe",
    "read_audio",
    "read_frames",
    "kaldi_filter_bank",
    "log_mel",
    "mel_filters",
    "Row",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"locomt.data.{module}"), name)
    raise AttributeError(f"module 'locomt.data' has no attribute {name!r}")
