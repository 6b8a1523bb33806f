"""A model's bundle: written beside its place, compared with the model, and then put there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import locomt
from locomt.cost import flops, parameters
from locomt.data import Batch
from locomt.data.tokenizer import tokenize
from locomt.export.graphs import FORMS, OPSET, check_form
from locomt.export.parity import by_model, difference, latencies, same_answers, samples_of
from locomt.files import replacing
from locomt.nn.checkpoint import read_json
from locomt.nn.graph import described, export_graph
from locomt.require import require
from locomt.runtime.contents import CARD, DOCUMENT, EXAMPLES, TOKENIZERS, sealed
from locomt.runtime.reading import token_ids
from locomt.tasks.events import THRESHOLD
from locomt.train.predictor import PREDICTOR, Predictor

TEXTS = ("How to boil an egg", " Two  SPACES, 12 eggs! ", "Grüße, 世界 🎉", "x" * 300)
"""On which a tokenizer is tried."""
MANY = 3
"""Examples in a bundle."""


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Attributes:
        folder: the bundle.
        size: bytes of its graph.
        difference: the most that logits differ by, over the largest of the model's.
        samples: of a split, that were answered alike.
        latencies: batch size -> milliseconds of the model and of the graph.
    """

    folder: Path
    size: int
    difference: float
    samples: int
    latencies: dict[int, tuple[float, float]]


def export(
    predictor: Predictor,
    folder: str | Path,
    form: str = "onnx",
    batches: Iterable[tuple[Batch, torch.Tensor]] = (),
) -> Exported:
    """Write a bundle. There is none before it answers as the model does.

    Args:
        predictor: the model with what it takes to answer files.
        folder: of the bundle; must not be there yet.
        form: one of `FORMS`.
        batches: what `locomt.train.evaluation.answers` gives of a split, to compare answers on as well.

    Raises:
        ConfigError: the folder is there, or the model is of a kind that cannot be exported.
        ParityError: the graph does not answer as the model does.
    """
    folder = Path(folder)
    check_form(form)
    require(not folder.exists(), f"{folder} is there already; remove it, or name another folder")
    made, model = FORMS[form], predictor.model.cpu().float().eval()
    program, inputs = export_graph(model), described(model)
    with replacing(folder) as bundle:
        bundle.mkdir()
        made.write(program, bundle / made.file)
        answers = made.open(bundle / made.file, list(inputs))
        worst = difference(model, answers, inputs)
        alike = same_answers(predictor, answers, inputs, batches)
        _write_examples(model, bundle / EXAMPLES)
        if (card := predictor.folder / CARD).is_file():
            shutil.copyfile(card, bundle / CARD)
        document = _document(predictor, form, bundle)
        (bundle / DOCUMENT).write_text(sealed(document | {"inputs": inputs}, bundle), encoding="utf-8")
        size = (bundle / made.file).stat().st_size
        times = latencies(model, answers, inputs)
    return Exported(folder, size, worst, alike, times)


def _document(predictor: Predictor, form: str, bundle: Path) -> dict[str, Any]:
    """What `bundle.json` says but for the inputs; tokenizers are put into the bundle."""
    data, config = predictor.data, predictor.model.config
    predictor.describe(bundle)
    reading = read_json(bundle / PREDICTOR)["data"]
    (bundle / PREDICTOR).unlink()
    for folder in (bundle / TOKENIZERS).glob("*"):
        check_tokenizer(folder)
    counted = flops(config)
    return {
        "form": form,
        "graph": FORMS[form].file,
        "task": data.task,
        "labels": list(predictor.labels),
        "thresholds": {"event": THRESHOLD} if data.target.in_time else {},
        "data": reading,
        "pace": dict(data.pace),
        "time_steps": data.time_steps,
        "cost": {"parameters": parameters(config), "flops": counted.total},
        "versions": {"locomt": locomt.__version__, "torch": torch.__version__}
        | ({"opset": OPSET} if form == "onnx" else {}),
    }


def check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer of which `tokenizer.json` is not all, as a bundle has it.

    Raises:
        ConfigError: it is none of tokenizers' own, or gives other ids by itself than transformers gives.
    """
    told = f"the tokenizer of {folder.name!r} cannot be exported:"
    require((folder / "tokenizer.json").is_file(), f"{told} it has no tokenizer.json")
    for text in TEXTS:
        theirs, ours = tokenize(text, str(folder)).tolist(), token_ids(folder, text)
        require(theirs == ours, f"{told} of {text!r} transformers makes {theirs[:8]}, its tokenizer.json {ours[:8]}")


def _write_examples(model: Any, path: Path) -> None:
    arrays: dict[str, Any] = {}
    for i, sample in enumerate(samples_of(model, MANY)):
        arrays |= {f"{i}.input.{name}": array for name, array in sample.items()}
        arrays[f"{i}.logits"] = by_model(model, sample)
    np.savez_compressed(path, **arrays)
