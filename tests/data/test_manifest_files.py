"""Which files the cells of a manifest name, and those that lead elsewhere."""

from pathlib import Path

import pytest

from locomt.data import ManifestError
from locomt.data.manifest_files import ManifestFiles


@pytest.mark.parametrize("cell", ["a.mp4", "clips/a.mp4", "./a.mp4", "clips/../a.mp4", " a.mp4 ", "-a.mp4", "..a.mp4"])
def test_files_beside_the_manifest(cell: str, tmp_path: Path) -> None:
    found = ManifestFiles(tmp_path / "clips.csv").find(cell)
    assert found.is_relative_to(tmp_path)
    assert ".." not in found.parts


@pytest.mark.parametrize("cell", ["../a.mp4", "clips/../../a.mp4", "/etc/passwd", "..", "C:\\a.mp4", "//server/a.mp4"])
def test_files_elsewhere_are_refused_unless_allowed(cell: str, tmp_path: Path) -> None:
    manifest = tmp_path / "clips.csv"
    with pytest.raises(ManifestError, match="leads out of the manifest's folder") as caught:
        ManifestFiles(manifest).find(cell)
    assert "data.allow_outside: true" in str(caught.value)
    assert ManifestFiles(manifest, allow_outside=True).find(cell).is_absolute()


def test_a_link_that_leads_elsewhere_is_refused_unless_allowed(tmp_path: Path) -> None:
    """Whatever else was found in its folder before."""
    inside, outside = tmp_path / "data", tmp_path / "outside"
    (inside / "clips").mkdir(parents=True)
    outside.mkdir()
    for folder in (inside / "clips", outside):
        (folder / "a.mp4").write_bytes(b"x")
    (inside / "more").symlink_to(outside)
    (inside / "b.mp4").symlink_to(outside / "a.mp4")
    (inside / "c.mp4").symlink_to("clips/a.mp4")
    (inside / "clips" / "d.mp4").symlink_to("../b.mp4")
    (inside / "again").symlink_to("clips")
    manifest = inside / "clips.csv"
    files, free = ManifestFiles(manifest), ManifestFiles(manifest, allow_outside=True)
    for cell in ("c.mp4", "clips/a.mp4", "again/a.mp4", "clips/not there.mp4"):
        assert files.find(cell) == inside / cell
    for cell in ("more/a.mp4", "more/not there.mp4", "b.mp4", "clips/d.mp4", "again/d.mp4"):
        with pytest.raises(ManifestError, match=r"leads out of the manifest's folder through a link, to .*\.mp4"):
            files.find(cell)
        assert free.find(cell) == inside / cell
    (tmp_path / "linked").symlink_to(inside)  # the folder itself may be reached through a link
    assert ManifestFiles(tmp_path / "linked" / "clips.csv").find("c.mp4").is_file()


def test_an_absolute_path_within_the_manifests_folder(tmp_path: Path) -> None:
    files = ManifestFiles(tmp_path / "clips.csv")
    assert files.find(str(tmp_path / "clips" / "a.mp4")) == tmp_path / "clips" / "a.mp4"
    with pytest.raises(ManifestError, match="leads out of the manifest's folder"):
        files.find(f"{tmp_path}-elsewhere/a.mp4")
