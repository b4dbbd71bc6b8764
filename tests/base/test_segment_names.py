"""The names of segments."""

import pytest

from jitnet_tf.base.segment_names import first_of, name_of, utc_of


@pytest.mark.parametrize("first", [0, 123, 12_345_678_901])
def test_a_name_tells_time_and_first_frame(first):
    name = name_of(1795929108, first)
    assert name.startswith("20261129T051148Z-")
    assert (first_of(name), utc_of(name)) == (first, 1795929108)


@pytest.mark.parametrize("name", ["000123.png", "20261129T051148Z", "x20261129T051148Z-000000123"])
def test_others_are_no_segments(name):
    assert first_of(name) is None
