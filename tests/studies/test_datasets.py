"""Tasks: made whole or not at all, the same bytes from the same settings, and recipes that train on them."""

from dataclasses import replace
from pathlib import Path

import pytest

from locomt.data import ManifestDataset, label_list
from locomt.studies.datasets import DATA_SETS, DataSetError
from locomt.studies.datasets.data_set import DataSet
from locomt.train.recipe_file import build_recipe, load_recipe

DRAWN = [task for task in DATA_SETS.values() if task.needs is None]


@pytest.fixture(scope="module", params=DRAWN, ids=lambda task: task.name)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DataSet, Path]:
    """A task that needs nothing, and its data in small form."""
    folder = tmp_path_factory.mktemp(request.param.name) / "data"
    request.param.prepare(folder, False)
    return request.param, folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_settings_give_the_same_bytes(made: tuple[DataSet, Path], tmp_path: Path) -> None:
    task, folder = made
    task.prepare(tmp_path / "data", False)
    assert bytes_of(tmp_path / "data") == bytes_of(folder)


def test_every_sample_can_be_read_and_ids_are_of_one_split(made: tuple[DataSet, Path]) -> None:
    recipe = load_recipe(made[1] / "recipe.yaml")
    for split in ("train", "val", "test"):
        data = ManifestDataset(recipe.data, split, label_list(recipe.data))
        assert len(data) >= 16
        for i in range(len(data)):
            assert set(data[i].inputs) == set(recipe.data.modalities), data[i]


def test_the_recipe_beside_the_data_is_the_one_returned(made: tuple[DataSet, Path]) -> None:
    task, folder = made
    assert load_recipe(folder / "recipe.yaml") == task.prepare(folder, False)


def test_whole_data_are_used_again(made: tuple[DataSet, Path]) -> None:
    task, folder = made
    replace(task, write=lambda *_: pytest.fail("made again")).prepare(folder, False)


def test_data_of_other_settings_are_left_alone(made: tuple[DataSet, Path]) -> None:
    task, folder = made
    before = bytes_of(folder)
    with pytest.raises(DataSetError, match=r"holds data made with .*; name another folder or remove this one"):
        task.prepare(folder, True)
    assert bytes_of(folder) == before


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(folder: Path, *_: object) -> None:
        (folder / "half.npy").write_bytes(b"")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(DRAWN[0], write=stop).prepare(tmp_path / "data", False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataSetError, match="holds something else"):
        DRAWN[0].prepare(tmp_path, False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("task", [task for task in DATA_SETS.values() if task.needs], ids=lambda task: task.name)
def test_real_data_that_are_missing_are_asked_for(task: DataSet, tmp_path: Path) -> None:
    for data in (None, tmp_path):
        with pytest.raises(DataSetError, match=rf"data set {task.name} needs .* of the real data, but"):
            task.prepare(tmp_path / "data", False, data)
    assert list(tmp_path.iterdir()) == []


def test_names_are_those_of_the_table() -> None:
    assert all(name == task.name and task.about.endswith(".") for name, task in DATA_SETS.items())


@pytest.mark.parametrize("name", ["digits", "mosi"])
def test_recipes_in_the_package_are_those_beside_it(name: str) -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / f"{name}.yaml")
    sections = {section: dict(values) for section, values in DATA_SETS[name].recipe(True).items()}
    own = build_recipe(sections, name)
    assert own.train.unimodal_loss == 0  # the studies' results were made by the joint loss alone
    train = replace(own.train, unimodal_loss=recipe.train.unimodal_loss)
    assert replace(own, data=replace(own.data, manifest=recipe.data.manifest), train=train) == recipe
