"""A model with all that it takes to answer files: labels and how they are read. A folder of it needs no training data.

Beside the weights and `config.json`, `predictor.json` holds the labels and what of the recipe says how files are read,
and `tokenizers/` those of texts. Loading runs no code and follows no name out of the folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

import locomt
from locomt import progress
from locomt.data import BadSample, Batch, FileDataset, average_clips, collate
from locomt.data.batch import Sample, time_reached
from locomt.data.config import DataConfig
from locomt.data.dataset import File
from locomt.files import to_json, write_text
from locomt.nn.checkpoint import read_json
from locomt.nn.hub import CONFIG, WEIGHTS, folder_of
from locomt.nn.model import FusionModel
from locomt.require import ConfigError, require
from locomt.train.ensemble import Answer, mean_of
from locomt.train.origin import within
from locomt.train.recipe_file import build_recipe

if TYPE_CHECKING:
    from locomt.data.kinds import Source

PREDICTOR, TOKENIZERS = "predictor.json", "tokenizers"
FORMAT = 1
READING = ("task", "modalities", "steps", "seconds", "step", "smooth", "crop", "clips", "decoder")
"""What of `data` says how files are read and answers are made."""
NO_MANIFEST = "(none)"
NOT_GIVEN = "nothing was given of it"


@dataclass(frozen=True, repr=False)
class Predictor:
    """A model that answers files.

    Attributes:
        folder: that it was read from; of a run its `model/`.
        model: ready for inference.
        data: how files are read.
        labels: the names of the model's outputs; empty for regression.
        batch_size: samples that are answered at once, as in training: other batches change the last digits.
        others: models that answer with it, by the mean of what they say.
    """

    folder: Path
    model: FusionModel
    data: DataConfig
    labels: tuple[str, ...]
    batch_size: int
    others: tuple[Predictor, ...] = ()

    @property
    def members(self) -> tuple[Predictor, ...]:
        """All models that answer."""
        return (self, *self.others)

    def answering(self, device: torch.device | str) -> Answer:
        """What answers on a device: the model, or the mean of several."""
        models = [member.model.to(device).eval() for member in self.members]
        return models[0] if len(models) == 1 else mean_of(models, self.data.target)

    def __repr__(self) -> str:
        return f"Predictor({str(self.folder)!r}, {self.data.task} of {', '.join(self.data.modalities)})"

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Predictor:
        """Load a model that answers files by itself.

        Args:
            source: a run, its `model/`, a copy of that, or an id on the hub.
            revision, cache_dir, local_files_only, token: as `huggingface_hub` takes them.

        Raises:
            ConfigError: it is no saved model, not whole, or lacks what says how files are read.
            OSError: there is no such folder and no such id on the hub.
        """
        options: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "token": token}
        options["local_files_only"] = local_files_only
        folder = folder_of(str(source), CONFIG, WEIGHTS, PREDICTOR, f"{TOKENIZERS}/*", **options)
        if not (folder / CONFIG).is_file() and (folder / "model" / CONFIG).is_file():
            folder = folder / "model"  # of a run
        if (folder / CONFIG).is_file() and not (folder / PREDICTOR).is_file():
            raise ConfigError(
                f"{source}: expected {PREDICTOR}, which says how files are read and what the outputs mean; models "
                "saved by earlier versions, or by FusionModel.save_pretrained, lack it. `locomt evaluate RUN` writes "
                "it into the model of a run; FusionModel.from_pretrained loads the weights alone"
            )
        model = FusionModel.from_pretrained(folder)
        return _described(folder, model)

    def save(self, folder: Path) -> None:
        """Write the model and all that it takes to answer files.

        Raises:
            ConfigError: there are several models.
        """
        require(not self.others, f"expected one model to save, got {len(self.members)} that answer together; save each")
        self.model.save_pretrained(folder)
        self.describe(folder)

    def describe(self, folder: Path) -> None:
        """Write what it takes beside the model into the folder of it."""
        modalities = {name: _entry(name, source, folder) for name, source in self.data.modalities.items()}
        values = {name: getattr(self.data, name) for name in READING} | {"modalities": modalities}
        document = {
            "format": FORMAT,
            "locomt": locomt.__version__,
            "labels": list(self.labels),
            "batch_size": self.batch_size,
            "data": values,
        }
        write_text(folder / PREDICTOR, to_json(document, indent=2) + "\n")

    def predict(
        self, items: File | Iterable[File], *, top: int = 5, device: torch.device | str | None = None
    ) -> list[dict[str, Any]]:
        """Labels for files, the logits of each sample averaged over its `data.clips` crops.

        Args:
            items: a sample each: a file, or a mapping from modality to file where a sample takes several (see
                `locomt.data.FileDataset`); or one of them by itself.
            top: how many labels to give, the likeliest first; of a temporal task all events are given.
            device: `best_device()` when left out.

        Returns:
            For each item `{"file": name, "predictions": [{"label":, "score":}, ...]}`; the score is a probability
            (of the label among all for `multiclass` and `ordinal`, of the label being there for `multilabel`) or, with
            label "value", the number of a regression. An `ordinal` answer, the class whose threshold is the last one
            passed, comes before the likeliest of the others. Where labels belong to steps, each prediction names its
            `step`. Of a temporal task, `events` in place of `predictions`: `{"label":, "start":, "end":, "score":}`
            each, in seconds, in the order of their starts, the score being the mean probability over the event. Where a
            sample lacks a modality (its file has no such stream, nothing is heard of its sound, or nothing was given of
            it), the model answers without: `missing` lists those, and `why` maps each to the reason. An item that
            cannot be read has `error`.

        Raises:
            ValueError: `top` is below 1, or a mapping names a modality that the model lacks.
        """
        return list(self.predictions(items, top=top, device=device))

    def predictions(
        self, items: File | Iterable[File], *, top: int = 5, device: torch.device | str | None = None
    ) -> Iterator[dict[str, Any]]:
        """What `predict` answers, one after the other; it holds no more than batches of `batch_size` in memory."""
        if top < 1:
            raise ValueError(f"expected to give the top 1 or more labels, got {top}")
        device = device or best_device()
        model = self.answering(device)
        dataset = FileDataset(self.data, items, clips=self.data.clips)
        loader = DataLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.data.workers,
            collate_fn=list,
            generator=torch.Generator(),  # or making the iterator would draw from the global one
        )
        with progress.stage("predicting", "samples", len(dataset)) as seen:
            for samples in loader:
                batch = collate(samples, config=self.data).to(device)
                told = iter(self._answers_of(model, batch, [s for s in samples if isinstance(s, Sample)], top))
                for sample in samples:
                    yield {"file": sample.id, "error": sample.reason} if isinstance(sample, BadSample) else next(told)
                seen.add(len(samples))

    @torch.inference_mode()
    def _answers_of(self, model: Answer, batch: Batch, samples: Sequence[Sample], top: int) -> list[dict[str, Any]]:
        """What the model says of the samples of a batch."""
        data = self.data
        if not samples:
            return []
        logits = average_clips(model(batch.inputs, batch.lengths).float(), batch.clips).cpu()
        told: list[dict[str, Any]] = []
        reached = time_reached(batch.lengths, data).sum(dim=1) if data.time_steps else None
        for index, sample in enumerate(samples):
            own = logits[index]
            if reached is not None:
                own = own[: int(reached[index])]
            elif data.steps:  # those of longer samples in the batch are none of its
                own = own[: max((len(sample.inputs[name]) for name in data.steps if name in sample.inputs), default=0)]
            answer = {"file": sample.id, **data.target.answer(own, self.labels, top)}
            lacking = {n: sample.missing.get(n, NOT_GIVEN) for n in data.modalities if n not in sample.inputs}
            told.append(answer | ({"missing": list(lacking), "why": lacking} if lacking else {}))
        return told


from_pretrained = Predictor.from_pretrained


def best_device() -> torch.device:
    """A CUDA device where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _entry(name: str, source: Source, folder: Path) -> dict[str, Any]:
    """A modality in plain types. Its tokenizer is put into the folder; an encoder's description is in the model's."""
    values = {"kind": source.kind, **asdict(source)}
    if "tokenizer" in source.checkpoints:
        from locomt.data.tokenizer import save_tokenizer

        place = f"{TOKENIZERS}/{name}"
        save_tokenizer(values["tokenizer"], folder / place)
        values["tokenizer"] = place
    return values | {field: "" for field in source.checkpoints if field == "encoder"}


def _described(folder: Path, model: FusionModel) -> Predictor:
    """What `describe` wrote, for this model.

    Raises:
        ConfigError: it is something else, names what is not in the folder, or is another model's.
    """
    path = folder / PREDICTOR
    document = read_json(path)
    require(isinstance(document, dict), f"{path}: expected an object, got {document!r:.60}")
    if (found := document.get("format")) != FORMAT:
        raise ConfigError(
            f"{path}: expected format {FORMAT}, got {found!r:.60}, written by locomt {document.get('locomt')!r:.60}; "
            f"this is {locomt.__version__}"
        )
    labels, values = document.get("labels"), document.get("data")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ConfigError(f"{path}: expected labels, a list of names, got {labels!r:.60}")
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise ConfigError(f"{path}: the label {twice[0]!r:.60} is there more than once")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected data, an object, got {values!r:.60}")
    if unknown := [name for name in values if name not in READING]:
        raise ConfigError(f"{path}: data has the unknown field {unknown[0]!r:.60}; expected {', '.join(READING)}")
    sections = {
        "data": {**values, "modalities": _located(values.get("modalities"), folder), "manifest": NO_MANIFEST},
        "train": {"batch_size": document.get("batch_size")},
    }
    recipe = build_recipe(sections, str(path))
    predictor = Predictor(folder, model, recipe.data, tuple(labels), recipe.train.batch_size)
    _check(predictor, path)
    return predictor


def _located(modalities: Any, folder: Path) -> Any:
    """The modalities with their tokenizers found in the folder; none is looked for elsewhere."""
    if not isinstance(modalities, dict):
        return modalities
    located = {}
    for name, entry in modalities.items():
        located[name] = entry
        if not isinstance(entry, dict) or entry.get("kind") != "text":
            continue
        named = f"{folder / PREDICTOR}: the tokenizer of {name!r:.60}"
        tokenizer = entry.get("tokenizer", "bytes")
        require(not entry.get("encoder"), f"{named}: expected no encoder beside it, got {entry.get('encoder')!r:.60}")
        if tokenizer == "bytes":
            continue
        place = folder / str(tokenizer)
        inside = str(tokenizer).startswith(f"{TOKENIZERS}/") and within(place, folder)
        require(inside, f"{named}: expected 'bytes' or a folder in {TOKENIZERS}, got {tokenizer!r:.60}")
        require(place.is_dir(), f"{named}: there is no folder {place}; save or download the model again")
        located[name] = {**entry, "tokenizer": str(place)}
    return located


def _check(predictor: Predictor, path: Path) -> None:
    """Raises `ConfigError` where labels and modalities are not those of the model."""
    config, data = predictor.model.config, predictor.data
    if tuple(data.modalities) != tuple(config.modalities):
        raise ConfigError(f"{path}: has {', '.join(data.modalities)}, the model {', '.join(config.modalities)}")
    for name, source in data.modalities.items():
        trained = config.modalities[name]
        described = source.spec()
        if trained.encoder is not None:
            described = replace(described, encoder=trained.encoder)
        for field, value in asdict(trained).items():
            here = asdict(described).get(field)
            require(value == here, f"{path}: {name} has {field} {here!r:.60}, the model {value!r:.60}")
    wanted = data.target.num_outputs(predictor.labels)
    require(wanted == config.num_outputs, f"{path}: has {wanted} labels, the model {config.num_outputs} outputs")
    for name in ("steps", "time_steps", "pace"):
        here, there = getattr(data, name), getattr(config, name)
        require(here == there, f"{path}: {name} is {here!r:.60}, the model's {there!r:.60}")
