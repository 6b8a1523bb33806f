"""Clips a second: decoded and prepared on one core, and from shards by loader workers, beside what a GPU wants.

    python benchmarks/data.py                       # about five minutes
    python benchmarks/data.py --kinds audioset.mp4 --seconds 2

The clips are made on the spot. Of each, 8 frames of 224 x 224 and the log-mel spectrogram of 8 s are made ready for the
model (video and audio by themselves too), in turns by `locomt.data`, by PyAV's plain loop (every frame decoded up to
the last that is wanted, scaled by FFmpeg) and, where there is one, by the `ffmpeg` program; all on the same core,
with one thread. Then whole epochs through the loader, from shards and from files, with no worker and with two. The
appetite is what ViT-Base takes in when it is trained on an H200 (`results/h200-model.json`); the share of it that 16
cores would serve takes 8 times what two workers gave, which assumes that workers do not get in each other's way. On a
machine of two cores the two workers shared them with the process that they serve.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import torch
from data_clips import FPS, KINDS, Kind, make
from data_rivals import FFMPEG, TASKS, Wanted, by_ffmpeg, by_locomt, by_pyav
from document import RESULTS, Document, default_path, machine, read, write
from torch.utils.data import DataLoader

from locomt.cost.timing import paired_seconds
from locomt.data import DataConfig, ManifestDataset, collate
from locomt.data.media.frame_times import spread
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage

CORES = 16
APPETITE = "1569+401 fusion 4 training batch 32 locomt"
BATCH, WORKERS = 16, (0, 2)
MODALITIES = {"video": {"kind": "video", "column": "clip"}, "audio": {"kind": "audio", "column": "clip"}}


@contextmanager
def one_core() -> Iterator[None]:
    """This process, and those that it begins, on a single core."""
    threads = torch.get_num_threads()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(1)
    if allowed:
        os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if allowed:
            os.sched_setaffinity(0, allowed)


def decoders() -> dict[str, Callable[[Wanted], list[torch.Tensor]]]:
    """Each of those that can be had here."""
    return {"locomt": by_locomt, "pyav": by_pyav, **({"ffmpeg": by_ffmpeg} if FFMPEG else {})}


def wanted_of(path: Path, kind: Kind, task: str) -> Wanted:
    """What a task reads of a clip."""
    sources = DataConfig(manifest="clips.csv", modalities=MODALITIES).modalities
    video, audio = (sources[name] if task in ("both", name) else None for name in ("video", "audio"))
    return Wanted(path, spread(round(kind.seconds * FPS), sources["video"].frames), video, audio)


def decode_case(path: Path, kind: Kind, task: str, budget: float) -> Document:
    wanted = wanted_of(path, kind, task)
    with one_core():
        runs = {name: partial(decode, wanted) for name, decode in decoders().items()}
        seconds = paired_seconds(runs, "cpu", budget)
    return {
        "name": f"{kind.name} {task}",
        "task": task,
        "clips_per_second": {name: round(1 / time, 2) for name, time in seconds.items()},
        "time_ratios": {name: round(seconds["locomt"] / time, 4) for name, time in seconds.items() if name != "locomt"},
    }


def loader(config: DataConfig, workers: int) -> DataLoader[Any]:
    return DataLoader(
        ManifestDataset(config, "train", ("a",)),
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=partial(collate, config=config),
        persistent_workers=workers > 0,
    )


def epoch(batches: DataLoader[Any]) -> None:
    for batch in batches:
        assert len(batch) == BATCH, batch.bad


def configs_of(folder: Path, clips: list[Path], samples: int) -> dict[str, DataConfig]:
    """The same samples from files and from two kinds of shards, with and without crops in time."""
    manifest = folder / "clips.csv"
    rows = "".join(f"{n},train,a,{clips[n % len(clips)].name}\n" for n in range(samples))
    manifest.write_text("id,split,label,clip\n" + rows)
    files = DataConfig(manifest=str(manifest), modalities=MODALITIES)
    found = {"files": files}
    for name, storage in (("shards", Storage()), ("shards, crops", Storage(fps=2.0))):
        out = folder / name.replace(", ", "-")
        prepare(files, out, storage)
        crop = 8.0 if storage.fps else None
        found[name] = replace(files, manifest=str(out / "shards.json"), crop=crop)
    return found


def loader_cases(configs: dict[str, DataConfig], samples: int, appetite: float, budget: float) -> list[Document]:
    loaders = {(name, workers): loader(config, workers) for name, config in configs.items() for workers in WORKERS}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers have
    seconds = paired_seconds({key: partial(epoch, batches) for key, batches in loaders.items()}, "cpu", budget)
    torch.set_num_threads(threads)
    rows = []
    for (name, workers), time in seconds.items():
        rate = samples / time
        row: Document = {"name": f"{name}, {workers} workers", "samples_per_second": round(rate, 1)}
        if workers:
            row |= {"of_16_cores": round(CORES / workers * rate, 1)}
            row |= {"share_of_appetite": round(CORES / workers * rate / appetite, 3)}
        rows.append(row)
    return rows


def appetite_of(document: Document) -> float:
    """Clips a second that the training of the model takes."""
    case = next(case for case in document["cases"] if case["name"] == APPETITE)
    return float(case["batch"] / case["ms"] * 1e3)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kinds", nargs="*", default=names, choices=names, help="of clips that are decoded")
    parser.add_argument("--samples", type=int, default=64, help=f"of an epoch; a multiple of {BATCH}")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each comparison; ten times as long for loaders")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/cpu-data.json")
    args = parser.parse_args()
    if args.samples < BATCH or args.samples % BATCH:
        parser.error(f"--samples: expected a multiple of {BATCH}, got {args.samples}")
    about = machine("cpu") | {
        "processor": processor(),
        "cores": os.cpu_count(),
        "pyav": av.__version__,
        "pyav_ffmpeg": av.ffmpeg_version_info,
        "ffmpeg": FFMPEG and _first_line(FFMPEG),
        "load_before": round(os.getloadavg()[0], 2),
    }
    if not FFMPEG:
        print("there is no `ffmpeg` program on the PATH; the comparison with it is left out")
    appetite = appetite_of(read(RESULTS / "h200-model.json"))
    rows: list[Document] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for kind in KINDS:
            if kind.name not in args.kinds:
                continue
            path = make(folder, kind)
            for task in TASKS:
                rows.append(decode_case(path, kind, task, args.seconds))
                print(rows[-1], flush=True)
        clips = [make(folder, KINDS[0], seed) for seed in range(4)]
        configs = configs_of(folder, clips, args.samples)
        stored = sum(tar.stat().st_size for tar in (folder / "shards").glob("*.tar")) / args.samples
        loads = loader_cases(configs, args.samples, appetite, 10 * args.seconds)
        for row in loads:
            print(row, flush=True)
    document = {
        **about,
        "load_after": round(os.getloadavg()[0], 2),
        "appetite": {"case": APPETITE, "clips_per_second": round(appetite, 1)},
        "shard_kib_per_sample": round(stored / 1024, 1),
        "cases": rows,
        "loaders": loads,
    }
    write(args.out or default_path("cpu", "data"), document)


def _first_line(program: str) -> str:
    import subprocess

    return subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout.partition("\n")[0]


if __name__ == "__main__":
    main()
