"""Jobs: results are kept, missing ones are made, failures are one line."""

import concurrent.futures
import json
import os
import pathlib
import signal
import threading

import pytest
import tensorflow as tf

from experiments.methods import METHODS, settings_of
from experiments.protocol import jobs
from experiments.protocol.streams import Stream
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from tests.builders import made_result

RESULT = made_result(method="oracle")


RECORDED = {"recorded_teacher": "t", "recorded_teacher_sha256": "0", "frame_size": [48, 64]}


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    """The facts of all streams' recordings."""
    made_of = dict(RECORDED)
    monkeypatch.setattr(jobs.streams, "recorded", lambda stream: made_of)
    return made_of


def stream(name="a", **changes):
    values = {"category": "c", "classes": ("person", "dog"), "video": "v", "recording": "r"}
    return Stream(name, **{**values, "max_frames": None, **changes})


def write_result(results, made_of, method):
    path = jobs.folder(results, made_of.name, method) / jobs.RESULT
    path.parent.mkdir(parents=True)
    values = {"method": method, "stream": vars(made_of), "settings": settings_of(method)}
    path.write_text(json.dumps({**RESULT, **values, "recorded": RECORDED}))
    return path


# Results


def test_paths_of_results():
    assert jobs.folder("runs/x", "a", "oracle") == pathlib.Path("runs/x/a/oracle")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps(RESULT).encode()[:-9],
        b"[]",
        b"5",
        b"null",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        *(json.dumps({**RESULT, name: None}).encode() for name in jobs.REQUIRED),
        *(
            json.dumps({**RESULT, part: {**RESULT[part], name: value}}).encode()
            for part, name, value in (
                ("stream", "classes", [5]),
                ("summary", "frames", 0),
                ("summary", "mean_iou", "0.5"),
                ("summary", "updates", 1e300),
                ("summary", "seconds", {"infer": None}),
                ("machine", "cores", None),
            )
        ),
        json.dumps({**RESULT, "method": "osvos"}).encode(),
        json.dumps({**RESULT, "method": ["oracle"]}).encode(),
    ],
)
def test_damaged_results_are_refused(tmp_path, content):
    path = tmp_path / "a" / "oracle" / "result.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    named = f"'{path}' is not a result"
    with pytest.raises(UserError, match=named):
        jobs.load(path)
    with pytest.raises(UserError, match=named):
        Results.load(tmp_path)
    with pytest.raises(UserError, match=named):
        jobs.still_to_do([(stream(), "oracle")], tmp_path, {})


def test_all_results(tmp_path):
    for name, method in (("b", "oracle"), ("a", "oracle"), ("a", "flow_fast")):
        write_result(tmp_path, stream(name), method)
    (tmp_path / "a" / "jitnet_0.8" / "masks").mkdir(parents=True)  # interrupted
    (tmp_path / "table2.md").write_text("x")
    found = [(r["stream"]["name"], r["method"]) for r in Results.load(tmp_path)]
    assert found == [("a", "flow_fast"), ("a", "oracle"), ("b", "oracle")]


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_no_results(tmp_path, name):
    with pytest.raises(UserError, match=f"no results in '.*{name}'"):
        Results.load(tmp_path / name)


def test_pairs_with_a_result_are_done(tmp_path):
    work = [(stream(name), method) for name in "ab" for method in ("oracle", "flow_fast")]
    assert jobs.still_to_do(work, tmp_path, {}) == work
    assert not any(tmp_path.iterdir())
    for done in work[1:3]:
        write_result(tmp_path, *done)
    assert jobs.still_to_do(work, tmp_path, {}) == [work[0], work[3]]


@pytest.mark.parametrize(
    ("settings", "different"),
    [
        ({"seed": 1}, "seed"),
        ({"init": "run"}, "init"),
        ({"oracle_steps": 9}, "oracle_steps"),
        ({"fixed_stride": 9}, None),  # the oracle has none
        ({"flow": "pwcnet", "pwcnet_dense": "w"}, None),
    ],
)
def test_results_of_other_settings_are_refused(tmp_path, settings, different):
    path = write_result(tmp_path, stream(), "oracle")
    work = [(stream(), "oracle")]
    if different is None:
        assert jobs.still_to_do(work, tmp_path, settings) == []
        return
    with pytest.raises(UserError, match=f"{path} .* another {different}"):
        jobs.still_to_do(work, tmp_path, settings)


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({"classes": ("person",)}, "classes"),
        ({"max_frames": 9}, "max_frames"),
        ({"video": "moved/v", "recording": "moved/r", "category": "d"}, None),
    ],
)
def test_results_of_another_stream_are_refused(tmp_path, changes, different):
    write_result(tmp_path, stream(), "flow_slow")
    work = [(stream(**changes), "flow_slow")]
    if different is None:
        assert jobs.still_to_do(work, tmp_path, {}) == []
        return
    with pytest.raises(UserError, match=f"another {different}"):
        jobs.still_to_do(work, tmp_path, {})


@pytest.mark.parametrize("name", RECORDED)
def test_results_of_another_recording_are_refused(tmp_path, recorded, name):
    write_result(tmp_path, stream(), "flow_slow")
    recorded[name] = "other"
    with pytest.raises(UserError, match=f"another {name}"):
        jobs.still_to_do([(stream(), "flow_slow")], tmp_path, {})


# Runs with threads as workers; test_table2 has real processes


class Threads(concurrent.futures.ThreadPoolExecutor):
    """A pool of threads with the interface of the process pool that `jobs` uses."""

    def __init__(self, count, context, prepare, arguments):
        _, stop, steps = arguments
        jobs._worker.update(stop=stop, steps=steps)
        super().__init__(count)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs one stream with methods of any names; `evaluate` is given by the test."""
    monkeypatch.setattr(jobs, "_worker", {})
    monkeypatch.setattr(jobs.methods, "named", lambda name: METHODS["never_adapted"])
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Threads)

    def start(evaluate, *names, count=1):
        def evaluated(stream, frames, method, settings, masks, on_step):
            assert (stream.name, frames, settings) == ("a", 7, {})
            assert masks == tmp_path / "a" / method / "masks"
            masks.mkdir(parents=True)
            evaluate(method, on_step)
            return {"method": method}

        pairs = [(stream(), 7, name) for name in names]
        return jobs.run(pairs, {}, tmp_path, count, evaluated)

    return start


def results(tmp_path):
    return sorted(path.parent.name for path in tmp_path.glob("*/*/result.json"))


def test_all_run(run, tmp_path):
    assert run(lambda method, on_step: [on_step() for _ in range(7)], "a", "b", "c", count=2)
    assert results(tmp_path) == ["a", "b", "c"]
    written = (tmp_path / "a" / "b" / "result.json").read_text()
    assert json.loads(written) == {"method": "b", "jobs": 2}
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (UserError("the student diverged"), "the student diverged"),
        (OSError(28, "No space left on device"), "No space left"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "TensorFlow stopped (OOM)"),
        (MemoryError(), "TensorFlow stopped"),
        (concurrent.futures.BrokenExecutor(), "killed"),
    ],
)
def test_failures_stop_nothing_else(run, tmp_path, error, named):
    def evaluate(method, on_step):
        if method == "bad":
            raise error

    with pytest.raises(UserError, match=r"1 of 3 .* a bad: ") as raised:
        run(evaluate, "one", "bad", "two")
    assert named in str(raised.value)
    assert results(tmp_path) == ["one", "two"]


def test_a_bug_keeps_its_traceback(run, tmp_path):
    def evaluate(method, on_step):
        if method == "bad":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(evaluate, "one", "bad")
    assert results(tmp_path) == ["one"]


def test_a_killed_worker_ends_one_pool(run, tmp_path, monkeypatch):
    """Pairs that run at the same time fail too; the others run in one new pool."""
    pools = []

    class Counted(Threads):
        def __init__(self, *arguments):
            pools.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Counted)
    first_told, other = threading.Event(), threading.Event()

    def evaluate(method, on_step):
        if method == "killed":
            first_told.set()
            raise concurrent.futures.BrokenExecutor
        if method == "neighbor":
            first_told.wait()
            other.wait(0.1)
            raise concurrent.futures.BrokenExecutor
        assert len(pools) == 2

    with pytest.raises(UserError, match="2 of 4 "):
        run(evaluate, "killed", "neighbor", "one", "two", count=2)
    assert results(tmp_path) == ["one", "two"]
    assert len(pools) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(run, tmp_path, number):
    """A running evaluation ends at its next step without a result; waiting ones do not start."""
    before = signal.getsignal(number)
    began = []

    def evaluate(method, on_step):
        began.append(method)
        if method == "long":
            os.kill(os.getpid(), number)
            patient = threading.Event()
            while True:
                on_step()
                patient.wait(0.01)

    assert run(evaluate, "short", "long", "later") is False
    assert began == ["short", "long"]
    assert results(tmp_path) == ["short"]
    assert signal.getsignal(number) is before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_after_the_last_result_changes_nothing(run, tmp_path):
    assert run(lambda *_: os.kill(os.getpid(), signal.SIGINT), "only") is True
    assert results(tmp_path) == ["only"]
