"""A process beside this one: its priority, its end."""

import os
import threading
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from jitnet_tf.base.background import LOWEST_PRIORITY, BackgroundProcess


def test_calls_functions_at_the_lowest_priority_in_one_process():
    process = BackgroundProcess()
    try:
        found = process.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
        pids = {process.submit(os.getpid).result() for _ in range(2)}
    finally:
        process.close()
    assert found == LOWEST_PRIORITY
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_a_call_fails_if_the_process_dies():
    process = BackgroundProcess()
    with pytest.raises(BrokenProcessPool):
        process.submit(os._exit, 3).result()
    process.close()


def test_its_end_may_come_from_two_threads_at_once():
    """The connection is closed once: its number may be another's by then."""
    process = BackgroundProcess()
    closed = []

    class Lifeline:
        def close(self):
            closed.append(threading.current_thread())
            time.sleep(0.05)

    process._lifeline.close()
    process._lifeline = Lifeline()
    threads = [threading.Thread(target=process.end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.close()
    assert len(closed) == 1
