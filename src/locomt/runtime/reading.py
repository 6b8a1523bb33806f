"""Files as the arrays that a graph takes, read by the decoders that training reads with.

What each kind of modality does is what its source in `locomt.data.kinds` does, in the numbers that a bundle has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from locomt.data.errors import DataError, MediaError, NoStreamError, SilentError
from locomt.data.feature_files import is_feature_file, read_vectors
from locomt.data.media.container import check_file, opened
from locomt.data.media.crop import Crop, crop_at, moments
from locomt.data.media.picture import is_picture, opened_picture
from locomt.data.media.pyav import MediaFile
from locomt.data.media.sound import cut_array
from locomt.runtime import spectrum
from locomt.runtime.bundle_error import BundleError

Array = np.ndarray[Any, Any]
Item = str | Path | Mapping[str, str | Path]
MEDIA = ("video", "image", "audio")


class Files(ExitStack):
    """The files of a sample, each opened once."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[Path, Any] = {}

    def open(self, path: Path) -> Any:
        if path not in self._open:
            check_file(path)
            if is_picture(path):
                self._open[path] = self.enter_context(opened_picture(path, arrays=True))
            else:
                self._open[path] = MediaFile(path, self.enter_context(opened(path)), arrays=True)
        return self._open[path]


class Reader:
    """Reads samples as a bundle says.

    Args:
        folder: of the bundle, where tokenizers are.
        data: of its document.
    """

    def __init__(self, folder: Path, data: Mapping[str, Any]) -> None:
        self.folder, self.data, self.sources = folder, data, data["modalities"]
        clips = data["clips"]
        self.places = (0.5,) if clips == 1 else tuple(clip / (clips - 1) for clip in range(clips))

    def read(self, item: Item) -> tuple[str, list[dict[str, Array]], dict[str, str]]:
        """A sample's name, the inputs of each of its clips, and why its file gives nothing of a modality.

        Raises:
            DataError, OSError: it cannot be read.
        """
        if isinstance(item, Mapping):
            parts, name = dict(item), ", ".join(map(str, item.values()))
            for modality in parts:
                if modality not in self.sources:
                    raise ValueError(f"modality {modality!r} is not one of {', '.join(self.sources)}")
        else:
            features, name = is_feature_file(Path(item)), str(item)
            kinds = ("features",) if features else MEDIA
            parts = {n: item for n, source in self.sources.items() if source["kind"] in kinds}
            if rivals := self._rivals(parts):
                told = f"it may be of {' or of '.join(rivals)}: say which, as {rivals[0]}={item}"
                raise DataError(name, told)
        found: dict[str, list[Array]] = {}
        missing: dict[str, str] = {}
        with Files() as files:
            for modality, part in parts.items():
                source = self.sources[modality]
                try:
                    found[modality] = self._modality(source, part, files)
                except (NoStreamError, SilentError) as error:
                    named = isinstance(item, Mapping) and isinstance(error, NoStreamError)
                    if named and source.get(f"on_{error.kind}", "bad") != "missing":
                        raise
                    missing[modality] = error.reason
        if not found:
            wanted = ", ".join(f"{n} ({s['kind']})" for n, s in self.sources.items())
            lacked = "; ".join(dict.fromkeys(missing.values()))
            told = f"the file holds none of the modalities {wanted}"
            if texts := [n for n, s in self.sources.items() if s["kind"] == "text" and not missing]:
                told += f"; a text is given as {texts[0]}=TEXT"
            raise DataError(name, lacked or told)
        clips = [{n: own[clip % len(own)] for n, own in found.items()} for clip in range(len(self.places))]
        return name, clips, missing

    def _rivals(self, modalities: Iterable[str]) -> list[str]:
        columns: dict[str, dict[str, str]] = {}
        for name in modalities:
            source = self.sources[name]
            columns.setdefault(source["kind"], {}).setdefault(source["column"], name)
        return next((list(names.values()) for names in columns.values() if len(names) > 1), [])

    def _modality(self, source: Mapping[str, Any], part: str | Path, files: Files) -> list[Array]:
        kind = source["kind"]
        if kind == "features":
            return [read_vectors(Path(part), dim=source["dim"], max_length=source["max_length"])]
        if kind == "text":
            return [self._ids(source, str(part))]
        file = files.open(Path(part))
        if kind == "audio":
            return [_spectrogram(source, sound, str(file)) for sound in self._sounds(source, file)]
        options = {"size": source["size"], "stream": source["stream"], "box": source["box"]}
        if kind == "image":
            return list(file.read_crops(1, (None,), **options))
        if self.data["seconds"] is not None:
            crops = moments(file.span, self.data["seconds"], source["frames"])
            return [np.concatenate(file.read_crops(1, crops, **options))]
        return list(file.read_crops(source["frames"], self._crops(file.span), **options))

    def _crops(self, span: tuple[float, float]) -> list[Crop | None]:
        if self.data["crop"] is None:
            return [None]
        return [crop_at(span, self.data["crop"], place) for place in self.places]

    def _sounds(self, source: Mapping[str, Any], file: Any) -> list[Array]:
        rate, stream, seconds = source["rate"], source["stream"], self.data["seconds"]
        sound = file.read_audio(rate, stream)
        if sound.silence:
            raise SilentError(str(file), sound.silence)
        if seconds is None and self.data["crop"] is None:
            most = round(source["seconds"] * rate)
            start = max(0, (len(sound.samples) - most) // 2)
            middle = sound.samples[start : start + most]
            if not middle.any():
                raise SilentError(str(file), f"all-zero audio in the middle {source['seconds']:g} s")
            return [middle]
        span = file.sound_span(rate, stream)
        crops = self._crops(span) if seconds is None else [Crop(span[0], span[0] + seconds, (0.0, 1.0))]
        return [cut_array(sound.samples, sound.begin, rate, crop) for crop in crops if crop is not None]

    def _ids(self, source: Mapping[str, Any], text: str) -> Array:
        if source["tokenizer"] == "bytes":
            ids = [byte + 1 for byte in text.encode("utf-8", errors="replace")]
        else:
            ids = token_ids(self.folder / source["tokenizer"], text)
        if not ids:
            raise DataError("text", f"expected a text, got {text!r:.60}, which has no tokens")
        return np.array(ids[: source["max_length"]], np.int64)


def _spectrogram(source: Mapping[str, Any], samples: Array, where: str) -> Array:
    rate, mels = source["rate"], source["mels"]
    window, hop = (round(rate * source[name] / 1000) for name in ("window_ms", "hop_ms"))
    make = spectrum.kaldi_filter_bank if source["filterbank"] == "kaldi" else spectrum.log_mel
    found = make(samples, rate=rate, mels=mels, window=window, hop=hop)
    if not np.isfinite(found).all():
        raise MediaError(where, f"expected sound of full scale 1, got samples up to {np.abs(samples).max():.2g}")
    most = math.ceil(round(source["seconds"] * 1000 / source["hop_ms"], 6))
    return ((found[:most] - np.float32(source["mean"])) / np.float32(source["std"])).astype(np.float32)


def token_ids(folder: Path, text: str) -> list[int]:
    """A text by the `tokenizer.json` of a folder, untruncated, with the special tokens that it adds.

    Raises:
        BundleError: it cannot be read, or the package tokenizers is not installed.
    """
    ids: list[int] = _tokenizer(folder).encode(text).ids
    return ids


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise BundleError(f"{folder}: this tokenizer needs the package tokenizers: pip install tokenizers") from None
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # of its own, bare
        raise BundleError(f"{folder}: its tokenizer.json cannot be read ({error!s:.200})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
