"""The asynchronous command: frame rate, measurement, table, refusals."""

import functools
import json

import numpy as np
import pytest

from experiments import asynchronous
from experiments.asynchronous import Pace
from experiments.protocol.streams import to_csv
from experiments.reports import costs
from tests.commands import refusal, run_command
from tests.materials import write_square_stream, write_teacher

COUNT = 24


class Clock:
    """A clock that advances only by sleeps and work; sleeps are a little too short."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += max(0.75 * seconds, 1e-9)


def handed_out(fps, work):
    """The times of the frames, if the work on each takes `work` seconds; and the Pace."""
    clock = Clock()
    pace = Pace(range(len(work)), fps, clock, clock.sleep)
    times = []
    for index, seconds in zip(pace, work, strict=True):
        assert index == len(times)
        times.append(clock.now - 100)
        clock.now += seconds
    return times, pace


def test_frames_come_at_their_rate():
    times, pace = handed_out(4, [0, 0.2, 0, 0.1, 0])
    np.testing.assert_allclose(times, [0, 0.25, 0.5, 0.75, 1], atol=1e-6)
    assert min(np.array(times) - [0, 0.25, 0.5, 0.75, 1]) >= 0
    np.testing.assert_allclose(pace.delays, 0, atol=1e-6)
    assert pace.behind() == 0


def test_late_frames_catch_up():
    # Due: 0, .25, .5, .75, 1, 1.25. The first takes .8.
    times, pace = handed_out(4, [0.8, 0.125, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(times, [0, 0.8, 0.925, 0.925, 1, 1.25], atol=1e-6)
    np.testing.assert_allclose(pace.delays, [0, 0.55, 0.425, 0.175, 0, 0], atol=1e-6)
    assert pace.behind() == 2  # the next was due; on the third late one it was not


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A list of two streams, and a live teacher."""
    folder = tmp_path_factory.mktemp("streams")
    streams = [write_square_stream(folder, name, COUNT) for name in ("square", "other")]
    (folder / "list.csv").write_text(to_csv(streams, folder, folder).replace("None", ""))
    write_teacher(folder / "teacher")
    return folder


@pytest.fixture(scope="module")
def measured(material):
    output = material / "new" / "table.json"
    arguments = [f"--streams={material}/list.csv", f"--teacher={material}/teacher"]
    arguments += ["--only=square", "--max_staleness=9", f"--output={output}"]
    assert run_command(asynchronous, *arguments) == 0
    return output


@pytest.mark.slow
def test_measurement_is_written(measured):
    values = json.loads(measured.read_text("utf-8"))
    assert (list(values["streams"]), values["max_staleness"]) == (["square"], 9)
    assert values["teacher"]["teacher"] == "teacher"
    rows = values["streams"]["square"]
    assert list(rows) == ["frozen", "sync", "async"]
    for mode, row in rows.items():
        summary, latency = row["summary"], row["latency_ms"]
        assert (row["mode"], row["fps"], row["frames"], summary["frames"]) == (mode, 25, COUNT, 24)
        assert len(latency["all"]) == COUNT
        kept = [latency[name] for name in ("median", "p99", "max")]
        expected = [np.median(latency["all"]), np.percentile(latency["all"], 99)]
        np.testing.assert_allclose(kept, [*expected, max(latency["all"])], atol=0.01)
        assert 0 <= row["behind"]["frames"] < COUNT
        assert summary["mean_iou"] is not None
        assert row["frame_size"] == [64, 96]
    assert rows["frozen"]["summary"]["teacher_frames"] == 0
    assert rows["sync"]["summary"]["teacher_frames"] > 0
    assert rows["sync"]["summary"]["teacher_mode"] == "sync"
    late = rows["async"]["summary"]["staleness"]
    assert rows["async"]["summary"]["teacher_frames"] == 0 or 1 <= late["max"] <= 9
    # Asynchronous frames are only segmented; synchronous ones are trained on.
    for mode in ("frozen", "async"):
        total = 1000 * rows[mode]["summary"]["seconds"]["infer"]
        assert sum(rows[mode]["latency_ms"]["all"]) == pytest.approx(total, abs=0.01 * COUNT)
    parts = ("teacher", "labels", *costs.STUDENT_STAGES)
    total = 1000 * sum(rows["sync"]["summary"]["seconds"].get(name, 0) for name in parts)
    assert sum(rows["sync"]["latency_ms"]["all"]) == pytest.approx(total, abs=0.01 * COUNT)


@pytest.mark.slow
def test_printing_needs_only_the_file(measured, capsys, monkeypatch):
    monkeypatch.setattr(asynchronous, "measure", None)
    assert run_command(asynchronous, f"--print={measured}") == 0
    text = capsys.readouterr().out
    assert sum(line.startswith("| square |") for line in text.splitlines()) == 3
    assert "square 64×96 at 25.00 frames/s. Teacher: teacher, staleness at most 9" in text


def example():
    def row(mode, median, p99, **summary):
        common = {"mean_iou": 0.5, "teacher_fraction": 0.0, "updates": 0}
        return {
            "mode": mode,
            "fps": 25.0,
            "frames": 100,
            "frame_size": [720, 1280],
            "latency_ms": {"median": median, "p99": p99, "max": 999.0, "all": []},
            "behind": {"frames": 7, "most_s": 1.25},
            "summary": {**common, **summary},
        }

    late = {"mean": 31.25, "max": 64}
    return {
        "format": asynchronous.FORMAT,
        "settings": {"init": "pretrained", "seed": 0},
        "max_staleness": 64,
        "teacher": {"teacher": "mask"},
        "machine": {"cpu": "some processor", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2.15.1"},
        "streams": {
            "street": {
                "frozen": row("frozen", 40.0, 44.0, mean_iou=None),
                "sync": row("sync", 41.0, 3000.0, teacher_fraction=0.125, updates=99),
                "async": row("async", 42.0, 60.0, teacher_fraction=0.02, staleness=late),
            },
            "again": {"async": row("async", 1.0, 2.0, staleness={"mean": None, "max": 0})},
        },
    }


def test_the_table():
    text = asynchronous.render(example())
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    behind = "7 of 100 (1.2)"
    assert [row[1:] for row in rows if row[0] == "street"] == [
        *(
            ["student frozen, no teacher", *"–––", "–", "40.0", "44.0", "1.10×", behind],
            ["synchronous", "50.0", "12.5", "99", "–", "41.0", "3000.0", "75.00×", behind],
            ["asynchronous", "50.0", "2.0", "0", "31.2 / 64", "42.0", "60.0", "1.50×", behind],
        )
    ]
    [row] = [row for row in rows if row[0] == "again"]
    assert row[5:9] == ["–", "1.0", "2.0", "–"]
    assert "2 cores of some processor, no GPU; tensorflow 2.15.1" in text
    assert "street 720×1280 at 25.00 frames/s; again" in text


@pytest.fixture
def refused(material, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asynchronous, "measure", None)  # nothing that is refused gets so far

    return functools.partial(refusal, asynchronous, tmp_path, capsys)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"output": None}, "--output=FILE.json"),
        ({"print": "b.json"}, "--print=FILE.json"),
        ({"streams": None}, "--streams is missing"),
        ({"teacher": None}, "--teacher is missing"),
        ({"streams": "nowhere.csv"}, "'nowhere.csv'"),
        ({"teacher": "recorded:x"}, "'recorded:x'"),
        ({"only": "square,round"}, "'round'"),
        ({"init": "nowhere"}, "'nowhere'"),
        ({"output": "."}, "--output=. exists"),
        ({"max_staleness": 0}, "max_staleness"),
    ],
)
def test_invalid_flags_are_refused(refused, material, changes, named):
    values = {"streams": material / "list.csv", "teacher": material / "teacher"}
    values = {**values, "output": "a.json", **changes}
    assert named in refused(*(f"--{n}={v}" for n, v in values.items() if v is not None))


def test_files_of_another_kind_are_refused(refused, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"format": "experiments.table1, 1"}))
    assert "--print=a.json" in refused("--print=a.json")
