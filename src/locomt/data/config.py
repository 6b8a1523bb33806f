"""What is read, from where, and what it is for: the `data:` section of a recipe."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from locomt.data.kinds import KINDS, AudioSource, Source, TextSource, VideoSource
from locomt.data.split_config import SplitConfig
from locomt.data.subsection import make_section
from locomt.hints import did_you_mean
from locomt.nn.config import ConfigError
from locomt.require import require
from locomt.tasks import TASKS, Task
from locomt.tasks.class_names import clean
from locomt.views import check_modalities

__all__ = [
    "AudioSource",
    "ConfigError",
    "DataConfig",
    "Source",
    "TextSource",
    "VideoSource",
    "make_source",
]

DECODERS = ("pyav", "torchcodec", "torchcodec-cuda")
MOST_STEPS = 100_000
"""Answers along time of a sample: what a slip of the comma would ask for fits into no memory."""
MOST = 1024
"""Of worker processes, and of crops of a sample: a slip of the key would have as many as it says."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The `data:` section of a recipe.

    Attributes:
        manifest: CSV, JSON lines or Parquet file with a row a sample.
        task: one of `locomt.tasks.TASKS`: `multiclass`, say, or `temporal` (events in time).
        modalities: name -> source, in the order in which the model has them. A mapping such as
            `{"kind": "video", "column": "clip"}` is turned into the source of that kind.
        labels: the names of the classes, as `locomt.tasks.class_names.clean` has them, in the order of the model's
            outputs. Left out: the labels of the training split, sorted; an ordinal task then needs numbers. Not for
            regression.
        steps: modalities whose every step carries a label; the label column then holds one a step, joined by
            `;`. One class or number each, features or text.
        seconds: how much of a clip, from its beginning, the events of a `temporal` task lie in.
        step: seconds from one of its answers to the next.
        smooth: seconds of the median filter over a class's on and off, from which its events are read; 0 for none.
        train_split, val_split, test_split: what the manifest calls them.
        split: how samples are dealt out to these splits. A mapping such as `{"val": 0.2, "test": 0.2}` is turned into a
            `SplitConfig`; left out, the manifest's column `split` says it.
        group: the manifest's column of what belongs together (a speaker, a recording): `split` never parts it, and
            where splits that are given do, that is said. Left out, it is the column `group`, if there is one.
        crop: seconds of a media file that the model sees at once: in training from a random place, the same for all
            modalities, in evaluation from the middle. Left out: pictures from the whole file, sound from its middle.
        clips: evaluate this many crops, evenly spaced from the first to the last, and average the model's outputs.
        max_bad: fraction of a split's samples that may be bad before a run stops.
        workers: processes that load samples beside the one that trains.
        cache: keep what was read in memory for as long as the process lives, for all its runs.
        decoder: of media files: `pyav`; `torchcodec`, a package of its own; or `torchcodec-cuda`, which decodes
            pictures on the GPU and cannot be used by worker processes.
        allow_outside: let the manifest name files outside its own folder.
    """

    manifest: str
    task: str = "multiclass"
    modalities: dict[str, Any]
    labels: tuple[str, ...] | None = None
    steps: tuple[str, ...] = ()
    seconds: float | None = None
    step: float | None = None
    smooth: float = 0.0
    train_split: str = "train"
    val_split: str = "val"
    test_split: str = "test"
    split: Any = None
    group: str | None = None
    crop: float | None = None
    clips: int = 1
    max_bad: float = 0.05
    workers: int = 0
    cache: bool = False
    decoder: str = "pyav"
    allow_outside: bool = False

    def __post_init__(self) -> None:
        require(bool(self.manifest), "data.manifest: expected the name of a file, got nothing")
        require(self.task in TASKS, f"data.task: expected one of {', '.join(TASKS)}, got {self.task!r}")
        require(
            isinstance(self.modalities, Mapping) and bool(self.modalities),
            f"data.modalities: expected name: {{kind: ..., column: ...}} for one modality or more, "
            f"got {self.modalities!r}",
        )
        check_modalities(self.modalities)
        sources = {name: make_source(name, value) for name, value in self.modalities.items()}
        object.__setattr__(self, "modalities", sources)
        self._check_labels()
        self._check_steps(sources)
        self._check_crop(sources)
        self._check_time(sources)
        require(0 <= self.max_bad <= 1, f"data.max_bad: expected a fraction in [0, 1], got {self.max_bad}")
        require(self.workers >= 0, f"data.workers: expected 0 or more, got {self.workers}")
        require(self.workers <= MOST, f"data.workers: expected at most {MOST:,}, got {self.workers:,}")
        require(self.decoder in DECODERS, f"data.decoder: expected one of {', '.join(DECODERS)}, got {self.decoder!r}")
        require(
            self.decoder != "torchcodec-cuda" or not self.workers,
            f"data.decoder torchcodec-cuda cannot be used by worker processes, got data.workers {self.workers}; set 0",
        )
        for name in ("train_split", "val_split", "test_split"):
            object.__setattr__(self, name, clean(getattr(self, name)))
            require(bool(getattr(self, name)), f"data.{name}: expected the name of a split, got nothing")
        self._check_split()

    def _check_split(self) -> None:
        require(self.group != "", "data.group: expected the name of a column, got nothing; leave it out")
        if self.split is None:
            return
        object.__setattr__(self, "split", make_section(SplitConfig, self.split, "data.split", "{val: 0.2, test: 0.2}"))
        names = (self.train_split, self.val_split, self.test_split)
        require(len(set(names)) == 3, f"data.split: expected splits of three names to deal to, got {', '.join(names)}")

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        require(TASKS[self.task].has_classes, f"data.labels: a {self.task} has no list of labels; leave it out")
        require(
            not isinstance(self.labels, str) and all(isinstance(label, str) for label in self.labels),
            f"data.labels: expected a list of names (quote numbers), got {self.labels!r}",
        )
        object.__setattr__(self, "labels", tuple(map(clean, self.labels)))
        require(bool(self.labels), "data.labels: expected one name or more, got an empty list; leave it out")
        for label, count in Counter(self.labels).items():
            require(count == 1, f"data.labels: {label!r} is there more than once")
            require(
                bool(label) and ";" not in label,
                f"data.labels: {label!r} cannot serve: the manifest joins labels by ';' and strips spaces",
            )

    def _check_steps(self, sources: Mapping[str, Source]) -> None:
        require(
            not isinstance(self.steps, str), f"data.steps: expected a list of modalities, got the text {self.steps!r}"
        )
        object.__setattr__(self, "steps", tuple(self.steps))
        require(
            not self.steps or TASKS[self.task].takes_steps,
            f"data.steps: labels of steps are of task {_those('takes_steps')}, got {self.task}",
        )
        for name in self.steps:
            if name not in sources:
                raise ConfigError(f"data.steps: {_unknown(name, sources, 'modality')}")
            able = " and ".join(kind for kind, source in KINDS.items() if source.token_a_step)
            require(
                sources[name].token_a_step,
                f"data.steps: modality {name!r} is {sources[name].kind}; only {able} have a token a step",
            )
        counts = {name: sources[name].max_steps for name in self.steps}
        require(
            len(set(counts.values())) <= 1,
            f"data.steps: the labels belong to the same steps of each, so max_length must be the same, got {counts}",
        )

    def _check_crop(self, sources: Mapping[str, Source]) -> None:
        require(self.clips >= 1, f"data.clips: expected 1 or more, got {self.clips}")
        require(self.clips <= MOST, f"data.clips: expected at most {MOST:,}, got {self.clips:,}")
        if self.crop is None:
            require(self.clips == 1, f"data.clips {self.clips} needs data.crop: how many seconds each of them takes")
            return
        require(0 < self.crop < math.inf, f"data.crop: expected seconds above 0, got {self.crop}")
        _check_room(sources, "crop", self.crop)

    def _check_time(self, sources: Mapping[str, Source]) -> None:
        if not TASKS[self.task].in_time:
            for name, default in (("seconds", None), ("step", None), ("smooth", 0)):
                told = f"data.{name} is for data.task {_those('in_time')}; leave it out"
                require(getattr(self, name) == default, told)
            return
        require(0 <= self.smooth < math.inf, f"data.smooth: expected seconds from 0, got {self.smooth}")
        for name, what in (("seconds", "how long a clip is"), ("step", "how far apart the answers are")):
            value = getattr(self, name)
            require(value is not None, f"data.{name}: a {self.task} task needs it, {what} in seconds")
            require(0 < value < math.inf, f"data.{name}: expected seconds above 0, got {value}")
        assert self.seconds is not None
        assert self.step is not None
        require(
            self.step <= self.seconds,
            f"data.step: expected at most data.seconds = {self.seconds:g}, got {self.step:g}",
        )
        require(
            self.time_steps <= MOST_STEPS,
            f"data.step: expected at most {MOST_STEPS:,} steps in data.seconds = {self.seconds:g}, got {self.step:g} s",
        )
        require(
            self.crop is None,
            f"data.crop: the events of a {self.task} task are those of the whole of data.seconds; leave it out",
        )
        require(
            bool(self.pace),
            f"data.task {self.task}: expected a modality with a time axis "
            f"({', '.join(kind for kind, source in KINDS.items() if source.has_time)}), "
            f"got {', '.join(source.kind for source in sources.values())}",
        )
        _check_room(sources, "seconds", self.seconds)

    @cached_property
    def target(self) -> Task:
        """The task with what it needs to know of the data."""
        return TASKS[self.task](stepwise=bool(self.steps), seconds=self.seconds, step=self.step, smooth=self.smooth)

    @property
    def time_steps(self) -> int:
        """T, the answers of a task in time; 0 for another task. The last one may reach beyond `seconds`."""
        return self.target.time_steps

    @property
    def pace(self) -> dict[str, float]:
        """The modalities with a time axis -> how many of their input steps one `step` of a temporal task lasts.

        The frames of a video and the longest sequence of features are spread over `seconds`, those of a spectrogram
        have their own rate.
        """
        if self.seconds is None or self.step is None:
            return {}
        timed = {name: source for name, source in self.modalities.items() if source.has_time}
        return {name: source.rate_in(self.seconds) * self.step for name, source in timed.items()}

    @property
    def cut(self) -> str | None:
        """The field by which media files are cut in time; None where they are taken whole."""
        return "crop" if self.crop is not None else "seconds" if self.seconds is not None else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The manifest's columns that are needed."""
        return tuple(dict.fromkeys(("id", "split", "label", *(s.column for s in self.modalities.values()))))


def _check_room(sources: Mapping[str, Source], field: str, seconds: float) -> None:
    """A spectrogram holds as much as is cut out of a file."""
    for name, source in sources.items():
        require(
            source.room >= seconds,
            f"data.{field} is {seconds:g} s, but modality {name!r} has room for {source.room:g} s; set "
            f"data.modalities.{name}.seconds to {seconds:g}",
        )


def make_source(name: str, value: Source | Mapping[str, Any]) -> Source:
    """A source out of `{"kind": ..., ...}`; `name` is the modality's, for error messages.

    Raises:
        ConfigError: unknown or missing kind or field, or a value that cannot be.
    """
    where = f"data.modalities.{name}"
    if isinstance(value, Source):
        return value
    require(isinstance(value, Mapping), f"{where}: expected {{kind: ..., column: ...}}, got {value!r}")
    values = {str(key): entry for key, entry in value.items()}
    kind = values.pop("kind", None)
    require(kind is not None, f"{where}: field 'kind' is missing; it is one of {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{where}: {_unknown(kind, KINDS, 'kind')}")
    source = KINDS[kind]
    known = {f.name: f.default is MISSING for f in fields(source)}
    if unknown := [field for field in values if field not in known]:
        raise ConfigError(f"{where}: {_unknown(unknown[0], known, f'field of kind {kind}:')}")
    for field, needed in known.items():
        require(not needed or field in values, f"{where}: kind {kind} needs the field {field!r}")
    try:
        return source(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _those(are: str) -> str:
    """`multiclass or regression`: the tasks of which something is so."""
    names = [name for name, task in TASKS.items() if getattr(task, are)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _unknown(name: object, known: Iterable[str], what: str) -> str:
    """`unknown kind 'vidoe'; did you mean 'video'?`"""
    known = list(known)
    return f"unknown {what} {name!r}; " + did_you_mean(name, known, f"expected {', '.join(known)}")
