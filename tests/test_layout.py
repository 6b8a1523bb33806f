import pytest

from locomt import TokenLayout


def test_places_and_total() -> None:
    layout = TokenLayout({"video": 5, "audio": 0, "text": 3})
    assert layout.total == 8
    assert layout.offsets == (0, 5, 5, 8)
    assert layout.slice("text") == slice(5, 8)
    assert layout == TokenLayout([("video", 5), ("audio", 0), ("text", 3)])
    assert layout != TokenLayout({"audio": 0, "video": 5, "text": 3})


def test_class_tokens_lead_each_modality() -> None:
    layout = TokenLayout({"video": 5, "audio": 0, "text": 1}, {"video": 2, "text": 3})
    assert layout.class_tokens == {"video": 2, "audio": 1, "text": 3}
    assert layout.segments == (2, 3, 0, 0, 1, 0)
    plain = TokenLayout({"video": 5, "audio": 0, "text": 1})
    assert layout != plain
    assert plain == TokenLayout(plain.as_dict(), {"audio": 1})
    assert repr(plain) == f"TokenLayout({plain.as_dict()})"
    assert "'text': 3" in repr(layout)


@pytest.mark.parametrize("class_tokens", [{"b": 1}, {"a": 0}, {"a": True}, {"a": 1.0}])
def test_class_tokens_that_cannot_be_are_refused(class_tokens: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="class token"):
        TokenLayout({"a": 3}, class_tokens)


@pytest.mark.parametrize("lengths", [{"a": -1}, {"a": 1.5}, {"a": True}, {}, {"self": 3}])
def test_bad_layouts_are_refused(lengths: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected|cannot be used"):
        TokenLayout(lengths)
