"""The tables of table2, from results by hand."""

import pytest

from experiments.reports import table2
from experiments.reports.results import Results
from tests.builders import made_result, markdown_table


def report_of(*results):
    return table2.report(Results(results))


def cells(text, title):
    """Row → column → cell of the table with this title."""
    return markdown_table(text, title).cells


@pytest.fixture
def report():
    """Three streams in two categories; one lacks a method."""
    return report_of(
        made_result("a", "jitnet_0.8", 0.9, category="fixed"),
        made_result("b", "jitnet_0.8", 0.6, category="fixed"),
        made_result("c", "jitnet_0.8", 0.3, category="traffic"),
        made_result("a", "flow_slow", 0.8, category="fixed"),
        made_result("b", "flow_slow", 0.7, category="fixed"),
        made_result(
            "c",
            "never_adapted",
            0.05,
            category="traffic",
            summary={"teacher_frames": 0, "teacher_fraction": 0.0, "updates": 0},
        ),
    )


def test_averages_are_means_over_streams(report):
    rows = cells(report, "all frames")
    assert list(rows) == [
        "overall",
        "fixed",
        "traffic",
        "a (person)",
        "b (person)",
        "c (person)",
        "*the paper, overall*",
    ]
    # In the table's order, and only methods that have results.
    assert list(rows["overall"]) == ["Never adapted", "Flow slow", "JITNet 0.8"]
    column = {name: row["JITNet 0.8"] for name, row in rows.items()}
    assert column["overall"] == "60.0 (20.0)"
    assert column["fixed"] == "75.0 (20.0)"
    assert column["traffic"] == column["c (person)"] == "30.0 (20.0)"
    assert column["*the paper, overall*"] == "78.6 (4.7)"
    assert rows["fixed"]["Flow slow"] == "75.0 (20.0)"
    updates = cells(report, "Updates")
    assert {row["JITNet 0.8"] for row in updates.values()} == {"3"}
    assert updates["fixed"]["Flow slow"] == "0"


def test_missing_values_are_dashes(report):
    rows = cells(report, "all frames")
    for name in ("overall", "traffic", "c (person)"):
        assert rows[name]["Flow slow"] == "–"  # no mean over a part of the streams
    assert rows["a (person)"]["Never adapted"] == "–"
    assert rows["c (person)"]["Never adapted"] == "5.0"  # without a teacher there is no fraction
    assert rows["*the paper, overall*"]["Never adapted"] == "–"
    assert cells(report, "Flicker")["c (person)"]["Flow slow"] == "–"


def test_frames_without_the_teacher(report):
    rows = cells(report, "did not see")
    assert rows["fixed"] == {"Never adapted": "–", "Flow slow": "65.0", "JITNet 0.8": "65.0"}
    assert "*the paper, overall*" not in rows


def test_speedups(report):
    rows = cells(report, "Speedup")
    jitnet = list(rows["JITNet 0.8"].values())
    # Here: .5 s for the teacher, 1.3 s for ten frames and three updates, .2 s for an update.
    assert jitnet == [
        "2.50×",
        f"{10 * 0.5 / (8 * 0.1 + 2 * 0.5 + 3 * 0.2):.2f}×",
        f"{10 * 300 / (8 * 7 + 2 * 300 + 3 * 30):.2f}×",
        f"{10 * 1390 / (8 * 15.2 + 2 * 1390 + 3 * 42):.2f}×",
        "13.5×",  # the paper's own
        "–",
    ]
    # .8 s for eight frames; the paper states no cost of flow alone.
    assert list(rows["Flow slow"].values()) == [
        "2.50×",
        f"{10 * 0.5 / (0.8 + 2 * 0.5):.2f}×",
        "–",
        "–",
        "2.2×",
        "–",
    ]


def test_the_oracle_has_no_speedup():
    """Its training and its labels are not part of the run."""
    text = report_of(made_result("a", "oracle"))
    assert list(cells(text, "Speedup")["Offline oracle"].values()) == ["–"] * 6


def test_the_papers_speedup():
    """Without training and teacher frames a student saves what one inference does."""
    never = {"teacher_frames": 0, "teacher_fraction": 0.0, "updates": 0}
    text = report_of(made_result("a", "never_adapted", summary=never))
    row = list(cells(text, "Speedup")["Never adapted"].values())
    assert row[2:] == [f"{300 / 7:.2f}×", f"{1390 / 15.2:.2f}×", "–", "–"]


def test_milliseconds(report):
    rows = cells(report, "Milliseconds")
    assert list(rows["JITNet 0.8"].values())[:3] == ["500.0", "100.0", "200.0"]
    assert list(rows["Flow slow"].values())[:3] == ["500.0", "100.0", "–"]
    by_frame = {name: cell for name, cell in rows["JITNet 0.8"].items() if "by frame" in name}
    assert by_frame == {
        "infer, by frame": "80.0",
        "trial, by frame": "20.0",
        "update, by frame": "60.0",
        "flow, by frame": "–",
        "warp, by frame": "–",
    }


def test_flicker(report):
    rows = cells(report, "Flicker")
    assert rows["a (person)"] == {
        "Teacher": "25.0",
        "Never adapted": "–",
        "Flow slow": "12.5",
        "JITNet 0.8": "12.5",
    }


def test_unknown_values_are_dashes():
    unknown = {"speedup": None, "teacher_seconds_per_frame": None}
    text = report_of(
        made_result("a", "jitnet_0.8", None, summary=unknown),
        made_result("b", "jitnet_0.8", flicker={"prediction": None, "teacher": None}),
    )
    assert cells(text, "all frames")["overall"]["JITNet 0.8"] == "–"
    assert list(cells(text, "Speedup")["JITNet 0.8"].values())[:2] == ["–", "–"]
    assert cells(text, "Flicker")["b (person)"] == {"Teacher": "–", "JITNet 0.8": "–"}
    assert list(cells(text, "all frames")) == [  # one category is the same as all
        "overall",
        "a (person)",
        "b (person)",
        "*the paper, overall*",
    ]


def test_origin(report):
    rows = cells(report, "Made with")
    values = {name: next(iter(row.values())) for name, row in rows.items()}
    assert values["recorded teacher"] == "a teacher"
    assert "a CPU" in values["machine"]
    assert values["versions"] == "tensorflow 2"
    assert (values["init"], values["seed"], values["flow"]) == ("pretrained", "0", "dis")
    assert "oracle_steps" not in values  # no oracle is among the results


def test_results_of_older_versions_still_print():
    """They count the forward pass of every attempt as "infer"."""
    old = {"seconds": {"infer": 1.3, "score": 0.5, "update": 0.6}}
    text = report_of(made_result("a", summary=old))
    row = list(cells(text, "Milliseconds")["JITNet 0.8"].values())
    assert row == ["500.0", "100.0", "200.0", "130.0", "50.0", "60.0"]


def test_any_method_can_be_a_row():
    text = report_of(made_result("a"), made_result("a", "max_updates=4,skip=False", 0.25))
    rows = cells(text, "all frames")
    assert rows["a (person)"] == {
        "JITNet 0.8": "50.0 (20.0)",
        "max_updates=4,skip=False": "25.0 (20.0)",
    }
    assert rows["*the paper, overall*"]["max_updates=4,skip=False"] == "–"
