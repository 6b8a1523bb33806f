"""YAML that anybody may have written: every fault is one line with its place, and nothing swells or runs."""

from pathlib import Path

import pytest

from locomt.train.config import RecipeError
from locomt.train.yaml_text import MOST_BYTES, parse_yaml, read_yaml

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "line 2: not valid YAML: the key 'c' is there twice"),
        ("a: &a {t: *a}", "line 1: not valid YAML: the value contains itself"),
        ("a: &a [1, *a]", "the value contains itself"),
        (LAUGHS, "line 5: not valid YAML: more than 100,000 values"),
        ("a: " + "[" * 200, "line 1: not valid YAML: |nested more than 100 deep"),
        ("a: " + "[" * 5000, "nested more than 100 deep|line 1"),
        ("a: 1\nb: !!python/object/apply:os.system [x]", "line 2: not valid YAML: could not determine a constructor"),
        ("a:\n\tb: 1", "line 2: not valid YAML: found character"),
        ("a: 1\nb: 2024-13-45", "line 2: not valid YAML: '2024-13-45' is no timestamp"),
        ('a: !!int ""', "'' is no int"),
        ("a: !!bool maybe", "'maybe' is no bool"),
        ("a: 0x" + "f" * 5000, "is larger than any number here"),
        ("a: " + "9" * 5000, "is no int"),
        ('a: 1\nb: "\0"', "line 2: not valid YAML: the character 0x0"),
        ("a: {b: 1", "line 1: not valid YAML"),
    ],
)
def test_faults_have_their_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"^x.yaml.*({message})"):
        parse_yaml(text, "x.yaml")


def test_anchors_and_merged_keys_serve() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]"
    values = parse_yaml(text, "x.yaml")
    assert values == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": [{"x": 1, "y": 2}] * 2}
    assert parse_yaml("", "x.yaml") is None


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: \xff\xfe")
    with pytest.raises(RecipeError, match=r"x\.yaml, line 2: expected YAML in UTF-8"):
        read_yaml(path)
    path.write_bytes(b"a" * (MOST_BYTES + 1))
    with pytest.raises(RecipeError, match="of at most 1,048,576 bytes, got more"):
        read_yaml(path)
