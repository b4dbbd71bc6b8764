"""Exports while a run goes on: when, of which student, and what happens if they fail."""

import concurrent.futures
import dataclasses
import json
import os
import signal
import threading
import types
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base import compat
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.labels import class_groups
from jitnet_tf.runs import exporter, model_versions, serving
from jitnet_tf.runs.exporter import Exporter, Model
from jitnet_tf.runs.model_versions import DESCRIPTION, EXTRA, TFLITE
from jitnet_tf.runs.run import Run
from jitnet_tf.student import weights
from jitnet_tf.student.build import build_student
from tests.materials import SIZE, write_square_stream
from tests.materials import frames as pictures

EVERY = 600.0


class Process:
    """Stands for a BackgroundProcess; its only call is answered by the test."""

    made = ()

    def __init__(self):
        self.answer, self.frame = concurrent.futures.Future(), None
        self.ended = self.closed = False
        type(self).made += (self,)

    def submit(self, function, model, frame, arrays):
        assert function is exporter.write_version
        self.frame = frame
        return self.answer

    def end(self):
        self.ended = True

    def close(self):
        self.closed = True


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(exporter, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(exporter, "BackgroundProcess", Process)
    monkeypatch.setattr(Process, "made", ())
    return clock


@pytest.fixture
def opened(clock, tmp_path):
    config = RunConfig(logdir="l", export_every=EVERY, export_dir=str(tmp_path / "models"))
    return Exporter(Model(config, class_groups("lvs"), SIZE))


def distiller(index):
    """A distiller before frame `index`."""
    student = types.SimpleNamespace(model=types.SimpleNamespace(layers=[]))
    return types.SimpleNamespace(index=index, student=student)


def frames():
    return [process.frame for process in Process.made]


def test_one_export_at_a_time_by_wall_clock(opened, clock):
    for minutes, index in ((0, 1), (9.9, 2), (10, 3), (19, 4), (20, 5)):
        clock.now = 60 * minutes
        opened.offer(distiller(index))
    assert frames() == [2]  # that of minute 20 was skipped
    assert ["left out" in problem and ": 1;" in problem for problem in opened.problems] == [True]
    Process.made[0].answer.set_result(1)
    assert (Process.made[0].ended, Process.made[0].closed) == (True, False)  # memory is free
    opened.offer(distiller(6))
    assert frames() == [2]
    clock.now = 30 * 60
    opened.offer(distiller(7))
    assert frames() == [2, 6]
    assert Process.made[0].closed


@pytest.mark.parametrize(("index", "expected"), [(3, [2]), (4, [2, 3])])
def test_the_latest_student_is_exported_at_the_end_once(opened, clock, index, expected):
    clock.now = EVERY
    opened.offer(distiller(3))

    def answer():
        for number in range(len(expected)):
            while len(Process.made) <= number:
                threading.Event().wait(0.001)
            Process.made[number].answer.set_result(number + 1)

    answering = threading.Thread(target=answer)
    answering.start()
    opened.finish(distiller(index))
    answering.join()
    assert frames() == expected
    assert opened.problems == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [(UserError("disk full"), "disk full"), (BrokenProcessPool(), "the end of")],
)
def test_a_failure_is_counted_and_the_next_one_tried(opened, clock, error, reason):
    for number in (1, 2):
        clock.now += EVERY
        opened.offer(distiller(number))
        Process.made[-1].answer.set_exception(error)
    clock.now += EVERY
    opened.offer(distiller(3))
    assert frames() == [0, 1, 2]
    [problem] = opened.problems
    assert f": 2; the latest because of {reason}" in problem


def test_a_process_that_cannot_be_started_is_a_failure(opened, clock, monkeypatch):
    def refuse(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(Process, "submit", refuse)
    clock.now = EVERY
    opened.offer(distiller(1))
    assert "no more processes" in opened.problems[0]
    opened.close()


def test_a_run_without_exports_has_none(clock):
    without = Exporter(Model(RunConfig(), class_groups("lvs"), SIZE))
    without.offer(distiller(1))
    without.finish(distiller(2))
    without.close()
    assert frames() == []
    assert without.problems == []


def test_a_run_of_no_frames_exports_nothing(opened):
    opened.finish(distiller(0))
    assert frames() == []


@pytest.mark.parametrize("name", ["logdir", "masks", "output"])
def test_a_folder_of_other_outputs_is_refused(tmp_path, name):
    folders = {"logdir": "l", name: str(tmp_path), "export_dir": f"{tmp_path}/."}
    config = RunConfig(export_every=EVERY, segment=60.0, **folders)
    with pytest.raises(UserError, match=f"--export_dir=.* is also --{name}={tmp_path}"):
        Exporter(Model(config, class_groups("lvs"), SIZE))


def test_so_is_the_default_folder_of_an_overlay_in_segments(tmp_path):
    folders = {"logdir": str(tmp_path), "export_dir": str(tmp_path / "overlay")}
    config = RunConfig(export_every=EVERY, segment=60.0, **folders)
    with pytest.raises(UserError, match=r"--export_dir=.* is also --output=.*overlay"):
        Exporter(Model(config, class_groups("lvs"), SIZE))


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # which is changed

    def fail(student, function, path):
        path.mkdir()
        (path / "saved_model.pb").write_text("half")
        raise OSError("no space")

    monkeypatch.setattr(serving, "build_exported", lambda *_: distiller(0).student)
    monkeypatch.setattr(serving, "serving_function", lambda *_, **__: None)
    monkeypatch.setattr(serving, "write_saved_model", fail)
    config = RunConfig(logdir="l", export_every=1.0, export_dir=str(tmp_path))
    with pytest.raises(UserError, match="no space"):
        exporter.write_version(Model(config, class_groups("lvs"), SIZE), 3, {})
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_died_leaves_nothing(opened, clock, tmp_path):
    clock.now = EVERY
    opened.offer(distiller(1))
    model_versions.begin(tmp_path / "models").mkdir()
    Process.made[0].answer.set_exception(BrokenProcessPool())
    opened.finish(distiller(0))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", 12)


@pytest.fixture
def config(material, tmp_path):
    return RunConfig(
        video=material.video,
        teacher=f"recorded:{material.recording}",
        logdir=str(tmp_path / "run"),
        output="none",
        init="random",
        min_stride=1,
        max_stride=1,
        max_updates=1,
        export_every=1e-6,
        export_dir=str(tmp_path / "models"),
        export_keep=2,
        student=StudentConfig(width=0.25),
    )


def load(folder, number):
    """Returns a function frame → class ids of a version, and its description."""
    loaded = tf.saved_model.load(str(folder / str(number)))
    signature = loaded.signatures["serving_default"]

    def segment(frame):
        assert loaded is not None  # keeps its variables
        outputs = signature(frame=tf.constant(frame[None]))
        np.testing.assert_array_equal(
            np.argmax(outputs["probabilities"], -1), outputs["classes"].numpy()
        )
        return outputs["classes"].numpy()[0]

    return segment, json.loads((folder / str(number) / EXTRA / DESCRIPTION).read_bytes())


def test_a_version_computes_what_the_student_does(tmp_path, monkeypatch):
    """In this process, for a student of other weights than it would begin with."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # which is changed
    ignored = np.zeros(SIZE, bool)
    ignored[:10] = True
    config = RunConfig(
        logdir="my run",
        export_every=1.0,
        export_dir=str(tmp_path),
        export_tflite=True,
        seed=3,
        init="random",
        student=StudentConfig(width=0.25),
    )
    groups = class_groups("lvs")
    student = build_student(config, groups, SIZE, ignored)
    variables = weights.named(student.model)
    arrays = {name: array + 0.01 for name, array in weights.arrays(variables).items()}
    weights.assign(variables, arrays)
    model = Model(dataclasses.replace(config, seed=4), groups, SIZE, ignored)
    assert exporter.write_version(model, 41, arrays) == 1
    [frame] = pictures(1)
    expected = student.infer(frame)
    assert expected.any()
    assert not expected[:10].any()
    segment, described = load(tmp_path, 1)
    np.testing.assert_array_equal(segment(frame), expected)
    assert described["classes"][:2] == ["background", "person"]
    assert (described["run"], described["frame"]) == ("my run", 41)
    assert described["frame_size"] == list(SIZE)
    content = (tmp_path / "1" / EXTRA / TFLITE).read_bytes()
    runner = compat.tflite_interpreter(content).get_signature_runner()
    outputs = runner(frame=frame[None])
    assert np.mean(outputs["classes"][0] == expected) > 0.999
    assert (outputs["probabilities"][0, :10, :, 0] == 1).all()
    assert (outputs["probabilities"][0, 10:, :, 0] < 1).any()


@pytest.mark.slow
def test_each_version_is_the_student_of_its_frame_while_the_run_goes_on(config, tmp_path):
    folder = tmp_path / "models"
    with Run(config) as run:
        for number in (1, 2):
            frame = run.advance().frame  # which begins an export
            expected, index = run.distiller.student.infer(frame), run.distiller.index - 1
            run.advance()  # trains on
            assert (run.distiller.student.infer(frame) != expected).any()
            run._exporter._pending.result()
            segment, described = load(folder, number)
            np.testing.assert_array_equal(segment(frame), expected)
            assert described["frame"] == index
        last = run.advance().frame
        summary = run.finish(complete=False)
        np.testing.assert_array_equal(load(folder, 3)[0](last), run.distiller.student.infer(last))
    assert model_versions.numbers(folder) == [2, 3]
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]
    [problem] = summary["problems"]
    assert "left out" in problem


@pytest.mark.slow
def test_a_killed_export_leaves_no_version_and_the_run_goes_on(config, tmp_path):
    with Run(config) as run:
        run.advance()
        [child] = run._exporter._process._pool._processes.values()
        child.kill()
        with pytest.raises(BrokenProcessPool):
            run._exporter._pending.result()
        assert model_versions.numbers(tmp_path / "models") == []
        run.advance()
        summary = run.finish()
    assert model_versions.numbers(tmp_path / "models") == [1]
    assert ["because of the end of" in problem for problem in summary["problems"]] == [True]


@pytest.mark.slow
def test_a_run_that_is_left_ends_its_export(config, tmp_path):
    with Run(config) as run:
        run.advance()
        [pid] = run._exporter._process._pool._processes
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())


def test_a_folder_of_other_things_is_refused_before_anything_is_written(config, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--export_dir=.* holds notes.txt"):
        Run(config)
    assert not (tmp_path / "run").exists()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["notes.txt"]
