"""The tables of table3, from results by hand."""

import pytest

from experiments.reports import table3
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from tests.builders import made_result, markdown_table


def result(name, method, iou=0.5, **changes):
    """A result of ninety frames, three of them teacher frames with thirty steps in all."""
    summary = {
        "frames": 90,
        "teacher_frames": 3,
        "teacher_fraction": 3 / 90,
        "updates": 30,
        "speedup": 0.25,
        "seconds": {"infer": 9.0, "update": 60.0, "labels": 1.5, "decode": 40, "teacher": 0.1},
        **changes.pop("summary", {}),
    }
    values = {
        "category": "Animals",
        "classes": ["dog"],
        "recorded": {"recorded_teacher": "a teacher", "frame_size": [480, 720]},
        "initialised": "random, seed 0",
        **changes,
    }
    return made_result(name, method, iou, summary=summary, **values)


def report_of(*results):
    return table3.report(Results(results))


def rows_of(text, title):
    """Rows of the table with this title, its head first."""
    table = markdown_table(text, title)
    return [table.head, *table.rows]


@pytest.fixture
def report():
    """Three streams in two categories; one lacks a method."""
    fast = {"speedup": 8.0, "teacher_fraction": 0.05}
    return report_of(
        result("a", "osvos_a", 0.9),
        result("b", "osvos_a", 0.6, summary={"speedup": 0.75}),
        result("c", "osvos_a", 0.3, category="Traffic"),
        result("a", "osvos_b", 0.7),
        result("b", "osvos_b", 0.7),
        *(
            result(n, "jitnet_0.8", 0.8, category=c, summary=fast, initialised="pretrained")
            for n, c in (("a", "Animals"), ("b", "Animals"), ("c", "Traffic"))
        ),
    )


def test_accuracy(report):
    head, *rows = rows_of(report, "IoU in %")
    assert head == ["", "OSVOS A", "OSVOS B", "JITNet 0.8"]
    assert rows[:6] == [
        ["overall", "60.0 (0.42×, 3.3 %)", "–", "80.0 (8.0×, 5.0 %)"],
        ["Animals", "75.0 (0.5×, 3.3 %)", "70.0 (0.25×, 3.3 %)", "80.0 (8.0×, 5.0 %)"],
        ["Traffic", "30.0 (0.25×, 3.3 %)", "–", "80.0 (8.0×, 5.0 %)"],
        ["a (dog)", "90.0 (0.25×, 3.3 %)", "70.0 (0.25×, 3.3 %)", "80.0 (8.0×, 5.0 %)"],
        ["b (dog)", "60.0 (0.75×, 3.3 %)", "70.0 (0.25×, 3.3 %)", "80.0 (8.0×, 5.0 %)"],
        ["c (dog)", "30.0 (0.25×, 3.3 %)", "–", "80.0 (8.0×, 5.0 %)"],
    ]
    # The paper's seven rows.
    assert [row[0] for row in rows[6:]] == [f"*the paper: {name}*" for name in table3.PAPER]
    assert rows[6][1:] == ["59.9", "60.0", "77.4 (14.5×, 4.6 %)"]


def test_the_papers_rows(shared):
    text = shared("paper.txt").read_text()
    for name, (a, b, jitnet) in table3.PAPER.items():
        assert f"{name}\t{a}\t{b}\t{jitnet.replace(' %', '%')}" in text


def test_costs(report):
    head, *rows = rows_of(report, "Cost")
    found = {(row[0], row[1]): dict(zip(head[2:], row[2:], strict=True)) for row in rows}
    # 9 + 60 + 1.5 s, and .5 s for each of three teacher frames; decoding is left out.
    assert found["OSVOS A", "a"] == {
        "frames": "90",
        "teacher frames": "3 (3.3 %)",
        "steps on a teacher frame": "10.0",
        "seconds of these": "20.00",
        "inference, ms": "100.0",
        "seconds for 30 frames": "24.00",
        "seconds in all": "72",
        "speedup over the teacher": "0.25×",
    }
    everything = found["OSVOS A", "all"]
    assert everything["frames"] == "270"
    assert everything["teacher frames"] == "9 (3.3 %)"
    assert everything["seconds of these"] == "20.00"
    assert everything["seconds in all"] == "216"
    assert everything["speedup over the teacher"] == "0.42×"
    assert ("OSVOS B", "c") not in found
    assert found["OSVOS B", "all"]["frames"] == "180"


def test_origin(report):
    values = dict(rows_of(report, "Made with"))
    assert values["OSVOS A started from"] == "random, seed 0"
    assert values["JITNet 0.8 started from"] == "pretrained"
    assert values["osvos_steps"] == "500"
    assert values["osvos_seconds"] == "30.0"
    assert values["osvos_scale"] == "1.0"
    assert values["recorded teacher"] == "a teacher"
    assert values["teacher's time"] == "recorded"
    assert values["frames"] == "a 480×720; b 480×720; c 480×720"


def test_unknown_values_are_dashes():
    unknown = {"mean_iou": None, "speedup": None, "teacher_seconds_per_frame": None}
    text = report_of(result("a", "osvos_a", summary=unknown))
    _, *rows = rows_of(text, "IoU in %")
    assert rows[0] == ["overall", "– (–, 3.3 %)", "–", "–"]
    _, row = rows_of(text, "Cost")
    assert row[-3:] == ["23.50", "70", "–"]  # without the teacher's time


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {"osvos_steps": 7}}, "different osvos_steps (500, 7)"),
        ({"initialised": "x.npz, sha256 0"}, "different initial weights (random, seed 0, x.npz"),
    ],
)
def test_results_that_differ_are_refused(changes, named):
    results = [result("a", "osvos_a"), result("b", "osvos_a", **changes)]
    with pytest.raises(UserError) as info:
        report_of(*results)
    assert f"osvos_a were made with {named}" in str(info.value)
    # Other methods may differ.
    results[1]["method"] = "jitnet_0.8"
    assert "JITNet 0.8" in report_of(*results)


def test_results_of_other_tables_are_ignored():
    with pytest.raises(UserError, match="there is no result of OSVOS or JITNet"):
        report_of(result("a", "flow_slow"))
    of_table_2 = result("a", "jitnet_0.8")
    del of_table_2["initialised"]
    with pytest.raises(UserError, match=r"jitnet_0.8 on a is not of experiments\.table3"):
        report_of(of_table_2)


def test_other_methods_follow():
    made = result("a", "max_updates=4", 0.75)
    head, overall, *_, paper = rows_of(report_of(result("a", "jitnet_0.8"), made), "IoU in %")
    assert head == ["", "OSVOS A", "OSVOS B", "JITNet 0.8", "max_updates=4"]
    assert (overall[-1], paper[-1]) == ("75.0 (0.25×, 3.3 %)", "–")
