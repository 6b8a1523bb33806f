"""What is named to be answered: files, folders, patterns and manifests, as samples for a `FileDataset`."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path

from locomt.data.config import DataConfig
from locomt.data.dataset import File
from locomt.data.errors import ManifestError
from locomt.data.feature_files import is_feature_file
from locomt.data.folder import is_hidden
from locomt.data.kinds import Source
from locomt.data.manifest import READERS, read_table
from locomt.data.manifest_files import ManifestFiles
from locomt.hints import listed


def find_samples(named: Iterable[File], config: DataConfig) -> dict[str, File]:
    """Name -> sample, in the order in which they are named; what is named twice is there once.

    A folder stands for the media and feature files below it, of which the modalities are read. A pattern such as
    `clips/*.mp4` stands for what it fits, unless there is a file of that name. A manifest stands for its rows: it needs
    the column of one modality or more, and no label; a row's name is its `id`, where there is that column, else what
    its cells say. A mapping may have folders or patterns in place of files: files of one name, but for its ending, are
    then one sample. All else is a sample, under the name of its file, as `FileDataset` takes it.

    Raises:
        ValueError: nothing is found in a folder or by a pattern, a manifest cannot be read or has no such column, two
            of its rows have one id, or two files of one modality one name.
        OSError: a folder or a manifest cannot be read.
    """
    found: dict[str, File] = {}
    for item in named:
        if isinstance(item, Mapping):
            found |= _of_modalities(item, config)
            continue
        path = Path(item)
        if path.suffix.lower() in READERS and path.is_file():
            found |= _rows(path, config)
        elif (files := _several(item, config.modalities.values())) is not None:
            found |= {str(file): file for _, file in files}
        else:
            found[str(item)] = item
    return found


def _several(item: str | Path, sources: Iterable[Source]) -> list[tuple[str, Path]] | None:
    """What a folder or a pattern stands for, each beside its name there without its ending; None of all else."""
    path = Path(item)
    if path.is_dir():
        return [(file.relative_to(path).with_suffix("").as_posix(), file) for file in _files_below(path, list(sources))]
    if not has_magic(str(item)) or path.exists():
        return None
    files = [file for file in map(Path, sorted(glob(str(item), recursive=True))) if file.is_file()]
    if not files:
        raise FileNotFoundError(f"expected files, but none fits {str(item)!r}")
    return [(file.stem, file) for file in files]


def _of_modalities(item: Mapping[str, str | Path], config: DataConfig) -> dict[str, File]:
    """One sample, or those that folders and patterns stand for: by the file, where there is one modality, else by the
    name that its files have in common."""
    sources = config.modalities
    several = {
        name: files
        for name, value in item.items()
        if name in sources and sources[name].names_file and (files := _several(value, [sources[name]])) is not None
    }
    if not several:
        return {", ".join(map(str, item.values())): item}
    if alone := [name for name in item if name not in several]:
        raise ValueError(
            f"expected folders or patterns of all modalities, got one of {', '.join(several)} and "
            f"{alone[0]}={item[alone[0]]}"
        )
    if len(several) == 1:
        return {str(file): {name: file} for name, files in several.items() for _, file in files}
    paired: dict[str, dict[str, str | Path]] = {}
    for name, files in several.items():
        for stem, file in files:
            if name in (sample := paired.setdefault(stem, {})):
                raise ValueError(f"{name}={item[name]}: {sample[name]} and {file} have one name, {stem}")
            sample[name] = file
    return dict(sorted(paired.items()))


def _files_below(folder: Path, sources: Sequence[Source]) -> Iterator[Path]:
    """Those that may hold what is read: no hidden files, and none of which the name says that they are no such."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in files if not any(map(is_hidden, path.relative_to(folder).parts))]
    taken = [path for path in files if _may_serve(path, sources)]
    if not taken:
        others = f", got {listed([path.name for path in files], most=3)}" if files else ", got nothing"
        kinds = " or ".join(dict.fromkeys(source.kind for source in sources if source.names_file))
        if not kinds:
            raise ValueError(f"{folder}: this model reads texts, which are in no folder; name a manifest, or NAME=TEXT")
        raise FileNotFoundError(f"{folder}: expected files of {kinds} in this folder{others}")
    yield from taken


def _may_serve(file: Path, sources: Sequence[Source]) -> bool:
    kind = mimetypes.guess_type(file.name)[0]
    named = is_feature_file(file) or kind is None or kind.startswith(("video/", "audio/", "image/"))
    return named and any(source.takes(file) for source in sources)


def _rows(manifest: Path, config: DataConfig) -> dict[str, File]:
    rows = read_table(manifest)
    known = rows[0].cells
    there = {name: source for name, source in config.modalities.items() if source.column in known}
    if not there:
        wanted = listed(dict.fromkeys(source.column for source in config.modalities.values()))
        raise ManifestError(manifest, f"expected a column out of {wanted}, got {listed(known)}")
    files = ManifestFiles(manifest, allow_outside=config.allow_outside)
    found: dict[str, File] = {}
    for row in rows:
        cells = {name: row.cells[source.column].strip() for name, source in there.items()}
        item = {name: files.find(cell) if there[name].names_file else cell for name, cell in cells.items() if cell}
        name = row.cells.get("id", "").strip() or ", ".join(dict.fromkeys(filter(None, cells.values())))
        if found.setdefault(name, item) != item:
            raise ManifestError(manifest, f"line {row.number}: {name!r} is the name of another row already")
    return found
