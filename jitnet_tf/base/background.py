"""A process of the lowest priority beside this one, which ends with it."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading

from absl import logging

from jitnet_tf.base.interrupt import blocked_in_children

LOWEST_PRIORITY = 19


def _end_with(lifeline):
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()  # nothing is ever sent: returns when the other end is closed
    os._exit(1)  # do not wait for what is running


def _prepare(lifeline):
    """Sets up the process, before threads are started, which inherit the priority."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(LOWEST_PRIORITY)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    logging.set_verbosity(logging.ERROR)


class BackgroundProcess:
    """Calls functions in another process, one after the other.

    It starts at the first call, Ctrl-C does not reach it, and it ends with `close` or with this
    process, also when that is killed.
    """

    def __init__(self):
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._lock = threading.Lock()  # a connection closed twice closes what has its number then
        self._pool = concurrent.futures.ProcessPoolExecutor(1, context, _prepare, (lifeline,))

    def submit(self, function, *arguments):
        """Calls a function of a module without waiting; returns a concurrent.futures.Future.

        Raises BrokenProcessPool, as the Future does, if the process has died.
        """
        with blocked_in_children():
            return self._pool.submit(function, *arguments)

    def end(self):
        """Makes the process end at once, whatever it does; returns immediately.

        Unlike `close` it may be called by a callback of a Future, when the pool may hold its lock.
        """
        with self._lock:
            lifeline, self._lifeline = self._lifeline, None
        if lifeline:
            lifeline.close()

    def close(self):
        """Ends the process without waiting for what it does."""
        self.end()
        self._pool.shutdown(cancel_futures=True)
