"""Fused models that are worse than their best part: what is said of them, and what is not."""

from typing import Any

import pytest

from locomt.compare.best_part import below_best_part

PAGE = "see docs/modalities.md, 'Which modality does the work?'; "


def document(
    means: dict[str, float | None], *, better: str = "more", metric: str = "accuracy", **train: Any
) -> dict[str, Any]:
    """As much of a comparison as is looked at."""
    modalities = {"lips": {}, "sound": {}, "title": {}}
    settings = {"data": {"modalities": modalities}, "train": {"unimodal_loss": 1.0} | train}
    recipe = {"name": "clips", "metric": metric, "better": better, "settings": settings}
    rows = [{"recipe": "clips", "name": n, "metric": metric, "mean": m, "std": 0.007} for n, m in means.items()]
    return {"recipes": [recipe], "models": rows, "tuning": []}


def lines(*arguments: Any, **options: Any) -> list[str]:
    return [finding.line for finding in below_best_part(document(*arguments, **options))]


def test_by_how_much_below_which_part_and_what_to_do() -> None:
    means = {"locomt": 0.929, "mbt": 0.5, "selfall": 0.97, "lips": 0.2, "sound": 0.961}
    (finding,) = below_best_part(document(means, unimodal_loss=0.0))
    assert finding.line == (
        "locomt is 3.2 and mbt 46.1 points below sound alone (test accuracy 96.1 ± 0.7): "
        f"{PAGE}set train.unimodal_loss to 1, or use sound alone"
    )
    assert (finding.recipe, finding.part) == ("clips", "sound")
    assert finding.models == {"locomt": pytest.approx(0.032), "mbt": pytest.approx(0.461)}


def test_the_advice_is_about_what_is_not_done_yet() -> None:
    means = {"locomt": 0.9, "lips": 0.2, "sound": 0.96}
    (left,) = lines(means)
    assert left.endswith("; use sound alone, try train.augment.drop_modality, or train on more data")
    (left,) = lines(means, augment={"drop_modality": 0.5})
    assert left.endswith("; use sound alone, or train on more data")
    (left,) = lines({"locomt": 0.9, "sound": 0.96}, unimodal_loss=0.0)  # there are no losses of parts
    assert left.endswith("; use sound alone, try train.augment.drop_modality, or train on more data")
    tuned = document(means, unimodal_loss=0.0)
    tuned["tuning"] = [{"points": [{"values": {"train.unimodal_loss": "0"}}]}]
    assert "set train.unimodal_loss" not in below_best_part(tuned)[0].line


@pytest.mark.parametrize(
    "means",
    [
        {"locomt": 0.97, "lips": 0.2, "sound": 0.96},
        {"locomt": 0.96, "lips": 0.96, "sound": 0.96},
        {"locomt": 0.9599, "sound": 0.96},  # less than is shown
        {"locomt": None, "sound": 0.96},
        {"locomt": 0.5, "sound": None},
        {"lips": 0.2, "sound": 0.96},
        {"locomt": 0.5, "mbt": 0.9},
        {"lips+title": 0.3, "lips": 0.2, "title": 0.1, "sound": 0.96},  # which hears nothing
    ],
)
def test_nothing_is_said_where_nothing_is_below(means: dict[str, float | None]) -> None:
    assert lines(means) == []


def test_each_model_is_held_against_its_own_parts() -> None:
    found = below_best_part(document({"locomt": 0.9, "lips+title": 0.3, "lips": 0.4, "title": 0.1, "sound": 0.96}))
    assert [(finding.part, list(finding.models)) for finding in found] == [
        ("sound", ["locomt"]),
        ("lips", ["lips+title"]),
    ]


def test_samples_that_the_part_alone_lacks_are_said() -> None:
    made = document({"locomt": 0.9, "lips": 0.2, "sound": 0.96})
    for row, skipped in zip(made["models"], (1, 0, 40), strict=True):
        row |= {"samples": 100 - skipped, "skipped": skipped}
    (finding,) = below_best_part(made)
    assert "sound alone (test accuracy 96.0 ± 0.7, on the 60 of 100 samples that have it): see" in finding.line


def test_less_is_better_where_it_is() -> None:
    (line,) = lines({"locomt": 0.75, "lips": 0.9, "sound": 0.5}, better="less", metric="mae")
    assert line.startswith("locomt is 0.250 worse than sound alone (test mae 0.500 ± 0.007): see")
    assert lines({"locomt": 0.4, "lips": 0.9, "sound": 0.5}, better="less", metric="mae") == []


def test_several_recipes_are_named() -> None:
    one = document({"locomt": 0.9, "sound": 0.96})
    other = {**one["recipes"][0], "name": "other"}
    rows = [{**row, "recipe": "other"} for row in one["models"]]
    found = below_best_part({"recipes": [*one["recipes"], other], "models": [*one["models"], *rows]})
    assert [finding.line.split(":")[0] for finding in found] == ["clips", "other"]
