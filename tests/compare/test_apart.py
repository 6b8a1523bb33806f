"""A comparison says which models answer to each modality apart."""

from locomt.compare.apart import apart_lines


def run(name: str, apart: float | None, recipe: str = "clips") -> dict[str, object]:
    return {"recipe": recipe, "name": name, "best_epoch": {} if apart is None else {"apart": apart}}


def test_the_models_and_how_many_of_their_runs() -> None:
    runs = [run("locomt", 1.0), run("locomt", 0.0), run("locomt", 1.0), run("mbt", 0.0), run("video", None)]
    (line,) = apart_lines({"recipes": [{"name": "clips"}], "runs": runs})
    assert "in locomt (2 of 3 runs): " in line
    assert "mbt" not in line
    assert apart_lines({"recipes": [{"name": "clips"}], "runs": runs[3:]}) == []


def test_each_of_several_recipes_is_named() -> None:
    runs = [run("locomt", 1.0, "a"), run("mbt", 1.0, "b"), run("selfall", 0.0, "b")]
    first, second = apart_lines({"recipes": [{"name": "a"}, {"name": "b"}], "runs": runs})
    assert first.startswith("a: ")
    assert "locomt (1 of 1 runs)" in first
    assert second.startswith("b: ")
    assert "mbt (1 of 1 runs)" in second
