"""The efficiency command: points, table and plot from results by hand."""

import types

import pytest

from experiments import efficiency, methods
from experiments.efficiency import Point
from experiments.methods import jitnet
from experiments.protocol import jobs, streams
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from tests.builders import made_result, markdown_table, write_result, write_stream_list
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

STUDENT = "accuracy_threshold=0.8"
FLOW = "flow_fast"


def result(stream="a", method=STUDENT, iou=0.5, **summary):
    return made_result(stream, method, iou, summary=summary)


def never_adapted(stream="a"):
    changes = {"teacher_frames": 0, "teacher_fraction": 0.0, "updates": 0}
    return result(stream, "never_adapted", 0.2, **changes, seconds={"infer": 1.0})


def near(**values):
    return Point(**{name: pytest.approx(value) for name, value in values.items()})


# Points


def test_a_students_point():
    spent = 2 * 0.5 + 8 * 0.1 + 3 * 0.2
    expected = near(mean_iou=50, teacher=20, updates=3, ms=1000 * spent / 10, speedup=5 / spent)
    assert efficiency.point([result()]) == expected


def test_a_point_of_flow():
    spent = 2 * 0.5 + 8 * (0.7 + 0.1) / 8
    expected = near(mean_iou=50, teacher=20, updates=0, ms=1000 * spent / 10, speedup=5 / spent)
    assert efficiency.point([result(method=FLOW)]) == expected


def test_a_point_without_a_teacher_costs_inference_alone():
    expected = near(mean_iou=20, teacher=0, updates=0, ms=100, speedup=0.5 / 0.1)
    assert efficiency.point([never_adapted()]) == expected


def test_another_time_of_the_teacher():
    """200 ms instead of 500 ms."""
    spent = 2 * 0.2 + 8 * 0.1 + 3 * 0.2
    found = efficiency.point([result()], 200)
    assert (found.ms, found.speedup) == pytest.approx((1000 * spent / 10, 2 / spent))
    unknown = result(teacher_seconds_per_frame=None)
    assert efficiency.point([unknown], 200) == found


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_an_unknown_time_of_the_teacher_is_refused(seconds):
    with pytest.raises(UserError, match="--teacher_ms"):
        efficiency.point([result(), result("b", teacher_seconds_per_frame=seconds)])


def test_a_point_is_the_mean_over_streams():
    one, two = result("a", iou=0.4), result("b", iou=0.9, teacher_frames=4, teacher_fraction=0.4)
    found = efficiency.point([one, two])
    alone = [efficiency.point([r]) for r in (one, two)]
    assert found.mean_iou == pytest.approx(65)
    assert found.teacher == pytest.approx(30)
    # Of streams' own figures, not of sums.
    assert found.ms == pytest.approx((alone[0].ms + alone[1].ms) / 2)
    assert found.speedup == pytest.approx((alone[0].speedup + alone[1].speedup) / 2)


# Curves


def test_labels_name_the_settings_of_their_methods(monkeypatch):
    """Labels change a student's threshold or both strides, and nothing else."""
    found = []
    monkeypatch.setattr(jitnet, "distiller", lambda context, **changes: found.append(changes))
    context = types.SimpleNamespace(settings=methods.named("defaults").take({}))
    by_threshold = efficiency.CURVES["JITNet, by threshold"]
    by_stride = efficiency.CURVES["fixed stride, 0.8"]
    for method in (*by_threshold.values(), *by_stride.values()):
        methods.named(method).make(context)
    student = RunConfig().student
    assert found == [
        *({"accuracy_threshold": float(label), "student": student} for label in by_threshold),
        *(
            {"min_stride": int(label), "max_stride": int(label), "student": student}
            for label in by_stride
        ),
    ]
    assert [min(by_threshold), max(by_threshold)] == ["0.5", "0.95"]
    assert f"{RunConfig().accuracy_threshold}" in by_threshold
    assert all(methods.named(method) for method in efficiency.METHODS)


def test_methods_that_lack_a_stream_are_left_out():
    found = efficiency.curves(
        Results(
            [result("a"), result("b"), result("a", FLOW), never_adapted("a"), never_adapted("b")]
        )
    )
    assert list(found) == ["JITNet, by threshold", "never adapted"]
    assert list(found["JITNet, by threshold"]) == ["0.8"]
    with pytest.raises(UserError, match="every stream"):
        efficiency.curves(Results([result("a"), result("b", FLOW)]))


def test_points_are_in_the_order_of_thresholds():
    made = [result(method=f"accuracy_threshold={t}") for t in (0.95, 0.5, 0.85)]
    [points] = efficiency.curves(Results(made)).values()
    assert list(points) == ["0.5", "0.85", "0.95"]


def everything():
    return Results([result(), result(method="accuracy_threshold=0.9", iou=0.7), never_adapted()])


def test_report():
    text = efficiency.report(everything())
    table = markdown_table(text)
    assert table.head[1:] == ["mean IoU", "teacher frames, %", "updates", "ms a frame", "speedup"]
    assert table.rows == [
        ["JITNet, by threshold: 0.8", "50.0", "20.0", "3", "240.0", "2.1×"],
        ["JITNet, by threshold: 0.9", "70.0", "20.0", "3", "240.0", "2.1×"],
        ["never adapted", "20.0", "0.0", "0", "100.0", "5.0×"],
    ]
    assert "500 ms" in text
    assert text.endswith("Streams: a. 2 cores of a CPU, no GPU.")
    assert "200 ms" in efficiency.report(everything(), 200)


def test_plot():
    found = efficiency.curves(everything())
    figure = efficiency.draw(found)
    figure.canvas.draw()
    by_teacher, by_cost = figure.axes
    for axis, students, alone in ((by_teacher, [20, 20], [0]), (by_cost, [240, 240], [100])):
        by_threshold, never = axis.lines
        assert list(by_threshold.get_xdata()) == pytest.approx(students)
        assert list(by_threshold.get_ydata()) == pytest.approx([50, 70])
        assert (list(never.get_xdata()), list(never.get_ydata())) == (
            pytest.approx(alone),
            pytest.approx([20]),
        )
        assert [text.get_text() for text in axis.texts] == ["0.8", "0.9", ""]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(found)
    colors = {line.get_color() for line in by_cost.lines}
    assert len(colors) == 2


def test_every_curve_is_in_the_plot():
    found = efficiency.curves(Results([result(method=method) for method in efficiency.METHODS]))
    assert list(found) == list(efficiency.CURVES)
    axis = efficiency.draw(found).axes[0]
    assert len({line.get_color() for line in axis.lines}) == len(efficiency.CURVES)
    assert sum(len(line.get_xdata()) for line in axis.lines) == len(efficiency.METHODS)


# The command


def test_print(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran something"))
    for made in everything():
        write_result(tmp_path / "there", made)
    before = sorted(tmp_path.rglob("*"))
    assert run_command(efficiency, f"--print={tmp_path}/there") == 0
    assert capsys.readouterr().out == efficiency.report(everything()) + "\n"
    assert sorted(tmp_path.rglob("*")) == before
    plot = f"--plot={tmp_path}/p.png"
    assert run_command(efficiency, f"--print={tmp_path}/there", "--teacher_ms=200", plot) == 0
    assert efficiency.report(everything(), 200) in capsys.readouterr().out
    assert (tmp_path / "p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--streams is missing"),
        (["--print=nowhere"], "'nowhere'"),
        (["--print=nowhere", "--plot=p.pdf"], ".png"),
        (["--print=nowhere", "--teacher_ms=0"], "teacher_ms"),
        (["--study=width"], "'study'"),
    ],
)
def test_invalid_flags_are_refused(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert named in refusal(efficiency, tmp_path, capsys, *arguments)


@pytest.fixture
def listed(tmp_path):
    found = [write_square_stream(tmp_path, name, 4) for name in ("a", "b")]
    write_stream_list(tmp_path, found)
    return [f"--streams={tmp_path}/list.csv", f"--results={tmp_path}/results"]


def test_only_chosen_methods_run_and_are_shown(listed, tmp_path, monkeypatch, capsys):
    asked = []

    def run(pairs, settings, place, *_):
        for stream, _, method in pairs:
            asked.append((stream.name, method, settings))
            made = result(stream.name, method)
            write_result(place, {**made, "recorded": streams.recorded(stream)})
        return True

    monkeypatch.setattr(jobs, "run", run)
    results = tmp_path / "results"
    write_result(results, never_adapted("c"))  # of another list
    only = f"--only=b,{FLOW},{STUDENT}"
    assert run_command(efficiency, *listed, only, "--oracle_steps=9") == 0
    assert [found[:2] for found in asked] == [("b", method) for method in (STUDENT, FLOW)]
    assert methods.settings_of("oracle", asked[0][2])["oracle_steps"] == 9
    text = (results / "efficiency.md").read_text()
    assert text == efficiency.report(Results([result("b"), result("b", FLOW)])) + "\n"
    assert capsys.readouterr().out.startswith(text)
    assert (results / "efficiency.png").exists()
    asked.clear()
    assert run_command(efficiency, *listed, only) == 0  # resumed
    assert asked == []


def test_results_of_another_seed_are_refused(listed, tmp_path, capsys):
    [stream, _] = streams.read_list(tmp_path / "list.csv")
    write_result(tmp_path / "results", {**result(), "recorded": streams.recorded(stream)})
    message = refusal(efficiency, tmp_path, capsys, *listed, "--seed=1")
    assert "another seed" in message


def test_only_refuses_unknown_names(listed, tmp_path, capsys):
    message = refusal(efficiency, tmp_path, capsys, *listed, "--only=accuracy_threshold=0.82")
    assert "'accuracy_threshold=0.82' is neither a method (accuracy_threshold=0.5, " in message
    assert "nor a stream (a, b)" in message
