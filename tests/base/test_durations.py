"""Durations in words."""

import hypothesis
import pytest
from hypothesis import strategies

from jitnet_tf.base import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        (" 10 min ", 600),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("7d", 604800),
        ("600.0", 600),
        ("1e3", 1000),
    ],
)
def test_parse(text, seconds):
    assert durations.parse(text) == seconds
    assert durations.Parser().parse(text) == seconds
    assert durations.Parser().parse(seconds) == seconds


@pytest.mark.parametrize(
    "text", ["", "min", "10 minutes", "-5", "1,5h", "nan", "inf", "5m", "1h30"]
)
def test_invalid(text):
    with pytest.raises(ValueError, match="duration"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (90, "90s"), (600, "10min"), (86400, "1d"), (0.5, "0.5s"), (5400, "90min")],
)
def test_show(seconds, text):
    assert durations.show(seconds) == text
    assert durations.parse(text) == seconds


def test_for_ever():
    assert durations.show(float("inf")) == "for ever"


@hypothesis.given(strategies.integers(0, 10**6))
def test_shown_durations_are_read_back(seconds):
    assert durations.parse(durations.show(seconds)) == seconds
