"""Tables, sections and numbers in Markdown."""

import pytest

from experiments.reports import markdown
from tests.builders import markdown_table


def test_sections_are_read_as_they_are_written():
    text = markdown.sections(
        [
            ("One", markdown.table(["", "a"], [["x", "1"], ["y", "–"]]), "A note."),
            ("Two", markdown.table(["", "b"], []), ""),
        ]
    )
    assert markdown_table(text, "One").cells == {"x": {"a": "1"}, "y": {"a": "–"}}
    assert (markdown_table(text, "Two").head, markdown_table(text, "Two").rows) == (["", "b"], [])
    assert "\n\nA note.\n\n**Two**\n\n" in text


def test_a_mean_is_unknown_if_one_value_is():
    assert markdown.mean(value for value in (1, 2)) == 1.5
    assert markdown.mean([1, None]) is None
    assert markdown.mean([]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (markdown.percent(0.1234), "12.3"),
        (markdown.percent(0.1234, 2), "12.34"),
        (markdown.milliseconds(0.0125), "12.5"),
        (markdown.times(2.504), "2.5×"),
        (markdown.times(2.504, 2), "2.50×"),
        (markdown.number(12.6, 0), "13"),
        (markdown.short(99.94), "99.9"),
        (markdown.short(250.4), "250"),
        *((write(None), "–") for write in (markdown.percent, markdown.times, markdown.short)),
    ],
)
def test_numbers(text, expected):
    assert text == expected
