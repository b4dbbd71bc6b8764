"""Signals as requests to stop, and children without Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from jitnet_tf.base.interrupt import StopRequest, as_ctrl_c, blocked_in_children

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


@posix
def test_a_closed_terminal_is_a_request_however_often_it_says_so():
    with StopRequest() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@posix
@pytest.mark.parametrize("block", [StopRequest, as_ctrl_c])
def test_nohup_is_respected(block):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with block():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@posix
def test_signals_end_a_command_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    for number in (signal.SIGTERM, signal.SIGHUP):
        with as_ctrl_c():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGHUP)  # while everything is closed
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP))


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
def test_ctrl_c_and_hangup_are_blocked_in_children_only():
    blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    code = f"import signal; print({{signal.SIGINT, signal.SIGHUP}} <= {blocked})"
    with blocked_in_children():
        inside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (inside.stdout, outside.stdout) == ("True\n", "False\n")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
