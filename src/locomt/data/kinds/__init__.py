"""The kinds of modalities, a file each: how a cell is read, what shards store of it, how it is guessed from files."""

from locomt.data.kinds.audio import AudioSource
from locomt.data.kinds.features import FeatureSource
from locomt.data.kinds.image import ImageSource
from locomt.data.kinds.source import Source
from locomt.data.kinds.text import TextSource
from locomt.data.kinds.video import VideoSource

__all__ = ["KINDS", "AudioSource", "FeatureSource", "ImageSource", "Source", "TextSource", "VideoSource"]

KINDS: dict[str, type[Source]] = {
    source.kind: source for source in (VideoSource, ImageSource, AudioSource, FeatureSource, TextSource)
}
