"""The tables of davis, from results by hand."""

import pytest

from experiments.reports import davis
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from tests.builders import made_result, markdown_tables


def result(name, method, J=(0.5, 1, 0), F=(0.25, 0, 0.125), **changes):
    """A result with mean, recall and decay of J and F."""
    summary = {"teacher_fraction": 0.25, **changes.pop("summary", {})}
    measures = {
        measure: dict(zip(davis.STATISTICS, values, strict=True))
        for measure, values in {"J": J, "F": F}.items()
    }
    classes = ["person", "bike"]
    return made_result(name, method, summary=summary, davis=measures, classes=classes, **changes)


def report_of(*results):
    return davis.report(Results(results))


def test_tables():
    no_training = {"teacher_fraction": 0, "updates": 0}
    updates = {"annotation_updates": 9}
    text = report_of(
        result("a", "jitnet_0.9", J=(0.5, 0.75, 0.1), summary={"updates": 4}),
        result("a", "first_annotation", summary=no_training, settings=updates),
        result("b", "jitnet_0.9", J=(0.7, 0.25, -0.3), F=(0.75, 1, -0.0002)),
        result("b", "teacher", summary={"teacher_fraction": 1, "updates": 0}),
    )
    found = {table.title.split()[0]: table.cells for table in markdown_tables(text)}
    assert list(found["Mean"]) == ["Teacher", "JITNet 0.9", "First annotation"]  # in their order
    assert found["Mean"]["JITNet 0.9"] == {
        "J mean": "60.0",
        "J recall": "50.0",
        "J decay": "-10.0",
        "F mean": "50.0",
        "F recall": "50.0",
        "F decay": "6.2",
        "teacher frames (updates)": "25.0 (4)",
    }
    assert set(found["Mean"]["Teacher"].values()) == {"–"}  # no mean over a part of the sequences
    assert list(found["Region"]) == ["mean", "a (person, bike)", "b (person, bike)"]
    assert found["Region"]["mean"]["JITNet 0.9"] == "60.0 / 50.0 / -10.0"
    assert found["Contour"]["b (person, bike)"]["JITNet 0.9"] == "75.0 / 100.0 / 0.0"
    assert found["Contour"]["a (person, bike)"]["Teacher"] == "– / – / –"
    assert found["Teacher"]["a (person, bike)"]["First annotation"] == "0.0 (9)"
    assert found["Teacher"]["a (person, bike)"]["JITNet 0.9"] == "25.0 (4)"
    assert found["Teacher"]["b (person, bike)"]["Teacher"] == "100.0 (0)"
    assert found["Made"]["annotation_updates"] == {"": "9"}
    assert found["Made"]["machine"] == {"": "2 cores of a CPU, no GPU"}


def test_results_of_another_table_are_refused():
    for other in (made_result("a", "jitnet_0.9"), made_result("a", "oracle")):
        with pytest.raises(UserError, match=rf"{other['method']} on a .* experiments\.davis"):
            report_of(result("b", "teacher"), other)


def test_other_methods_follow():
    table, *_ = markdown_tables(report_of(result("a", "defaults"), result("a", "teacher")))
    assert list(table.cells) == ["Teacher", "defaults"]
