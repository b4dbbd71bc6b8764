"""A fleet's beginning and end, with processes made by hand."""

import json
import types

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import FleetConfig
from jitnet_tf.fleet import fleet
from jitnet_tf.fleet.dispatch import Figures
from jitnet_tf.fleet.outcome import ENDED, Outcome
from teacher import TeacherOptions

SUMMARY = {"complete": True, "frames": 9, "accuracy_before_update": 0.5, "teacher_fraction": 0.1}
READY, LOADING = Figures(batch=1), Figures()
REFUSED = Figures(problem="no such model", refused=True)


class Process:
    """A stream that ends at once."""

    def poll(self):
        return Outcome(ENDED, SUMMARY)

    def figures(self):
        return None


@pytest.fixture
def opened(tmp_path, monkeypatch, flags_of_runs):
    """Opens a fleet of one stream whose teacher is in these states, look by look."""
    (tmp_path / "list.csv").write_text("name,video\na,0\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"x")
    logdir = tmp_path / "fleet"
    logdir.mkdir()
    started = []

    def start_stream(*arguments):
        started.append((logdir / "fleet.json").read_text())
        return Process()

    def open_fleet(*states, stop_at=None, **how):
        looks = iter([*states, *[states[-1]] * 99])
        stop = types.SimpleNamespace(made=False)

        def figures():
            stop.made = stop.made or len(seen) == stop_at
            seen.append(next(looks))
            return [seen[-1]], 0, 0.0, 0.0

        seen = []
        pool = types.SimpleNamespace(figures=figures)
        for name, function in (
            *(("connect", lambda _: None), ("disconnect", lambda: None)),
            *(("check_resources", lambda _: None), ("start_pool", lambda *_: pool)),
            ("start_stream", start_stream),
        ):
            monkeypatch.setattr(fleet.cluster, name, function)
        monkeypatch.setattr(fleet, "TICK", 0)
        request = type("Stop", (), {"__enter__": lambda _: stop, "__exit__": lambda *_: None})
        monkeypatch.setattr(fleet, "StopRequest", request)
        config = FleetConfig(streams=str(tmp_path / "list.csv"), status_every=0.001)
        return fleet.Fleet(config, str(tmp_path / "model"), TeacherOptions(), logdir, **how)

    open_fleet.started, open_fleet.logdir = started, logdir
    return open_fleet


def test_a_new_fleet_begins_once_a_teacher_is_ready(opened):
    with opened(LOADING, LOADING, READY) as found:
        assert not (opened.logdir / "fleet.json").exists()
        assert found.execute()["complete"]
    assert len(opened.started) == 1
    assert json.loads((opened.logdir / "fleet_summary.json").read_text())["frames"] == 9


def test_a_resumed_fleet_does_not_wait(opened):
    with opened(READY) as found:
        found.execute()
    with opened(LOADING, resume=True) as found:
        assert found.execute()["complete"]
    assert len(opened.started) == 2


@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": True}])
def test_a_teacher_that_cannot_be_opened_costs_nothing(opened, how):
    with opened(READY) as found:
        found.execute()
    (opened.logdir / "fleet_summary.json").write_text("kept")
    marker = (opened.logdir / "fleet.json").read_text()
    with opened(LOADING, REFUSED, **how) as found, pytest.raises(UserError, match="no such model"):
        found.execute()
    assert (opened.logdir / "fleet_summary.json").read_text() == "kept"
    assert (opened.logdir / "fleet.json").read_text() == marker


def test_what_is_interrupted_before_a_teacher_is_ready_has_not_begun(opened):
    with opened(LOADING, stop_at=3) as found, pytest.raises(KeyboardInterrupt):
        found.execute()
    assert opened.started == []
    assert [path.name for path in opened.logdir.iterdir() if path.suffix == ".json"] == []
