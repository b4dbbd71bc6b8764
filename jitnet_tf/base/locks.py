"""Locks: a folder or a file is written by one process at a time.

The lock is the operating system's, on a hidden file in the folder or beside the file. It ends with
its process, also by kill -9, and child processes do not inherit it. The hidden file holds the
process's id; it is deleted with the lock, and one that a killed process has left does no harm.
"""

import contextlib
import errno
import os
import pathlib
import re
import socket
import sys
import time

import filelock

from jitnet_tf.base.errors import UserError

NAME = ".lock"  # in a folder; beside a file .FILE.lock
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of file systems such as NFS
TRIES = 5
SECONDS = 0.02  # between two tries


class InUseError(UserError):
    """Another process holds the lock."""


class _ReplacedError(Exception):
    """The locked file is no longer the one of its name: its last owner has deleted it."""


class Lock:
    """A hold on an output, which other processes are refused; use it as a context manager.

    Args:
      path: the output: a file or a folder, which need not exist. The folder of the lock is made,
        and deleted again if nothing else comes into it.
      flag: the flag that named it, for messages.
      is_folder: whether the output is a folder.
      wait: wait for another process, and say so, in place of UserError.
      otherwise: an alternative, for messages.

    Attributes:
      file: the hidden file.
      problem: a sentence if the file system knows no locks, so that nothing keeps other processes
        out; else None.

    Raises:
      InUseError: another process holds it.
      UserError: the folder cannot be written.
    """

    def __init__(self, path, flag, *, is_folder=False, wait=False, otherwise="choose another"):
        self._shown = f"--{flag}={path}" if flag else str(path)
        self.problem = None
        self.file = lock_file(path, is_folder)
        self._made = []
        self._lock = filelock.FileLock(
            self.file,
            thread_local=False,
            # Its substitute on file systems without locks would outlive a killed process.
            fallback_to_soft=False,
            on_acquired=self._sign,
        )
        try:
            self._acquire(wait)
        except BaseException as error:
            self._delete_empty_folders()
            if not isinstance(error, OSError):
                raise
            raise UserError(
                f"{self._shown} cannot be written ({error}): check the path and its permissions, "
                f"or {otherwise}"
            ) from None

    def _acquire(self, wait):
        for last in [False] * TRIES + [True]:
            try:
                self._make_folders()
                self._lock.acquire(blocking=False)
                return
            except filelock.Timeout:
                if not wait:
                    self._refuse()
                print(f"waiting for {self._holder()}, which holds {self.file}", file=sys.stderr)
                with contextlib.suppress(_ReplacedError):
                    self._lock.acquire()
                    return
            except (_ReplacedError, FileNotFoundError):  # its last owner deletes it right now
                if last:
                    raise
                time.sleep(SECONDS)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                self.file.unlink(missing_ok=True)
                self.problem = (
                    f"{self._shown} is on a file system without locks: make sure that no other "
                    "process writes there"
                )
                return

    def _make_folders(self):
        folder, missing = self.file.parent, []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster
                folder.mkdir()
                self._made.append(folder)

    def _sign(self, descriptor):
        """Writes who holds the lock into the file, once it is locked."""
        try:
            same = os.path.samestat(os.fstat(descriptor), os.stat(self.file))
        except FileNotFoundError:
            same = False
        if not same:
            raise _ReplacedError
        with contextlib.suppress(OSError):  # a full disk: the lock holds without it
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())

    def _refuse(self):
        raise InUseError(
            f"{self._shown} is in use by {self._holder()}: wait until that has ended, or choose "
            "another"
        ) from None

    def _holder(self):
        """Returns the process that holds the lock, in words."""
        for _ in range(TRIES):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if found := re.fullmatch(r"(\d+) (.*)\n", self.file.read_text("utf-8")):
                    number, host = found.groups()
                    return f"process {number}" + (
                        "" if host == socket.gethostname() else f" on {host}"
                    )
            time.sleep(SECONDS)  # it may be just about to write its number
        return "another process"

    def release(self):
        """Ends the hold; deletes the lock's file, and folders that were made for it and are empty.

        A second call does nothing.
        """
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # an open file, on Windows
                self.file.unlink()
            self._lock.release()
        self._delete_empty_folders()

    def _delete_empty_folders(self):
        while self._made:
            with contextlib.suppress(OSError):
                self._made.pop().rmdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def lock_file(path, is_folder=False):
    """Returns the path of the file that the lock of an output is on."""
    path = pathlib.Path(os.path.realpath(path))
    return path / NAME if is_folder else path.with_name(f".{path.name}{NAME}")


def hold(stack, outputs, held=()):
    """Locks several outputs until an ExitStack ends; returns the problems, a sentence each.

    Args:
      stack: the ExitStack.
      outputs: (flag, path, is_folder) of each; one that is there twice is locked once.
      held: Locks that the caller holds already.

    Raises:
      UserError: see `Lock`.
    """
    locks = {lock.file: lock for lock in held}
    for flag, path, is_folder in outputs:
        if (file := lock_file(path, is_folder)) not in locks:
            locks[file] = stack.enter_context(Lock(path, flag, is_folder=is_folder))
    return [lock.problem for lock in locks.values() if lock.problem]
