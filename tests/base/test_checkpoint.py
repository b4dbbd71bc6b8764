"""Checkpoints: atomic writes, round trips, damaged and hostile files."""

import gc
import io
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet_tf.base import checkpoint, files
from jitnet_tf.base.errors import UserError

PROGRESS = {
    "frames": 123,
    "stride": 64,
    "complete": False,
    "statistics": {"sum": 0.1 + 0.2, "names": ["a", "ü"], "none": None},
}


def state():
    random = np.random.default_rng(0)
    return {
        "weights/stem1/kernel": random.normal(size=(3, 3, 3, 8)).astype(np.float32),
        "weights/stem1_norm/gamma": np.float32([1e-45, -0.0, np.inf, np.nan]),
        "momentum/000": np.zeros((0, 4), np.float32),
        "iterations": np.array(2**40, np.int64),
        "flags": np.array([True, False]),
        "bytes": np.arange(256, dtype=np.uint8).reshape(16, 16).T,
    }


def assert_same(a, b):
    assert list(a) == list(b)
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture
def saved(tmp_path):
    checkpoint.save(tmp_path, state(), PROGRESS)
    return tmp_path / checkpoint.NAME


def test_round_trip(saved):
    for path in (saved, saved.parent, str(saved), str(saved.parent)):
        arrays, progress = checkpoint.load(path)
        assert_same(arrays, state())
        assert progress == PROGRESS
    assert [path.name for path in saved.parent.iterdir()] == [checkpoint.NAME]


def test_round_trip_without_arrays(tmp_path):
    checkpoint.save(tmp_path, {}, {})
    assert checkpoint.load(tmp_path) == ({}, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=8,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_any_progress_is_restored(tmp_path_factory, progress):
    folder = tmp_path_factory.getbasetemp()
    checkpoint.save(folder, {"a": np.ones(2)}, progress)
    assert checkpoint.load(folder)[1] == progress


def test_the_last_checkpoint_replaces_the_one_before(saved):
    checkpoint.save(saved.parent, {"other": np.ones(3)}, {"frames": 200})
    arrays, progress = checkpoint.load(saved)
    assert list(arrays) == ["other"]
    assert progress == {"frames": 200}


# Replaced as a whole or not at all


def test_a_failing_write_leaves_the_old_file(saved):
    def write(file):
        file.write(b"half of it")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(saved, write)
    assert_same(checkpoint.load(saved)[0], state())
    checkpoint.save(saved.parent, {"next": np.ones(1)}, {})  # and the next one succeeds
    assert list(checkpoint.load(saved)[0]) == ["next"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told_once(saved, monkeypatch):
    """A ZipFile that could not write would print a traceback when it is deleted."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    saved.with_name(f"{saved.name}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(saved.parent, {"a": np.zeros(99_999)}, {})
    gc.collect()
    assert told == []
    assert_same(checkpoint.load(saved)[0], state())


def test_progress_that_is_not_json_leaves_the_old_checkpoint(saved):
    with pytest.raises(TypeError):
        checkpoint.save(saved.parent, state(), {"frames": object()})
    assert checkpoint.load(saved)[1] == PROGRESS


KILLED = """
import os, signal, sys
from jitnet_tf.base import files
def write(file):
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
files.write_atomically(sys.argv[1], write)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill -9")
def test_a_kill_during_a_write_leaves_the_old_file(saved):
    killed = subprocess.run([sys.executable, "-c", KILLED, saved], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert_same(checkpoint.load(saved.parent)[0], state())


def test_data_is_on_disk_before_it_replaces_the_old_file(tmp_path, monkeypatch):
    path, events = tmp_path / "file", []
    path.write_bytes(b"old")
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        fsync(descriptor)
        events.append(("fsync", os.fstat(descriptor).st_size))

    def watched_replace(source, target):
        events.append(("replace", pathlib.Path(target).read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    files.write_atomically(path, lambda file: file.write(b"newer"))
    assert events[:2] == [("fsync", 5), ("replace", b"old")]
    assert path.read_bytes() == b"newer"


def test_write_text(tmp_path):
    files.write_text(tmp_path / "a.json", "größer\n")
    assert (tmp_path / "a.json").read_bytes() == "größer\n".encode()


def test_unwritable_folders_are_refused(tmp_path):
    with pytest.raises(OSError, match="missing"):
        checkpoint.save(tmp_path / "missing", {}, {})


# Other files

NO_CHECKPOINT = "is not a checkpoint"


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def compressed(**arrays):
    """A file that unpacks to a thousand times its size."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npz_with_progress(**arrays):
    packed = np.frombuffer(json.dumps(PROGRESS).encode(), np.uint8)
    return npz(**arrays, **{"progress.json": packed})


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def refusal(path, content):
    """The message for a file of this content, which is not a checkpoint."""
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        checkpoint.load(path)
    return str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a text\n",
        b"PK\x03\x04 the beginning of a zip file and no more",
        npy(np.arange(5)),
        npz(a=np.arange(5)),  # no progress
        npz(**{"progress.json": np.frombuffer(b"{not JSON", np.uint8)}),
        npz(**{"progress.json": np.frombuffer(b"\xff\xfe\xfa", np.uint8)}),
        npz(**{"progress.json": np.frombuffer(b"[]", np.uint8)}),
        npz(**{"progress.json": np.frombuffer(b"[" * 100_000, np.uint8)}),
        compressed(**{"progress.json": np.frombuffer(b"{}", np.uint8), "a": np.zeros(1 << 20)}),
        zipped(**{"a.txt": "text"}),
        zipped(**{"progress.json": "{}"}),
        zipped(**{"progress.json.npy": b"\x93NUMPY\x01\x00 damaged"}),
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.npz"
    assert f"{str(path)!r} {NO_CHECKPOINT}" in refusal(path, content)


def test_a_pickle_is_not_read(tmp_path):
    trace = tmp_path / "ran"
    bomb = np.array([Bomb(trace)], object)
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()  # the bomb works
    trace.unlink()
    for content in (
        pickle.dumps(Bomb(trace)),
        npy(bomb),
        npz(bomb=bomb),
        npz_with_progress(bomb=bomb),
        npz(**{"progress.json": bomb}),
        zipped(**{"progress.json.npy": pickle.dumps(Bomb(trace))}),
    ):
        trace.unlink(missing_ok=True)  # in case pickling itself made it
        assert NO_CHECKPOINT in refusal(tmp_path / "file.npz", content)
        assert not trace.exists()


@pytest.mark.parametrize("name", ["missing.npz", "."])
def test_missing_checkpoints_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"checkpoint\.npz|missing\.npz") as error:
        checkpoint.load(tmp_path / name)
    assert "does not exist" in str(error.value)


def test_truncated_checkpoints_are_refused(saved):
    content = saved.read_bytes()
    for length in range(0, len(content), 97):
        assert f"{str(saved)!r} {NO_CHECKPOINT}" in refusal(saved, content[:length]), length


@settings(max_examples=100)
@given(st.data())
def test_damage_anywhere_is_harmless_or_a_user_error(tmp_path_factory, data):
    arrays = {"weights/a": np.arange(6, dtype=np.float32), "momentum/000": np.ones((2, 2), "f")}
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **arrays, **{"progress.json": np.frombuffer(b"{}", np.uint8)})
    content = data.draw(st.sampled_from([npz_with_progress(**arrays), compressed.getvalue()]))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(damaged)
    try:
        loaded, _ = checkpoint.load(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017 (any other exception fails the test)
    else:
        # A flipped bit may hit a file time or a name; then the content is unchanged.
        for name in loaded.keys() & arrays.keys():
            np.testing.assert_array_equal(loaded[name], arrays[name])
