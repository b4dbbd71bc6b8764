"""Locks: one process at a time, none left by a killed one, nothing left by any."""

import contextlib
import errno
import multiprocessing
import os
import subprocess
import sys

import pytest

from jitnet_tf.base import locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.locks import InUseError, Lock

HOLD = """
import sys, time
from jitnet_tf.base.locks import Lock
lock = Lock(sys.argv[1], "logdir", is_folder=True)
print("held", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def another_process(path):
    """A process that holds a folder; it is killed at the end."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_another_process_is_refused_until_it_is_killed(tmp_path):
    """The message names it; its kill leaves no lock."""
    logdir = tmp_path / "runs" / "street"
    with another_process(logdir) as process:
        with pytest.raises(InUseError) as refused:
            Lock(logdir, "logdir", is_folder=True)
        assert f"--logdir={logdir} is in use by process {process.pid}:" in str(refused.value)
    assert (logdir / locks.NAME).exists()
    with Lock(logdir, "logdir", is_folder=True):
        pass
    assert list(logdir.iterdir()) == []


def test_a_second_hold_in_one_process_is_refused_too(tmp_path):
    with Lock(tmp_path, "logdir", is_folder=True):
        with pytest.raises(InUseError, match=f"process {os.getpid()}:"):
            Lock(tmp_path, "logdir", is_folder=True)
        # The refused one has taken nothing away.
        with pytest.raises(InUseError):
            Lock(tmp_path, "logdir", is_folder=True)


def test_every_name_of_an_output_has_one_lock(relative):
    (relative / "real").mkdir()
    (relative / "link").symlink_to("real")
    with Lock("link", "logdir", is_folder=True), pytest.raises(InUseError):
        Lock(relative / "real", "masks", is_folder=True)
    with Lock("real/out.mp4", "output"), pytest.raises(InUseError):
        Lock("./link/out.mp4", "output")
    with Lock("real/out.mp4", "output"), Lock("real", "logdir", is_folder=True):
        pass


def test_nothing_is_left(tmp_path):
    lock = Lock(tmp_path / "a" / "b" / "street.recording", "output")
    (tmp_path / "a" / "mine").touch()
    lock.release()
    lock.release()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_a_child_does_not_inherit_it(tmp_path):
    """A teacher's process that outlives its parent for a moment holds nothing."""
    lock = Lock(tmp_path / "run", "logdir", is_folder=True)
    child = multiprocessing.get_context("spawn").Process(target=sys.stdin.read)
    program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, close_fds=False) as process:
        child.start()
        lock.release()
        Lock(tmp_path / "run", "logdir", is_folder=True).release()
        process.stdin.close()
    child.join()


def test_a_file_deleted_by_its_last_owner_is_not_held(tmp_path, monkeypatch):
    """The owner deletes it between the opening and the locking of the next one."""
    first = Lock(tmp_path, "logdir", is_folder=True)
    opened = locks.Lock._sign
    calls = []

    def sign(lock, descriptor):
        if not calls:
            calls.append(lock)
            lock.file.unlink()  # as if it had been opened before
            lock.file.touch()
        opened(lock, descriptor)

    first.release()
    monkeypatch.setattr(locks.Lock, "_sign", sign)
    with Lock(tmp_path, "logdir", is_folder=True), pytest.raises(InUseError):
        Lock(tmp_path, "logdir", is_folder=True)
    assert calls


def test_a_file_system_without_locks_is_a_problem_not_an_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.filelock.FileLock, "acquire", refuse)
    with Lock(tmp_path / "run", "logdir", is_folder=True) as lock:
        assert f"--logdir={tmp_path}/run" in lock.problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/proc/run", "file", "file/run"])
def test_what_cannot_be_written_is_refused(relative, path):
    (relative / "file").touch()
    with pytest.raises(UserError, match=rf"--logdir={path} cannot be written"):
        Lock(path, "logdir", is_folder=True)


def test_several_outputs_are_held_or_none(relative):
    outputs = [("logdir", "run", True), ("output", "o.mp4", False), ("masks", "run", True)]
    with contextlib.ExitStack() as stack:
        assert locks.hold(stack, outputs) == []
        with contextlib.ExitStack() as other, pytest.raises(InUseError, match=r"--output=\./o"):
            locks.hold(other, [("logdir", "run2", True), ("output", "./o.mp4", False)])
    assert list(relative.iterdir()) == []
