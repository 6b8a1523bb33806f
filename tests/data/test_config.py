"""The data section of a recipe: what it makes of mappings, and what it says when it refuses."""

import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.data import AudioSource, DataConfig, FeatureSource, TextSource, VideoSource
from locomt.nn.config import AudioSpec, ConfigError, FeatureSpec, TextSpec, VideoSpec

MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 8, "size": 224},
    "audio": {"kind": "audio", "column": "clip", "seconds": 8},
    "lips": {"kind": "features", "column": "lips", "dim": 4800, "max_length": 48},
    "title": {"kind": "text", "column": "title", "max_length": 128},
}


TEMPORAL = {"task": "temporal", "seconds": 2, "step": 0.1}


def config(**changes: Any) -> DataConfig:
    return DataConfig(**{"manifest": "clips.csv", "modalities": MODALITIES, **changes})


def test_the_mappings_become_sources_with_the_specs_of_the_model() -> None:
    sources = config().modalities
    assert list(sources) == ["video", "audio", "lips", "title"]
    assert [type(source) for source in sources.values()] == [VideoSource, AudioSource, FeatureSource, TextSource]
    assert [source.spec() for source in sources.values()] == [
        VideoSpec(frames=8, size=224, patch=16),
        AudioSpec(frames=800, mels=128, patch=16),
        FeatureSpec(dim=4800, max_length=48),
        TextSpec(vocabulary=257, max_length=128),
    ]
    assert config().columns == ("id", "split", "label", "clip", "lips", "title")


@given(seconds=st.floats(0.1, 20), hop=st.floats(1, 25), patch=st.integers(1, 32))
def test_audio_frames_are_those_of_its_seconds_rounded_up_to_the_patch(seconds: float, hop: float, patch: int) -> None:
    source = AudioSource(column="a", seconds=seconds, hop_ms=hop, mels=patch * 2, patch=patch)
    frames = source.spec().frames
    assert frames % patch == 0
    assert frames - patch < source.max_steps <= frames
    assert (source.max_steps - 1) * hop - 1e-5 < seconds * 1000 <= source.max_steps * hop + 1e-5


def test_sources_are_taken_as_they_are_and_everything_survives_a_worker() -> None:
    made = config(labels=["a", "b"], steps=["lips"])
    again = config(modalities=made.modalities, labels=made.labels, steps=made.steps)
    assert again == made == pickle.loads(pickle.dumps(made))
    assert made.labels == ("a", "b")
    assert made.steps == ("lips",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest": ""}, "data.manifest: expected the name of a file"),
        ({"task": "multi"}, "data.task: expected one of "),
        ({"modalities": {}}, "data.modalities: expected name: {kind"),
        ({"modalities": ["video"]}, "data.modalities: expected name"),
        ({"modalities": {"self": MODALITIES["video"]}}, "modality 'self' cannot be used"),
        ({"modalities": {"v": "clip"}}, "data.modalities.v: expected {kind"),
        ({"modalities": {"v": {"column": "clip"}}}, "data.modalities.v: field 'kind' is missing"),
        ({"modalities": {"v": {"kind": "vidoe", "column": "c"}}}, "unknown kind 'vidoe'; did you mean 'video'?"),
        ({"modalities": {"v": {"kind": 3, "column": "c"}}}, "unknown kind 3; expected video, "),
        ({"modalities": {"v": {"kind": "video"}}}, "kind video needs the field 'column'"),
        ({"modalities": {"v": {"kind": "video", "column": ""}}}, "column: expected the name of a column"),
        ({"modalities": {"v": {"kind": "video", "column": "c", "frame": 3}}}, "'frame'; did you mean 'frames'?"),
        ({"modalities": {"v": {"kind": "video", "column": "c", "frames": "x"}}}, "frames: expected int, got 'x'"),
        ({"modalities": {"v": {"kind": "video", "column": "c", "frames": True}}}, "frames: expected int, got True"),
        ({"modalities": {"v": {"kind": "video", "column": "c", "frames": 0}}}, "expected 1 or more, got 0"),
        ({"modalities": {"v": {"kind": "video", "column": "c", "size": 100}}}, "100 is no multiple of its patch 16"),
        ({"modalities": {"a": {"kind": "audio", "column": "c", "seconds": 0}}}, "seconds: expected above 0, got 0"),
        ({"modalities": {"a": {"kind": "audio", "column": "c", "std": 0.0}}}, "std: expected above 0"),
        ({"modalities": {"a": {"kind": "audio", "column": "c", "hop_ms": 50}}}, "longer than window_ms 25.0"),
        ({"modalities": {"a": {"kind": "audio", "column": "c", "hop_ms": 0.01}}}, "shorter than a sample"),
        ({"modalities": {"a": {"kind": "audio", "column": "c", "mels": 40}}}, "40 is no multiple of its patch 16"),
        ({"modalities": {"f": {"kind": "features", "column": "c", "dim": 3}}}, "needs the field 'max_length'"),
        ({"modalities": {"f": {"kind": "features", "column": "c", "dim": 0, "max_length": 1}}}, "dim: expected 1"),
        ({"modalities": {"t": {"kind": "text", "column": "c", "max_length": 0}}}, "max_length: expected 1 or more"),
        ({"labels": []}, "data.labels: expected one name or more"),
        ({"labels": ["a", "a"]}, "data.labels: 'a' is there more than once"),
        ({"labels": ["a;b"]}, "'a;b' cannot serve"),
        ({"labels": ["\u001b]0;OWNED\u0007ok", "b"]}, r"data.labels: '\x1b]0;OWNED\x07ok' cannot serve"),
        ({"labels": ["a", " "]}, "data.labels: '' cannot serve"),
        ({"labels": ["a", "a "]}, "data.labels: 'a' is there more than once"),
        ({"labels": ["caf\u00e9", "cafe\u0301"]}, "data.labels: 'caf\u00e9' is there more than once"),
        ({"labels": "ab"}, "expected a list of names"),
        ({"labels": [1, 2]}, "quote numbers"),
        ({"labels": ["a"], "task": "regression"}, "a regression has no list of labels"),
        ({"steps": ["lip"]}, "data.steps: unknown modality 'lip'; did you mean 'lips'?"),
        ({"steps": "lips"}, "data.steps: expected a list of modalities"),
        ({"steps": ["video"]}, "modality 'video' is video; only features and text"),
        ({"steps": ["lips"], "task": "multilabel"}, "regression, got multilabel"),
        ({**TEMPORAL, "steps": ["lips"]}, "regression, got temporal"),
        ({**TEMPORAL, "seconds": None}, "data.seconds: a temporal task needs it, how long a clip is in seconds"),
        ({**TEMPORAL, "step": None}, "data.step: a temporal task needs it, how far apart the answers are in seconds"),
        ({**TEMPORAL, "step": 0}, "data.step: expected seconds above 0, got 0"),
        ({**TEMPORAL, "step": 9}, "data.step: expected at most data.seconds = 2, got 9"),
        ({**TEMPORAL, "step": 1e-9}, "data.step: expected at most 100,000 steps in data.seconds = 2, got 1e-09 s"),
        ({**TEMPORAL, "smooth": -1}, "data.smooth: expected seconds from 0, got -1"),
        ({"smooth": 1}, "data.smooth is for data.task temporal; leave it out"),
        ({**TEMPORAL, "crop": 1}, "data.crop: the events of a temporal task are those of the whole of data.seconds"),
        ({**TEMPORAL, "clips": 2}, "data.clips 2 needs data.crop"),
        ({**TEMPORAL, "seconds": 9}, "data.seconds is 9 s, but modality 'audio' has room for 8 s; set data.modalities"),
        ({**TEMPORAL, "modalities": {"t": MODALITIES["title"]}}, "expected a modality with a time axis"),
        ({"seconds": 2}, "data.seconds is for data.task temporal; leave it out"),
        ({"step": 2}, "data.step is for data.task temporal; leave it out"),
        ({"steps": ["lips", "title"]}, "max_length must be the same, got {'lips': 48, 'title': 128}"),
        ({"max_bad": 1.5}, "data.max_bad: expected a fraction"),
        ({"workers": -1}, "data.workers: expected 0 or more"),
        ({"val_split": ""}, "data.val_split: expected the name of a split"),
    ],
)
def test_refusals_say_what_was_expected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        config(**changes)


def test_the_pace_of_a_temporal_task() -> None:
    made = config(**TEMPORAL)
    assert made.time_steps == 20
    assert made.pace == pytest.approx({"video": 0.4, "audio": 10, "lips": 2.4})
    assert config(**{**TEMPORAL, "step": 0.3}).time_steps == 7
    assert config(**{**TEMPORAL, "seconds": 0.3}).time_steps == 3  # 0.3 / 0.1 < 3
    assert (config().time_steps, config().pace) == (0, {})


def test_a_refused_source_names_its_modality() -> None:
    with pytest.raises(ConfigError, match=r"^data\.modalities\.face: "):
        config(modalities={"face": {"kind": "video", "column": "c", "tubelet": 3}})
