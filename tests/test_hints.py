from locomt.hints import did_you_mean


def test_a_close_name_is_offered_and_a_far_one_is_not() -> None:
    assert did_you_mean("frame", ["frames", "size"]) == "did you mean 'frames'?"
    assert did_you_mean("colour", ["frames", "size"], "the fields are frames, size") == "the fields are frames, size"
