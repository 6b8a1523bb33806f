"""Reading media: each file is opened by the decoder that it needs, and read for its pictures or its sound."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from locomt.data.media import torchcodec
from locomt.data.media.box import Box
from locomt.data.media.container import check_file, opened
from locomt.data.media.crop import Crop
from locomt.data.media.frames import crops_of
from locomt.data.media.picture import is_picture, opened_picture
from locomt.data.media.pyav import MediaFile
from locomt.data.media.recording import OpenFile

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor


class MediaFiles(ExitStack):
    """The media files that a sample is read from, each opened once and closed at the end of the `with` block.

    Args:
        decoder: one of `locomt.data.config.DECODERS`.

    Raises:
        ConfigError: it cannot be had here.
    """

    def __init__(self, decoder: str = "pyav") -> None:
        super().__init__()
        self._make = file_class(decoder)
        self._files: dict[Path, OpenFile] = {}

    def open(self, path: Path) -> OpenFile:
        """The file, open.

        Raises:
            MediaError: it is missing, empty or no media file.
        """
        if path not in self._files:
            check_file(path)
            if is_picture(path):
                self._files[path] = self.enter_context(opened_picture(path))
            else:
                self._files[path] = self._make(path, self.enter_context(opened(path)))
        return self._files[path]


def file_class(decoder: str) -> type[MediaFile]:
    """What a decoder's files are.

    Raises:
        ConfigError: it cannot be had here.
    """
    if decoder == "pyav":
        return MediaFile
    torchcodec.load_torchcodec()
    return {"torchcodec": torchcodec.TorchcodecFile, "torchcodec-cuda": torchcodec.TorchcodecCudaFile}[decoder]


def read_frames(
    path: str | Path,
    count: int,
    *,
    size: int | None = None,
    crop: Crop | None = None,
    stream: int | None = None,
    box: Box | None = None,
) -> UInt8[Tensor, "frames 3 height width"]:
    """Read `count` frames spread evenly over a clip, as RGB and upright.

    The packets are read first, which is cheap and tells the times of all frames whatever the header says; then those
    from the last key frame before each wanted frame up to it are decoded.

    Args:
        path: the clip.
        count: how many frames: those that are shown at the middle of each of `count` equal parts of the clip's
            duration. In a clip of fewer frames some come several times.
        size: the square in the middle scaled to this height and width (bilinear, antialiased); None leaves the
            frames as they are.
        crop: take them from this part of the clip alone.
        stream: which of its video streams, counted from 0; None is the main one, see `locomt.data.VideoSource`.
        box: this part of the upright frames alone, see `locomt.data.VideoSource`; `size` is then of the square in the
            middle of it.

    Raises:
        NoStreamError: there is no video stream, or not that one.
        MediaError: the file is missing, empty, truncated or no media file.
    """
    with MediaFiles() as files:
        return crops_of(files.open(Path(path)), count, (crop,), size=size, stream=stream, box=box)[0]


def read_audio(path: str | Path, rate: int) -> Float[Tensor, " samples"]:
    """Read a recording, or the sound of a clip: the mean of its channels, at `rate` samples a second.

    Full scale is [-1, 1]; filters may overshoot it by a little. The first sample is the first after those that the file
    says to skip, and silence stands where the times of its packets leave a hole.

    Raises:
        NoStreamError: there is no audio stream.
        MediaError: the file is missing, empty, truncated or no media file, its samples are not finite, they are of
            more than `LONGEST` hours, or more of it is missing than heard.
    """
    with MediaFiles() as files:
        return files.open(Path(path)).read_audio(rate).samples
