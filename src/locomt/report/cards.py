"""Samples on a page: a small picture, a few seconds of sound, its text, what was said of it. Bounded in bytes."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from locomt.data import ManifestDataset
from locomt.data.errors import DataError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

MOST, BYTES = 160, 4 * 2**20
"""Samples of a page, and bytes of all pictures and sounds on it."""
SIDE, SECONDS, RATE = 128, 4.0, 8000
"""Pixels of a picture, and of a sound the seconds and the samples a second, 8 bits each: a telephone's."""
TEXT = 160
"""Characters of a text."""


class Cards:
    """The samples that a page shows, each put in once.

    What is asked for first has its picture and sound; when `BYTES` are used up the rest has its words alone, and after
    `MOST` samples no more are taken.

    Args:
        dataset: where the samples are read from again.
    """

    def __init__(self, dataset: ManifestDataset) -> None:
        self.dataset, self.entries, self.left = dataset, list[dict[str, Any]](), BYTES
        self._rows = {row.id: place for place, row in enumerate(dataset.rows)}
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}

    def add(self, sample: str, lines: Sequence[str]) -> int | None:
        """The place of a sample's card on the page; None where there is no room for more.

        Args:
            sample: its id.
            lines: what is said of it.
        """
        key = (sample, tuple(lines))
        if key not in self._places:
            if len(self.entries) >= MOST:
                return None
            self._places[key] = len(self.entries)
            self.entries.append({"id": sample, "lines": list(lines), **self._look(self._rows[sample])})
        return self._places[key]

    def add_all(self, samples: Sequence[tuple[str, Sequence[str]]]) -> list[int]:
        """The places of several; those for which there is no room are left out."""
        places = (self.add(sample, lines) for sample, lines in samples)
        return [place for place in places if place is not None]

    def _look(self, row: int) -> dict[str, Any]:
        """What there is to see, to hear and to read of a sample. A sample that was read once may be gone by now."""
        found: dict[str, list[Any]] = {"images": [], "sounds": [], "texts": []}
        for name, source in self.dataset.config.modalities.items():
            cell = self.dataset.rows[row].cells[source.column].strip()
            if source.holds == "ids" and not source.names_file:
                found["texts"] += [f"{name}: {cell[:TEXT]}{'…' * (len(cell) > TEXT)}"] if cell else []
                continue
            if self.left <= 0 or source.holds not in ("pixels", "spectrogram"):
                continue
            try:
                if source.holds == "pixels":
                    pixels = self.dataset.modality(row, name)
                    found["images"] += [] if pixels is None else [_jpeg(pixels[len(pixels) // 2])]
                else:
                    sound = self.dataset.sound(row, name)
                    found["sounds"] += [] if sound is None else [_wave(sound, source.rate)]
            except (DataError, OSError):
                continue
        self.left -= sum(len(uri) for uri in (*found["images"], *found["sounds"]))
        return found


def _jpeg(pixels: UInt8[Tensor, "3 height width"]) -> str:
    """A picture as a URI that holds it."""
    from PIL import Image

    image, out = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(out, "JPEG", quality=70)
    return _uri("image/jpeg", out.getvalue())


def _wave(sound: Float[Tensor, " samples"], rate: int) -> str:
    """The beginning of a sound as a URI that holds it."""
    import av
    import numpy as np

    start = sound[: round(SECONDS * rate)].clamp(-1, 1).to(torch.float32)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(start[None].numpy()), format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="u8", layout="mono", rate=RATE)
    parts = [part.to_ndarray().tobytes() for part in (*resampler.resample(frame), *resampler.resample(None))]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes(b"".join(parts))
    return _uri("audio/wav", out.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
