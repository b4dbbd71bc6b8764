"""States of parts by prefix."""

import numpy as np
import pytest

from jitnet_tf.base.state import prefixed, with_prefix


def test_parts_of_a_state():
    whole = {**prefixed("a/", {"x": np.ones(2), "n": 3}), **prefixed("b/", {"x": np.zeros(2)})}
    assert list(whole) == ["a/x", "a/n", "b/x"]
    assert with_prefix("a/", whole).keys() == {"x", "n"}
    assert with_prefix("c/", whole) == {}


@pytest.mark.parametrize("value", [None, {"frame": 1}, [{"frame": 1}]])
def test_objects_are_refused_by_name(value):
    with pytest.raises(TypeError, match="sinks/mine/past"):
        prefixed("sinks/mine/", {"past": value})
