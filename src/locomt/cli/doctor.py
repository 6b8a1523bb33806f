"""`locomt doctor`: what is installed, what works here, and what to do about the rest."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "say what is installed, which backends and codecs work here, and what to do about the rest"
EXAMPLE = "locomt doctor --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Exit code 0 where training would work, 1 where something stands in its way."""
    from locomt.cli.checks import examine
    from locomt.cli.output import print_json

    report = examine()
    if args.json:
        problems = [{"what": p.what, "do": p.do, "blocking": p.blocking} for p in report.problems]
        print_json({"can_train": report.can_train, **report.document, "problems": problems})
    else:
        _show(report.document)
        for problem in report.problems:
            print(f"{'PROBLEM' if problem.blocking else 'note'}: {problem}")
        print("Training works here." if report.can_train else "Training will not work until the problems are solved.")
    return 0 if report.can_train else 1


def _show(found: dict[str, Any]) -> None:
    from locomt.cli.checks import GIB
    from locomt.cli.output import print_table

    machine = found["machine"]
    memory = f", {machine['memory_bytes'] / GIB:.0f} GiB of memory" if machine["memory_bytes"] else ""
    rows = [
        ("Python", f"{machine['python']} on {machine['platform']}"),
        (
            "machine",
            f"{machine['cores']} cores{memory}, {machine['disk_free_bytes'] / GIB:.0f} GiB of disk free",
        ),
    ]
    if "torch" in found:
        rows += [("device", _device(device)) for device in found["torch"]["devices"]]
        rows += [(f"backend {name}", reason or "serves") for name, reason in found["backends"].items()]
    compiler = found["compiler"]
    ready = compiler["cxx"] and compiler["python_headers"]
    rows.append(("torch.compile", f"can compile for the CPU with {compiler['cxx']}" if ready else "no CPU code"))
    if "media" in found:
        rows.append(("PyAV", f"{found['media']['pyav']} with FFmpeg {found['media']['ffmpeg']}"))
        rows.append(("torchcodec", found["media"]["torchcodec"] or "none; only data.decoder: torchcodec needs it"))
    print_table("Machine", ("what", "found"), rows)
    print_table(
        "Packages",
        ("package", "installed", "wanted", "for", "state"),
        [
            (p["name"], p["version"], p["wanted"], f"[{p['extra']}] extra" if p["extra"] else "", p["state"])
            for p in found["packages"]
        ],
    )
    if "media" in found:
        print_table(
            "Codecs, each tried by writing a clip and reading it back",
            ("codec", "kind", "encoder", "decoder", "result"),
            [(c["name"], c["kind"], c["encoder"], c["decoder"], _outcome(c)) for c in found["media"]["codecs"]],
        )


def _device(device: dict[str, Any]) -> str:
    from locomt.cli.checks import GIB

    if device["name"] == "cpu":
        return f"cpu, {device['threads']} {'thread' if device['threads'] == 1 else 'threads'}"
    memory = device["memory_bytes"] / GIB
    return f"{device['name']}, {device['model']}, {memory:.0f} GiB, capability {device['capability']}"


def _outcome(codec: dict[str, Any]) -> str:
    if codec["decoder"] is None:
        return "cannot be read"
    if codec["encoder"] is None:
        return "not tried: no encoder"
    return "works" if codec["error"] is None else "failed"
