"""Data sets: from the rows of a manifest, or from bare files, to samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from locomt.data.batch import BadSample, Sample
from locomt.data.config import DataConfig
from locomt.data.errors import DataError, NoStreamError, SilentError
from locomt.data.kinds.source import WHOLE, Excerpt
from locomt.data.manifest import is_shards, read_manifest
from locomt.data.manifest_files import ManifestFiles
from locomt.data.media.read import MediaFiles, file_class
from locomt.data.row import Row
from locomt.data.shards.reader import Shards
from locomt.faults import tell_of_machine
from locomt.hints import did_you_mean, require_list
from locomt.tasks import LabelError
from locomt.tasks.class_names import places_of

Change = Callable[[str, Tensor], Tensor]
"""What is made of the samples of a sound before its spectrogram: told its modality and `[samples]`."""


class ManifestDataset(Dataset[Sample | BadSample]):
    """The samples of one split, in the manifest's order.

    An item that cannot be read is a `BadSample`: nothing that is wrong with a single row or file raises. Where the
    manifest is the `shards.json` of prepared data, samples come from the shards.

    Args:
        config: what to read.
        split: as the manifest names it; it may have no rows.
        labels: what `label_list` says.
        clips: with `config.crop`, how many crops of each sample, evenly spaced; one is that in the middle.

    Raises:
        ManifestError: the manifest as a whole cannot serve.
        OSError: it cannot be read.
    """

    def __init__(self, config: DataConfig, split: str, labels: Sequence[str] = (), *, clips: int = 1) -> None:
        require_list(labels, "labels")
        self.config, self.crops = config, evenly_spaced(clips)
        self.manifest = Path(config.manifest)
        self.rows = [row for row in read_manifest(self.manifest, config.columns) if row.split == split]
        self.shards = Shards(self.manifest, config) if is_shards(self.manifest) else None
        if self.shards is None:
            file_class(config.decoder)  # that it cannot be had is no fault of the samples
        self.places = places_of(labels)
        self._named = ManifestFiles(self.manifest, allow_outside=config.allow_outside)
        self._found: dict[str, Path] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | tuple[int, float]) -> Sample | BadSample:
        """A sample; with `config.crop`, `dataset[index, place]` is the crop at that place, from 0 to 1."""
        return self.changed(index, None)

    def changed(self, index: int | tuple[int, float], change: Change | None) -> Sample | BadSample:
        """The same with its sound changed: what a cache keeps is the sound that is decoded."""
        if isinstance(index, tuple):
            row, place = index
            return self._load(self.rows[row], (place,), change, cache=False)
        return self._load(self.rows[index], self.crops, change, cache=self.config.cache)

    def modality(self, index: int, name: str) -> Tensor | None:
        """One modality of a sample alone, as the sample has it; None where the row lacks it.

        Raises:
            DataError, OSError: it cannot be read.
        """
        return self._one(index, name, Excerpt(self.config.crop, self.crops, self.config.seconds), taken=False)

    def sound(self, index: int, name: str) -> Tensor | None:
        """The samples `[samples]` of a modality of kind audio, as many as it has room for; None where the row lacks it.

        Raises:
            DataError, OSError: they cannot be read.
        """
        return self._one(index, name, WHOLE, taken=True)

    def _one(self, index: int, name: str, excerpt: Excerpt, *, taken: bool) -> Tensor | None:
        row, read = self.rows[index], self._read_once if self.config.cache else self._read
        if not row.cells[self.config.modalities[name].column].strip():
            return None
        with MediaFiles(self.config.decoder) as files:
            return read(row, name, excerpt, files, taken=taken)[0]

    def _load(self, row: Row, places: tuple[float, ...], change: Change | None, *, cache: bool) -> Sample | BadSample:
        try:
            label = self.config.target.parse(row.label, self.places)
            steps = len(label) if self.config.steps else None
            parts: dict[str, Sequence[Tensor]] = {}
            missing: dict[str, str] = {}
            excerpt = Excerpt(self.config.crop, places, self.config.seconds)
            with MediaFiles(self.config.decoder) as files:
                for name, source in self.config.modalities.items():
                    if row.cells[source.column].strip():
                        asked = replace(excerpt, steps=steps) if name in self.config.steps else excerpt
                        try:
                            read = self._read_once if cache else self._read
                            alter = change if source.holds == "spectrogram" else None
                            found = read(row, name, asked, files, taken=alter is not None)
                            if alter is not None:
                                found = [source.finish(alter(name, sound), f"{name} of {row.id}") for sound in found]
                            parts[name] = found
                        except DataError as error:
                            if not source.leaves_out(error.kind):
                                raise
                            missing[name] = error.reason
            inputs, *more = _clips(parts, len(places))
        except DataError as error:
            tell_of_machine(error)
            return BadSample(row.id, row.number, error.file, error.reason)
        except (LabelError, OSError) as error:
            tell_of_machine(error)
            return BadSample(row.id, row.number, str(self.manifest), str(error))
        if not inputs:
            reason = _nothing_left(missing) or "every modality of the row is empty"
            return BadSample(row.id, row.number, str(self.manifest), reason)
        if self.config.pace and not inputs.keys() & self.config.pace.keys():
            wanted = " and ".join(self.config.pace)
            reason = f"the events belong to the time of {wanted}, which the row lacks"
            return BadSample(row.id, row.number, str(self.manifest), reason)
        if steps is not None:
            labelled = [name for name in self.config.steps if name in inputs]
            if not labelled:
                wanted = " and ".join(self.config.steps)
                return BadSample(
                    row.id,
                    row.number,
                    str(self.manifest),
                    f"the labels belong to the steps of {wanted}, which the row lacks",
                )
            label = label[: len(inputs[labelled[0]])]
        return Sample(row.id, inputs, label, tuple(more), missing)

    def _read(self, row: Row, name: str, excerpt: Excerpt, files: MediaFiles, *, taken: bool) -> list[Tensor]:
        """The modality in each of the clips, or what is `taken` of it; a single one stands for all."""
        source = self.config.modalities[name]
        part: Any = row.cells[source.column].strip()
        if source.names_file and self.shards is not None:
            part = self.shards.part(row, name)
        elif source.names_file:
            part = source.open(self._file(part), files)
        read: list[Tensor] = source.take(part, excerpt) if taken else source.read(part, excerpt)
        return read

    def _read_once(self, row: Row, name: str, excerpt: Excerpt, files: MediaFiles, *, taken: bool) -> list[Tensor]:
        """The same out of the cache, failures too; what is no file is looked for again."""
        source = self.config.modalities[name]
        cell = row.cells[source.column].strip()
        where: tuple[Any, ...] = (cell,)
        if source.names_file:
            file = self._file(cell) if self.shards is None else self.manifest
            if not file.is_file():
                return self._read(row, name, excerpt, files, taken=taken)
            where = (file, file.stat().st_mtime_ns, *((row.id, name) if self.shards is not None else ()))
        key = (self.config.decoder, source, where, excerpt, taken)
        if key not in _READ:
            try:
                _READ[key] = self._read(row, name, excerpt, files, taken=taken)
            except DataError as error:
                tell_of_machine(error)
                _READ[key] = type(error)(error.file, error.reason)  # without what its traceback keeps alive
        if isinstance(found := _READ[key], DataError):
            raise type(found)(found.file, found.reason)
        return found

    def _file(self, cell: str) -> Path:
        """Looked up once: that takes longer than reading what is kept of a small file."""
        if cell not in self._found:
            self._found[cell] = self._named.find(cell)
        return self._found[cell]


_READ: dict[Any, list[Tensor] | DataError] = {}
"""What `cache` keeps for the life of the process, by where it came from and what was read of it: several runs on the
same clips decode them once."""


def evenly_spaced(clips: int) -> tuple[float, ...]:
    """Where in a file its clips are taken: from the first to the last, one alone in the middle."""
    return (0.5,) if clips == 1 else tuple(clip / (clips - 1) for clip in range(clips))


def _clips(parts: Mapping[str, Sequence[Tensor]], count: int) -> list[dict[str, Tensor]]:
    """The inputs of each clip, from those of each modality."""
    return [{name: part[clip % len(part)] for name, part in parts.items()} for clip in range(count)]


def _nothing_left(missing: Mapping[str, str]) -> str:
    """Why a sample has no modality left: the reason of each that is missing, once where they agree."""
    return "; ".join(dict.fromkeys(missing.values()))


File = str | Path | Mapping[str, str | Path]
"""What stands for a sample: a file, or modality -> file."""


class FileDataset(Dataset[Sample | BadSample]):
    """Samples without labels from files, each of which stands for one sample.

    All modalities that media files hold are read from the same one. Those that it has no stream for, and sound of
    which nothing is heard, are missing, whatever their sources say of it; `Sample.missing` tells why. A feature
    modality is read from a .npy, .npz or .safetensors file. Several files, or a text, make one sample where an item is
    a mapping from modality to file (to the text itself for kind text); it has to be one where several modalities of one
    kind have columns of their own.

    Args:
        config: what to read.
        files: files or mappings; one of them by itself is one sample.
        clips: as for `ManifestDataset`.

    Raises:
        ValueError: a mapping names a modality that the configuration lacks.
    """

    def __init__(self, config: DataConfig, files: File | Iterable[File], *, clips: int = 1) -> None:
        self.config, self.crops = config, evenly_spaced(clips)
        self.files: list[File] = [files] if isinstance(files, str | PathLike | Mapping) else list(files)
        file_class(config.decoder)
        for item in self.files:
            for name in item if isinstance(item, Mapping) else ():
                if name not in config.modalities:
                    known = ", ".join(config.modalities)
                    hint = did_you_mean(name, config.modalities, "a sample has one file of each")
                    raise ValueError(f"modality {name!r} is not one of {known}; {hint}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample | BadSample:
        item = self.files[index]
        if isinstance(item, Mapping):
            parts, name = dict(item), ", ".join(map(str, item.values()))
        else:
            parts = {n: item for n, source in self.config.modalities.items() if source.takes(Path(item))}
            name = str(item)
            if rivals := self._rivals(parts):
                told = f"it may be of {' or of '.join(rivals)}: say which, as {rivals[0]}={item}, or name a manifest"
                return BadSample(name, index + 1, name, told)
        excerpt = Excerpt(self.config.crop, self.crops, self.config.seconds)
        read: dict[str, Sequence[Tensor]] = {}
        missing: dict[str, str] = {}
        try:
            with MediaFiles(self.config.decoder) as files:
                for modality, part in parts.items():
                    source = self.config.modalities[modality]
                    try:
                        opened = source.open(Path(part), files) if source.names_file else str(part)
                        read[modality] = source.read(opened, excerpt)
                    except (NoStreamError, SilentError) as error:
                        named = isinstance(item, Mapping) and isinstance(error, NoStreamError)
                        if named and not source.leaves_out(error.kind):
                            raise
                        missing[modality] = error.reason
        except DataError as error:
            tell_of_machine(error)
            return BadSample(name, index + 1, error.file, error.reason)
        except OSError as error:
            tell_of_machine(error)
            return BadSample(name, index + 1, name, str(error))
        if not read:
            wanted = ", ".join(f"{n} ({s.kind})" for n, s in self.config.modalities.items())
            reason = _nothing_left(missing) or f"the file holds none of the modalities {wanted}"
            if texts := [n for n, source in self.config.modalities.items() if not source.names_file and not missing]:
                reason += f"; a text is given as {texts[0]}=TEXT"
            return BadSample(name, index + 1, name, reason)
        if self.config.pace and not read.keys() & self.config.pace.keys():
            reason = f"expected one or more of {', '.join(self.config.pace)}, which have a time axis"
            return BadSample(name, index + 1, name, reason)
        inputs, *more = _clips(read, len(self.crops))
        return Sample(name, inputs, None, tuple(more), missing)

    def _rivals(self, modalities: Iterable[str]) -> list[str]:
        """Those of one kind that manifests have in columns of their own: one file cannot stand for all of them."""
        sources = {name: self.config.modalities[name] for name in modalities}
        columns: dict[str, dict[str, str]] = {}
        for name, source in sources.items():
            columns.setdefault(source.kind, {}).setdefault(source.column, name)
        return next((list(names.values()) for names in columns.values() if len(names) > 1), [])
