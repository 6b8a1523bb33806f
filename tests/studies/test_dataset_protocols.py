"""What the protocols of the drawn tasks promise: held-out pairs, balanced answers, evidence that one modality lacks."""

from collections import Counter, defaultdict
from itertools import combinations, groupby, product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.data import read_manifest
from locomt.studies.datasets import DATA_SETS, grounding, moments, qa, ring, temporal
from locomt.studies.datasets.digits import IMAGES, TAKES
from locomt.studies.datasets.pictures import COLOURS, PIXELS, SHAPES, Thing, pairs_of
from locomt.tasks.events import parse_events

SPLITS = ("train", "val", "test")
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def shown(cells: list[Thing | None]) -> list[Thing]:
    return [cell for cell in cells if cell is not None]


def test_every_pair_belongs_to_one_split_and_every_trait_to_all() -> None:
    pairs = [pair for split in SPLITS for pair in pairs_of(split)]
    assert sorted(pairs) == sorted(product(COLOURS, SHAPES))
    for split in SPLITS:
        assert {colour for colour, _ in pairs_of(split)} == set(COLOURS)
        assert {shape for _, shape in pairs_of(split)} == set(SHAPES)


@given(split=st.sampled_from(SPLITS), random=seeds)
def test_a_picture_has_as_many_things_that_fit_as_the_answer_says(split: str, random: np.random.Generator) -> None:
    for (colour, shape), answer in qa.plan(split, 24, random):
        things = shown(qa.compose((colour, shape), answer, random))
        fitting = [t for t in things if colour in ("", t.colour) and shape in ("", t.shape)]
        assert (len(fitting), 4 <= len(things) <= 7) == (answer, True)
        assert {(t.colour, t.shape) for t in things} - set(pairs_of("train")) <= {(colour, shape)}


@pytest.mark.parametrize("split", SPLITS)
def test_a_question_says_nothing_about_its_answer(split: str) -> None:
    answers = defaultdict(Counter)
    rounds = 4 * len(pairs_of(split)) * len(qa.questions(split))
    for question, answer in qa.plan(split, rounds, np.random.default_rng(0)):
        answers[question][answer] += 1
    assert {question for asked in qa.questions(split) for question in asked} == set(answers)
    assert all(len(set(counts.values())) == 1 and len(counts) == 4 for counts in answers.values())


def test_questions_of_validation_and_test_are_never_asked_elsewhere() -> None:
    asked = {split: {question for form in qa.questions(split) for question in form} for split in SPLITS}
    assert all(asked[one].isdisjoint(asked[other]) for one, other in combinations(SPLITS, 2))


def runs(frames: list[Thing | None]) -> list[tuple[Thing, int]]:
    """The things of a clip in their order, each time one is shown, and for how many frames."""
    return [(thing, len(list(run))) for thing, run in groupby(frames) if thing is not None]


@pytest.mark.parametrize("task", [grounding, moments])
@given(split=st.sampled_from(SPLITS), size=st.sampled_from(("small", "large")), random=seeds)
def test_all_words_of_a_phrase_are_needed_and_all_things_are_alike(
    task: ModuleType, split: str, size: str, random: np.random.Generator
) -> None:
    pairs = pairs_of(split)
    target = Thing(size, *pairs[random.integers(len(pairs))])
    cells = task.compose(target, random)
    things = shown(cells) if task is grounding else [thing for thing, _ in runs(cells)]
    assert target in things
    assert len(set(things)) == len(things) == 8
    for thing in things:  # each shares any two words with one other thing, and any one with three others
        for word, other in combinations(("size", "colour", "shape"), 2):
            same = [
                getattr(t, word) == getattr(thing, word) and getattr(t, other) == getattr(thing, other) for t in things
            ]
            assert sum(same) == 2
    assert {(t.colour, t.shape) for t in things} - set(pairs_of("train")) <= {(target.colour, target.shape)}


def test_a_phrase_may_mean_any_cell() -> None:
    random = np.random.default_rng(0)
    target = Thing("small", *pairs_of("train")[0])
    places = Counter(grounding.compose(target, random).index(target) for _ in range(1600))
    assert len(places) == 16
    assert sum((count - 100) ** 2 / 100 for count in places.values()) < 37.7  # chi squared, 15 degrees, p = 0.001


@given(random=seeds)
def test_a_thing_takes_two_to_four_frames_of_a_clip(random: np.random.Generator) -> None:
    frames = moments.compose(Thing("large", *pairs_of("test")[0]), random)
    assert len(frames) == moments.FRAMES
    assert {length for _, length in runs(frames)} <= {2, 3, 4}


def test_a_phrase_may_mean_any_frame_and_any_moment_of_a_clip() -> None:
    random = np.random.default_rng(0)
    target = Thing("small", *pairs_of("train")[0])
    frames, moment = np.zeros(moments.FRAMES), Counter()
    for _ in range(2400):
        clip = moments.compose(target, random)
        frames += [thing == target for thing in clip]
        moment.update((turn, length) for turn, (thing, length) in enumerate(runs(clip)) if thing == target)
    assert len(moment) == 8 * 3  # how many things come before, and the length
    assert sum((count - 100) ** 2 / 100 for count in moment.values()) < 49.7  # chi squared, 23 degrees, p = 0.001
    assert frames.sum() / 2400 == pytest.approx(3, abs=0.06)
    assert frames[[0, -1]] / 2400 == pytest.approx(1 / 16, abs=0.02)
    assert frames[1:-1] / 2400 == pytest.approx(0.095, abs=0.02)


def test_every_frame_is_drawn_anew_on_the_ground_of_its_clip() -> None:
    random = np.random.default_rng(0)
    frames = moments.compose(Thing("small", *pairs_of("train")[0]), random)
    assert None in frames
    pixels, times = np.split(moments.draw(frames, 0.0, random), [3 * PIXELS**2], axis=1)
    drawn = {bytes(row) for row, thing in zip(pixels, frames, strict=True) if thing is not None}
    blank = {bytes(row) for row, thing in zip(pixels, frames, strict=True) if thing is None}
    assert (len(drawn), len(blank)) == (len(shown(frames)), 1)
    assert len(set(map(bytes, times))) == moments.FRAMES


@pytest.mark.parametrize(("task", "count", "lengths"), [(grounding, 16, {1}), (moments, 32, {2, 3, 4})])
def test_every_phrase_is_of_its_split_and_means_one_run_of_cells(
    task: ModuleType, count: int, lengths: set[int], tmp_path: Path
) -> None:
    task.DATA_SET.prepare(tmp_path / "data", False)
    found = set()
    for row in read_manifest(tmp_path / "data" / "manifest.csv"):
        assert tuple(row.cells["text"].split()[2:]) in pairs_of(row.split)
        labels = row.label.split(";")
        assert (len(labels), set(labels)) == (count, {"other", "target"})
        (target,) = [len(list(run)) for name, run in groupby(labels) if name == "target"]
        found.add(target)
    assert found == lengths


@pytest.mark.parametrize(("count", "expected"), [(2, [(0, 1)]), (3, [(0, 1), (0, 2), (1, 2)])])
def test_modalities_stand_in_a_ring(count: int, expected: list[tuple[int, int]]) -> None:
    assert ring.edges(count) == expected
    for more in (4, 5):
        assert Counter(i for edge in ring.edges(more) for i in edge) == dict.fromkeys(range(more), 2)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_symbols_alone_tell_nothing_but_both_ends_do(count: int) -> None:
    random = np.random.default_rng(0)
    drawn = [(n % 4, ring.draw_symbols(count, n % 4, 0.15, 0.6, random)) for n in range(4000)]
    for i, j in ring.edges(count):
        table = np.zeros((4, 4))
        for label, symbols in drawn:
            table[label, symbols[i, j]] += 1
        assert ((table - 250) ** 2 / 250).sum() < 37.7  # 12 degrees would allow 32.9 at p = 0.001
        together = np.mean([symbols[i, j] ^ symbols[j, i] == label for label, symbols in drawn])
        assert together == pytest.approx(0.6 + 0.4 / 4, abs=0.03)
    own = np.mean([symbols[0, 0] == label for label, symbols in drawn])
    assert own == pytest.approx(0.15 + 0.85 / 4, abs=0.03)


def test_the_ceiling_is_what_one_who_reads_all_symbols_reaches() -> None:
    random, right = np.random.default_rng(0), 0
    weights = {True: np.log(1 + 4 * 0.15 / 0.85), False: np.log(1 + 4 * 0.6 / 0.4)}
    for n in range(4000):
        symbols = ring.draw_symbols(3, n % 4, 0.15, 0.6, random)
        scores = np.zeros(4)
        for (i, j), symbol in symbols.items():
            if i <= j:
                scores[symbol if i == j else symbol ^ symbols[j, i]] += weights[i == j]
        right += scores.argmax() == n % 4
    assert right / 4000 == pytest.approx(ring.ceiling(3, 0.15, 0.6), abs=0.025)


def test_more_modalities_raise_the_ceiling() -> None:
    ceilings = [ring.ceiling(count, 0.15, 0.6) for count in (2, 3, 4, 5)]
    assert ceilings == sorted(ceilings)
    assert ceilings[0] < 0.75 < 0.9 < ceilings[-1] < 1


def test_vectors_show_every_symbol_of_a_modality_in_a_shuffled_order() -> None:
    settings = ring.settings(5, True) | {"noise": 0.0}
    random = np.random.default_rng(0)
    symbols = ring.draw_symbols(5, 1, 0.15, 0.6, random)
    sequences = ring.draw_vectors(symbols, settings, random)
    assert [s.shape for s in sequences] == list(zip(ring.LENGTHS, ring.WIDTHS, strict=True))
    for vectors in sequences:
        counts = Counter(map(bytes, vectors))
        assert len(counts) == 3  # its own symbol and one for each neighbour
        assert max(counts.values()) - min(counts.values()) <= 1


def spoken_and_shown(random: np.random.Generator) -> tuple[list[int], np.ndarray, np.ndarray, list]:
    """A clip whose words and images tell their digits: the words in order, sound, pictures and events."""
    words: list[int] = []

    def say(digit: int, random: np.random.Generator) -> np.ndarray:
        words.append(digit)
        return np.ones(int(random.uniform(0.2, 0.6) * temporal.RATE))

    clip = temporal.compose(say, lambda digit, _: np.full((8, 8), digit + 1.0), random)
    return words[:-1], *clip  # the last word found no room


@given(random=seeds)
def test_an_event_is_a_word_named_by_what_is_shown(random: np.random.Generator) -> None:
    words, sound, pictures, events = spoken_and_shown(random)
    shown = {int(frame.max()) - 1 for frame in pictures} - {-1}
    assert len(shown) == temporal.SHOWN
    assert [name for name, _, _ in events] == ["shown" if word in shown else "other" for word in words]
    silent = np.ones(len(sound), dtype=bool)
    for _, start, end in events:
        span = slice(round(start * temporal.RATE), round(end * temporal.RATE))
        assert (sound[span] > 0).all()
        silent[span] = False
    assert not sound[silent].any()


def test_neither_track_alone_tells_what_an_event_is() -> None:
    random = np.random.default_rng(0)
    by_word, by_pictures = np.zeros((2, temporal.DIGITS)), np.zeros((2, temporal.DIGITS))
    for _ in range(1500):
        words, _, pictures, events = spoken_and_shown(random)
        for word, (name, _, _) in zip(words, events, strict=True):
            by_word[temporal.NAMES.index(name), word] += 1
            by_pictures[temporal.NAMES.index(name), list({int(f.max()) - 1 for f in pictures} - {-1})] += 1
    for table in (by_word, by_pictures):
        assert table[1] / table.sum(axis=0) == pytest.approx(0.5, abs=0.05)


def test_events_can_be_read_and_lie_in_the_clip(tmp_path: Path) -> None:
    DATA_SETS["tones"].prepare(tmp_path / "data", False)
    cells = [row.label for row in read_manifest(tmp_path / "data" / "manifest.csv")]
    events = [event for cell in cells for event in parse_events(cell)]
    assert {event.label for event in events} == set(temporal.NAMES)
    assert all(0 <= event.start < event.end <= temporal.SECONDS for event in events)


def test_displays_and_tone_words_differ_from_digit_to_digit() -> None:
    random = np.random.default_rng(0)
    lit, heard = set(), set()
    for digit in range(temporal.DIGITS):
        lit.add((temporal.display(digit, np.random.default_rng(0)) > 0).tobytes())
        spectra = [np.abs(np.fft.rfft(half, 8192)) for half in np.array_split(temporal.tone_word(digit, random), 2)]
        heard.add(tuple(s.argmax() * temporal.RATE / 8192 > 1000 for s in spectra))
    assert len(lit) == len(heard) == temporal.DIGITS


def test_recordings_and_images_are_of_one_split() -> None:
    assert all(set(TAKES[one]).isdisjoint(TAKES[other]) for one, other in combinations(SPLITS, 2))
    places = {split: set(range(1797)[IMAGES[split]]) for split in SPLITS}
    assert all(places[one].isdisjoint(places[other]) for one, other in combinations(SPLITS, 2))


@pytest.mark.shared_data
def test_spoken_digits_in_time(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    recipe = DATA_SETS["temporal"].prepare(tmp_path / "data", False, shared_data)
    rows = read_manifest(recipe.data.manifest)
    sound = np.concatenate([np.load(tmp_path / "data" / row.cells["sound"])[:, : temporal.MELS] for row in rows])
    assert (abs(sound.astype(float).mean()) < 0.3, 0.7 < sound.astype(float).std() < 1.3) == (True, True)
    assert any(parse_events(row.label) for row in rows)
