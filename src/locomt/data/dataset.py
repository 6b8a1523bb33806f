"""Data sets: from the rows of a manifest, or from bare files, to samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from locomt.data.batch import BadSample, Sample
from locomt.data.config import DataConfig
from locomt.data.errors import DataError, NoStreamError
from locomt.data.features import FEATURE_FILES
from locomt.data.labels import LabelError, parse_label
from locomt.data.manifest import Row, read_manifest, resolve
from locomt.data.sources import FeatureSource, Source, TextSource


class ManifestDataset(Dataset[Sample | BadSample]):
    """The samples of one split, in the manifest's order.

    An item that cannot be read is a `BadSample`: nothing that is wrong with a single row or file raises.

    Args:
        config: what to read.
        split: as the manifest names it; it may have no rows.
        labels: what `label_list` says.

    Raises:
        ManifestError: the manifest as a whole cannot serve.
        OSError: it cannot be read.
    """

    def __init__(self, config: DataConfig, split: str, labels: Sequence[str] = ()) -> None:
        self.config = config
        self.manifest = Path(config.manifest)
        self.rows = [row for row in read_manifest(self.manifest, config.columns) if row.split == split]
        self.places = {label: place for place, label in enumerate(labels)}
        self._kept: dict[int, Sample | BadSample] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample | BadSample:
        if index in self._kept:
            return self._kept[index]
        sample = self._load(self.rows[index])
        if self.config.cache:
            self._kept[index] = sample
        return sample

    def _load(self, row: Row) -> Sample | BadSample:
        try:
            label = parse_label(row.label, self.config, self.places)
            steps = len(label) if self.config.steps else None
            inputs = {}
            for name, source in self.config.modalities.items():
                if cell := row.cells[source.column].strip():
                    inputs[name] = self._read(cell, source, steps if name in self.config.steps else None)
        except DataError as error:
            return BadSample(row.id, row.number, error.file, error.reason)
        except (LabelError, OSError) as error:
            return BadSample(row.id, row.number, str(self.manifest), str(error))
        if not inputs:
            return BadSample(row.id, row.number, str(self.manifest), "every modality of the row is empty")
        if steps is not None:
            labelled = [name for name in self.config.steps if name in inputs]
            if not labelled:
                missing = " and ".join(self.config.steps)
                return BadSample(
                    row.id,
                    row.number,
                    str(self.manifest),
                    f"the labels belong to the steps of {missing}, which the row lacks",
                )
            label = label[: len(inputs[labelled[0]])]
        return Sample(row.id, inputs, label)

    def _read(self, cell: str, source: Source, steps: int | None) -> Tensor:
        if isinstance(source, TextSource):
            return source.load(cell, steps)
        file = resolve(cell, self.manifest, allow_outside=self.config.allow_outside)
        if isinstance(source, FeatureSource):
            return source.load(file, steps)
        if not self.config.cache or not file.is_file():
            return source.load(file)
        key = (source, file, file.stat().st_mtime_ns)
        if key not in _DECODED:
            _DECODED[key] = source.load(file)
        return _DECODED[key]


_DECODED: dict[tuple[Source, Path, int], Tensor] = {}
"""What `cache` keeps of media files for the life of the process: several runs on the same clips decode them once."""


class FileDataset(Dataset[Sample | BadSample]):
    """Samples without labels from files, each of which stands for one sample.

    All video and audio modalities are read from the same media file, those that it has no stream for are missing;
    all feature modalities are read from a .npy, .npz or .safetensors file. Several files, or a text, make one sample
    where an item is a mapping from modality to file (to the text itself for kind text).

    Args:
        config: what to read.
        files: files or mappings.

    Raises:
        ValueError: a mapping names a modality that the configuration lacks.
    """

    def __init__(self, config: DataConfig, files: Sequence[str | Path | Mapping[str, str | Path]]) -> None:
        self.config, self.files = config, list(files)
        for item in self.files:
            for name in item if isinstance(item, Mapping) else ():
                if name not in config.modalities:
                    raise ValueError(f"modality {name!r} is not one of {', '.join(config.modalities)}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample | BadSample:
        item = self.files[index]
        if isinstance(item, Mapping):
            parts, name = dict(item), ", ".join(map(str, item.values()))
        else:
            reads = "features" if Path(item).suffix.lower() in FEATURE_FILES else "media"
            parts = {n: item for n, source in self.config.modalities.items() if source.reads == reads}
            name = str(item)
        inputs: dict[str, Tensor] = {}
        lacking = []
        try:
            for modality, part in parts.items():
                source = self.config.modalities[modality]
                try:
                    inputs[modality] = source.load(str(part) if source.reads == "text" else Path(part))
                except NoStreamError as error:
                    if isinstance(item, Mapping):
                        raise
                    lacking.append(error.reason)
        except DataError as error:
            return BadSample(name, index + 1, error.file, error.reason)
        except OSError as error:
            return BadSample(name, index + 1, name, str(error))
        if not inputs:
            wanted = ", ".join(f"{n} ({s.kind})" for n, s in self.config.modalities.items())
            reason = "; ".join(lacking) or f"the file holds none of the modalities {wanted}"
            return BadSample(name, index + 1, name, reason)
        return Sample(name, inputs, None)
