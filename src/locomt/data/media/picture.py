"""Pictures, still or animated: clips without sound that Pillow decodes, whatever the decoder of other media is."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from locomt.data.errors import DataError, MediaError
from locomt.data.media.box import Box
from locomt.data.media.container import DAMAGED, check_pixels, no_stream
from locomt.data.media.crop import Crop
from locomt.data.media.frame_times import FrameTimes
from locomt.data.media.frames import crops_of, fitted, fitted_array
from locomt.data.media.recording import Frames, Kept, Sound

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor


logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs of damaged files, it raises as well

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
ANIMATED = ("PNG", "WEBP", "GIF")
"""Of these all frames are shown one after the other; of the others the first picture is what one sees."""
SHORTEST, USUAL = 20, 100
"""Milliseconds: a shorter delay of an animation is none, and every browser shows the frame for the usual one."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The orientation in EXIF -> what turns the picture upright. Pillow's own function writes the EXIF anew besides, which
fails where any of it is odd."""


def is_picture(path: Path) -> bool:
    """Whether a file begins as a picture does, whatever it is called.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(12)
    if begin[:4] == b"RIFF":
        return begin[8:] == b"WEBP"
    magic = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    return begin.startswith(magic)


@contextmanager
def opened_picture(path: Path, *, arrays: bool = False) -> Iterator[PictureFile]:
    """A picture, open; `arrays` as for `MediaFile`.

    Raises:
        MediaError: it is none of `FORMATS`.
    """
    with path.open("rb") as file:
        with _naming(path):
            image = Image.open(file, formats=FORMATS)
        with image:
            yield PictureFile(path, image, arrays=arrays)


class PictureFile:
    """A picture; an `OpenFile`, valid while it is open.

    Args:
        path: the file, for the errors.
        image: of Pillow.
        arrays: as for `MediaFile`.

    Attributes:
        total: frames.
    """

    def __init__(self, path: Path, image: Any, *, arrays: bool = False) -> None:
        self.path, self.image, self.arrays = path, image, arrays
        with _naming(path):
            frames = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
            # A still picture that stands before an animated PNG is for programs that show no animations.
            self._first = int(frames > 1 and getattr(image, "default_image", False))
            self.total = frames - self._first

    def __str__(self) -> str:
        return str(self.path)

    @property
    def span(self) -> tuple[float, float]:
        check_pixels(self.path, *self.image.size)
        return self._times.span if self._times else (0.0, 0.0)

    def sound_span(self, rate: int, stream: int | None = None) -> tuple[float, float]:
        raise no_stream(self.path, "audio", stream, 0)

    def read_audio(self, rate: int, stream: int | None = None) -> Sound:
        raise no_stream(self.path, "audio", stream, 0)

    def read_crops(
        self,
        count: int,
        crops: Sequence[Crop | None],
        *,
        size: int | None,
        stream: int | None = None,
        box: Box | None = None,
    ) -> list[UInt8[Tensor, "frames 3 height width"]]:
        return crops_of(self, count, crops, size=size, stream=stream, box=box)

    def map_frames(
        self,
        choose: Callable[[int, FrameTimes | None], Collection[int]],
        take: Callable[[UInt8[Tensor, "3 height width"]], Kept],
        *,
        size: int | None,
        stream: int | None = None,
        box: Box | None = None,
    ) -> Frames[Kept]:
        if stream:
            raise no_stream(self.path, "video", stream, 1)
        check_pixels(self.path, *self.image.size)
        frames = {}
        for place in sorted(set(choose(self.total, self._times))):
            with _naming(self.path):
                self.image.seek(self._first + place)
                image = _rgb(self.path, self.image)
            pixels: Any = (fitted_array if self.arrays else fitted)(image, size, box=box)
            frames[place] = take(pixels)
        return Frames(self.total, self._times, frames)

    @cached_property
    def _times(self) -> FrameTimes | None:
        """Of an animation, whose delays are known once all of it is decoded."""
        if self.total == 1:
            return None
        delays = []
        with _naming(self.path):
            for place in range(self.total):
                self.image.seek(self._first + place)
                self.image.load()
                delay = float(self.image.info.get("duration", 0))
                delays.append(delay if delay >= SHORTEST else USUAL)
        *begins, end = accumulate((delay / 1000 for delay in delays), initial=0.0)
        return FrameTimes(begins, end, 0.001)


def _rgb(path: Path, image: Any) -> np.ndarray[Any, Any]:
    """`[height, width, 3]` of bytes, upright; what is transparent on white."""
    if image.format == "TIFF" and image.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & 1:
        raise MediaError(path, "expected a picture, got one whose first page is a preview, as in raw files of cameras")
    image.load()
    turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow would cut off all above 255
    if image.mode in ("I", "F"):
        raise MediaError(path, f"expected pixels of 8 or 16 bits, got 32 bits (mode {image.mode})")
    if "transparency" in image.info or image.mode.lower().endswith("a"):
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer)
    return np.array(image.convert("RGB"))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever Pillow objects to within becomes a `MediaError` of this file, and its warnings are kept to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except Image.DecompressionBombError:
        check_pixels(path)
    except MemoryError:
        raise MediaError(path, "it takes more memory than there is") from None
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not of the content
            raise
        reason = "not what a picture begins with" if isinstance(error, UnidentifiedImageError) else str(error)
        raise MediaError(path, f"{DAMAGED} ({reason.strip() or type(error).__name__})") from None
