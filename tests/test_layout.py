import pytest

from locomt import TokenLayout


def test_places_and_total():
    layout = TokenLayout({"video": 5, "audio": 0, "text": 3})
    assert layout.total == 8
    assert layout.offsets == (0, 5, 5, 8)
    assert layout.slice("text") == slice(5, 8)
    assert layout == TokenLayout([("video", 5), ("audio", 0), ("text", 3)])
    assert layout != TokenLayout({"audio": 0, "video": 5, "text": 3})


@pytest.mark.parametrize("lengths", [{"a": -1}, {"a": 1.5}, {"a": True}, {}, {"self": 3}])
def test_bad_layouts_are_refused(lengths):
    with pytest.raises(ValueError, match=r"expected|cannot be used"):
        TokenLayout(lengths)
