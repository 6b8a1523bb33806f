"""What `locomt doctor` finds out about the machine: each function looks at one thing and prints nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

GIB = 2**30
ROOM_TO_TRAIN = 1 * GIB  # checkpoints of a small run and its logs
USER_EXTRAS = ("text", "parquet", "search", "experiments", "completion", "fa4")


@dataclass(frozen=True)
class Problem:
    """Something amiss, what to do about it, and whether training is impossible until then."""

    what: str
    do: str
    blocking: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.do}"


@dataclass
class Report:
    """What was found: `document` is made of plain JSON types."""

    document: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def can_train(self) -> bool:
        return not any(problem.blocking for problem in self.problems)

    def add(self, what: str, do: str, *, blocking: bool = False) -> None:
        self.problems.append(Problem(what, do, blocking))


def examine() -> Report:
    """Look at everything."""
    report = Report()
    check_machine(report)
    check_packages(report)
    check_torch(report)
    check_media(report)
    check_compiler(report)
    return report


def check_machine(report: Report) -> None:
    """Cores that this process may use, memory, free disk where a run would be written."""
    free = shutil.disk_usage(Path.cwd()).free
    report.document["machine"] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "disk_free_bytes": free,
    }
    if free < ROOM_TO_TRAIN:
        report.add(
            f"{free / GIB:.1f} GiB of disk are free in {Path.cwd()}",
            f"make room for at least {ROOM_TO_TRAIN / GIB:.0f} GiB or work in another folder",
            blocking=True,
        )


def _memory() -> int | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_packages(report: Report) -> None:
    """Every dependency's version against the bounds that the installed locomt declares."""
    rows: list[dict[str, Any]] = []
    report.document["packages"] = rows
    try:
        requirements = metadata.requires("locomt") or []
    except metadata.PackageNotFoundError:
        report.add("locomt runs from its source folder without being installed", "run `pip install -e .` there")
        return
    from packaging.requirements import Requirement

    for text in requirements:
        requirement = Requirement(text)
        extra = _extra_of(requirement.marker)
        if (extra and extra not in USER_EXTRAS) or any(row["name"] == requirement.name for row in rows):
            continue  # what two extras want is told once
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = None
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        rows.append(
            {
                "name": requirement.name,
                "version": version,
                "wanted": str(requirement.specifier),
                "extra": extra,
                "state": "ok" if fits else "missing" if version is None else "unfit",
            }
        )
        if not fits and (version is not None or not extra):
            came = f"{requirement.name} {version or 'is missing'}"
            target = f"{requirement.name}{requirement.specifier}"
            report.add(f"{came}, expected {target}", f"run `pip install '{target}'`", blocking=not extra)


def _extra_of(marker: object) -> str | None:
    """The extra in a marker such as `extra == "text"`."""
    _, _, name = str(marker or "").partition("extra == ")
    return name.strip("\"'") or None


def check_torch(report: Report) -> None:
    """torch's build, its devices, and the backends of `view_attention` that serve on them."""
    try:
        import torch

        from locomt.ops import backends
    except ImportError as error:
        report.add(f"torch cannot be imported ({error})", "install it as pytorch.org says", blocking=True)
        return
    devices: list[dict[str, Any]] = [{"name": "cpu", "threads": torch.get_num_threads()}]
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": f"cuda:{index}",
                "model": found.name,
                "memory_bytes": found.total_memory,
                "capability": f"{found.major}.{found.minor}",
                "bf16": torch.cuda.is_bf16_supported(),
            }
        )
    report.document["torch"] = {"version": torch.__version__, "cuda": torch.version.cuda, "devices": devices}
    if shutil.which("nvidia-smi") and not torch.cuda.is_available():
        build = "is a build without CUDA" if torch.version.cuda is None else "finds no usable CUDA device"
        report.add(
            f"this machine has an NVIDIA driver, but torch {torch.__version__} {build}",
            "install the build for the driver's CUDA version as pytorch.org says",
        )
    serving = report.document["backends"] = backends()
    if None not in serving.values():
        reasons = "; ".join(f"{name}: {reason}" for name, reason in serving.items())
        report.add(f"no backend of view_attention serves here ({reasons})", "install torch>=2.11", blocking=True)


def check_media(report: Report) -> None:
    """PyAV, its FFmpeg, and which codecs it can write and read, each tried with a tiny clip."""
    try:
        import av
    except ImportError as error:
        report.add(f"PyAV cannot be imported ({error})", "run `pip install av`", blocking=True)
        return
    from locomt.cli.codecs import try_codecs

    codecs = try_codecs()
    report.document["media"] = {"pyav": av.__version__, "ffmpeg": av.ffmpeg_version_info, "codecs": codecs}
    report.document["media"]["torchcodec"] = _torchcodec(report)
    for kind in ("video", "audio"):
        ours = [codec for codec in codecs if codec["kind"] == kind]
        missing = [codec["name"] for codec in ours if codec["decoder"] is None]
        failed = [codec["name"] for codec in ours if codec["decoder"] and codec["error"]]
        if missing:
            report.add(
                f"this PyAV has no {kind} decoder for {', '.join(missing)}",
                "files in these formats cannot be read; PyAV's own wheels have the decoders: "
                "run `pip install --force-reinstall av`",
                blocking=len(missing) == len(ours),
            )
        if failed:
            report.add(
                f"{kind} could not be written and read back in {', '.join(failed)}",
                "`locomt doctor --json` says why; files in other formats are not concerned",
            )


def _torchcodec(report: Report) -> str | None:
    """The version of the optional second decoder; None where it is not installed or does not load."""
    try:
        found = metadata.version("torchcodec")
    except metadata.PackageNotFoundError:
        return None
    from locomt.data.media.torchcodec import load_torchcodec
    from locomt.nn.config import ConfigError

    try:
        load_torchcodec()
    except ConfigError as error:
        report.add(str(error), "nothing else needs it: leave data.decoder out, or put that in order")
        return None
    return found


def check_compiler(report: Report) -> None:
    """The C++ compiler and Python's headers, which torch.compile needs on the CPU."""
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    found = shutil.which(wanted)
    headers = (Path(sysconfig.get_path("include")) / "Python.h").is_file()
    report.document["compiler"] = {"cxx": found, "python_headers": headers}
    if not found:
        report.add(
            f"there is no C++ compiler {wanted!r}",
            "install one (Debian, Ubuntu: `apt install g++`) for torch.compile on the CPU; nothing else needs it",
        )
    elif not headers:
        report.add(
            "Python's headers are missing",
            "install them (Debian, Ubuntu: `apt install python3-dev`) for torch.compile on the CPU; "
            "nothing else needs them",
        )
