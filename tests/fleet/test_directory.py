"""The folder of a fleet: what it may replace."""

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.fleet import directory
from jitnet_tf.runs import directory as runs

TEACHER = "recorded:recordings/{name}.recording", None


def write_run(folder):
    runs.start(RunConfig(video="a.mp4", logdir=str(folder)), {})
    (folder / "frames.jsonl").write_text("{}")


def check(logdir, resume=False, overwrite=False):
    directory.check(logdir, *TEACHER, resume=resume, overwrite=overwrite)


def test_a_folder_is_a_new_fleets_until_it_is_started(tmp_path):
    for _ in range(2):
        check(tmp_path)
    directory.start(tmp_path, *TEACHER, False)
    with pytest.raises(UserError, match="holds a fleet: give --resume"):
        check(tmp_path)
    check(tmp_path, resume=True)
    check(tmp_path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_runs_of_no_fleet_are_never_deleted(tmp_path, overwrite):
    write_run(tmp_path / "street")
    with pytest.raises(UserError, match=r"runs that are no fleet's \(street\)"):
        check(tmp_path, overwrite=overwrite)


def test_an_overwritten_fleet_leaves_no_run_behind(tmp_path):
    directory.start(tmp_path, *TEACHER, False)
    write_run(tmp_path / "gate")  # which the new list may not have
    (tmp_path / "fleet_summary.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    check(tmp_path, overwrite=True)
    assert (tmp_path / "gate" / "frames.jsonl").exists()
    assert not directory.overwrites(tmp_path)
    directory.start(tmp_path, *TEACHER, True)
    assert directory.overwrites(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"fleet.json", "notes.txt"}


def test_what_is_no_run_is_not_deleted(tmp_path):
    directory.start(tmp_path, *TEACHER, False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"of": "another program"}')
    with pytest.raises(UserError, match=r"other/config\.json' is not a run's"):
        check(tmp_path, overwrite=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match="holds no fleet"):
        check(tmp_path, resume=True)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "jitnet_tf fleet 9"}'])
def test_a_damaged_marker(tmp_path, text):
    directory.marker_in(tmp_path).write_text(text)
    with pytest.raises(UserError, match="damaged, or of another version"):
        check(tmp_path, resume=True)
    check(tmp_path, overwrite=True)
