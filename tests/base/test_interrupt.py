"""Signals as requests to stop, and children without Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from jitnet_tf.base.interrupt import StopRequest, blocked_in_children

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.made
        os.kill(os.getpid(), number)
        assert stop.made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_other_threads_change_no_handlers():
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with StopRequest() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop.made))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]


@posix
def test_ctrl_c_is_blocked_in_children_only():
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with blocked_in_children():
        inside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (inside.stdout, outside.stdout) == ("True\n", "False\n")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
