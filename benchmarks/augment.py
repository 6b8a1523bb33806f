"""What augmentation takes: by batches where the model is, beside sample by sample, as workers would do it.

    python benchmarks/augment.py --device cuda

A batch as AudioSet's recipe has it (8 frames of 224 x 224 and the spectrogram of 8 s) is changed as that recipe says.
On the CPU one thread does it, whole and a sample at a time; a worker would have to do the latter, and could not mix.
On CUDA it is done whole, after the batch has come there. Beside it stands what the training of ViT-Base takes for the
same samples (`results/h200-model.json`).
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from document import RESULTS, Document, default_path, machine, read, write

from data import APPETITE, appetite_of
from locomt.cost.timing import paired_seconds
from locomt.data.batch import Batch
from locomt.train.augment import Augment
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "audioset.yaml"
CLASSES = 527


def make_batch(recipe: Recipe, samples: int) -> Batch:
    """Noise of the recipe's shapes and types."""
    generator = torch.Generator().manual_seed(0)
    video, audio = (recipe.data.modalities[name].spec() for name in ("video", "audio"))
    shape = (samples, video.frames, 3, video.size, video.size)
    return Batch(
        ids=tuple(map(str, range(samples))),
        inputs={
            "video": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            "audio": torch.randn(samples, audio.frames, audio.mels, generator=generator),
        },
        lengths={"video": torch.full((samples,), video.frames), "audio": torch.full((samples,), audio.frames)},
        labels=torch.randint(0, 2, (samples, CLASSES), generator=generator).float(),
    )


def cases(recipe: Recipe, device: str, samples: int, budget: float) -> list[Document]:
    """Milliseconds a sample, whole batches and one by one."""
    augment = Augment(recipe.train.augment, recipe.data, CLASSES, seed=0)
    whole, one = make_batch(recipe, samples).to(device), make_batch(recipe, 1).to(device)
    runs = {"whole": partial(augment, whole, 0)}
    if device == "cpu":
        runs["one by one"] = partial(augment, one, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = paired_seconds(runs, device, budget)
    torch.set_num_threads(threads)
    sizes = {"whole": samples, "one by one": 1}
    return [{"name": name, "ms_per_sample": round(1e3 * time / sizes[name], 4)} for name, time in seconds.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--samples", type=int, default=64, help="to a batch")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/cpu-augment.json, or a GPU's name")
    args = parser.parse_args()
    recipe = load_recipe(RECIPE, ["--data.labels", "[a]"])
    rows = cases(recipe, args.device, args.samples, args.seconds)
    training = 1e3 / appetite_of(read(RESULTS / "h200-model.json"))
    for row in rows:
        row["share_of_training"] = round(row["ms_per_sample"] / training, 4)
        print(row, flush=True)
    document = {**machine(args.device), "training": {"case": APPETITE, "ms_per_sample": round(training, 3)}}
    write(args.out or default_path(args.device, "augment"), document | {"cases": rows})


if __name__ == "__main__":
    main()
