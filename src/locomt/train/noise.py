"""Where the noise of `train.augment.noise` comes from: drawn, out of a folder of sound files, or other clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from locomt.data import DataError, ManifestDataset, NoStreamError
from locomt.data.media.read import read_audio
from locomt.faults import tell_of_machine
from locomt.require import ConfigError
from locomt.train.augment_config import CLIPS, WHITE

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

SOUND_FILES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aiff", ".aif"),
    *(".mp4", ".mkv", ".webm", ".mov", ".avi"),
)
"""Ends of the names of what is taken for sound in a folder, where there may be a README too."""
VOICES = (3, 7)
"""Clips that babble is the sum of, after Snyder et al., "X-vectors", ICASSP 2018."""
TRIES = 20
"""Clips that are looked at for babble: some may lack their sound."""
ROOM = 2**28
"""Bytes of sound from a folder that each process keeps in memory."""


class Noise(Protocol):
    """A kind of noise."""

    def draw(self, index: int, name: str, length: int, rng: np.random.Generator) -> Float[Tensor, " length"]:
        """So many samples of it for a modality of the training sample at an index.

        Raises:
            DataError, OSError: its file cannot be read, or no other clip has any sound.
        """
        ...


class White:
    """Gaussian samples, each independent of all others."""

    def draw(self, index: int, name: str, length: int, rng: np.random.Generator) -> Float[Tensor, " length"]:
        return torch.from_numpy(rng.standard_normal(length, dtype=np.float32))


class Folder:
    """A stretch of one of the sound files in a folder and the folders in it.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, folder: Path, dataset: ManifestDataset) -> None:
        if not folder.is_dir():
            raise ConfigError(
                f"train.augment.noise: expected {WHITE}, {CLIPS} or a folder of sound files, got {folder}"
            )
        self.files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_FILES)
        if not self.files:
            raise ConfigError(f"train.augment.noise: {folder} holds no sound file ({', '.join(SOUND_FILES)})")
        self.modalities = dataset.config.modalities
        self.kept: dict[tuple[Path, int], Tensor] = {}

    def draw(self, index: int, name: str, length: int, rng: np.random.Generator) -> Float[Tensor, " length"]:
        file = self.files[int(rng.integers(len(self.files)))]
        return stretch(self._read(file, self.modalities[name].rate), length, rng)

    def _read(self, file: Path, rate: int) -> Tensor:
        if (found := self.kept.get((file, rate))) is not None:
            return found
        try:
            samples = read_audio(file, rate)
        except NoStreamError as error:
            raise DataError(error.file, error.reason) from None  # it is not the sample that lacks its sound
        if sum(map(len, self.kept.values())) + len(samples) <= ROOM // samples.element_size():
            self.kept[file, rate] = samples
        return samples


class Clips:
    """The sum of `VOICES` other clips of the training split, each as loud as the others: babble."""

    def __init__(self, dataset: ManifestDataset) -> None:
        self.dataset = dataset

    def draw(self, index: int, name: str, length: int, rng: np.random.Generator) -> Float[Tensor, " length"]:
        count = int(rng.integers(VOICES[0], VOICES[1] + 1))
        babble, found = torch.zeros(length), 0
        for sound in self._others(index, name, rng):
            voice = stretch(sound, length, rng)
            power = float(voice.square().mean())
            if power > 0:  # else it is a silent stretch of the clip
                babble, found = babble + voice / power**0.5, found + 1
            if found == count:
                break
        if not found:
            reason = f"expected sound in one of {TRIES} other clips for train.augment.noise {CLIPS}, found none"
            raise DataError(str(self.dataset.manifest), reason)
        return babble

    def _others(self, index: int, name: str, rng: np.random.Generator) -> Iterator[Tensor]:
        for other in rng.integers(len(self.dataset), size=TRIES).tolist():
            if other == index:
                continue
            try:
                sound = self.dataset.sound(other, name)
            except (DataError, OSError) as error:
                tell_of_machine(error)
                continue  # the clip's own turn tells what is wrong with it
            if sound is not None:
                yield sound


def noise_of(what: str, dataset: ManifestDataset) -> Noise:
    """The noise that `train.augment.noise` names.

    Raises:
        ConfigError: it is a folder without sound.
    """
    if what == WHITE:
        return White()
    return Clips(dataset) if what == CLIPS else Folder(Path(what), dataset)


def stretch(samples: Float[Tensor, " samples"], length: int, rng: np.random.Generator) -> Float[Tensor, " length"]:
    """So many samples from a random place on; what is shorter begins anew at its end."""
    if len(samples) >= length:
        start = int(rng.integers(len(samples) - length + 1))
        return samples[start : start + length]
    start = int(rng.integers(len(samples)))
    return samples[(start + torch.arange(length)) % len(samples)]
