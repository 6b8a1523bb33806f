"""Which files the cells of a manifest name: none outside of its folder unless that was allowed."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from locomt.data.errors import ManifestError


class ManifestFiles:
    """The files that a manifest names.

    Args:
        manifest: a file, or the folder that is the manifest itself.
        allow_outside: whether its cells may lead out of its folder.
    """

    def __init__(self, manifest: Path, *, allow_outside: bool = False) -> None:
        self.manifest, self.allow_outside = manifest, allow_outside
        self.root = str(manifest if manifest.is_dir() else manifest.parent)
        self._behind: dict[str, str] = {}

    def find(self, cell: str) -> Path:
        """The file that a cell names, relative to the manifest.

        Raises:
            ManifestError: the cell cannot be the name of a file, or it leads out of the manifest's folder, by its text
                or through a link, and `allow_outside` is false.
        """
        text = cell.strip()
        if not _is_name(text):
            raise ManifestError(self.manifest, f"{text!r:.80} cannot be the name of a file")
        path = os.path.normpath(os.path.join(self.root, text))
        if self.allow_outside:
            return Path(path)
        advice = "move the file there, or set data.allow_outside: true if you trust this manifest"
        foreign = PureWindowsPath(text).is_absolute() and not PurePosixPath(text).is_absolute() and os.name != "nt"
        if foreign or not _within(os.path.abspath(path), os.path.abspath(self.root)):
            raise ManifestError(self.manifest, f"{text!r} leads out of the manifest's folder; {advice}")
        if not _within(target := self._target(path), self._folder(self.root)):
            raise ManifestError(
                self.manifest, f"{text!r} leads out of the manifest's folder through a link, to {target}; {advice}"
            )
        return Path(path)

    def _target(self, path: str) -> str:
        """Where a file is once all links on the way are followed."""
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        return os.path.join(self._folder(folder), name)

    def _folder(self, path: str) -> str:
        """The same of a folder. Followed once: that takes longer than reading a small file, and many lie in one."""
        if path not in self._behind:
            self._behind[path] = os.path.realpath(path)
        return self._behind[path]


def _is_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _within(path: str, folder: str) -> bool:
    start = os.path.join(os.path.normcase(folder), "")
    return path != start and os.path.normcase(path).startswith(start)
