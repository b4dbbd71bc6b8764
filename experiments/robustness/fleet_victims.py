"""The processes of a fleet on this machine, to be killed."""

import os
import pathlib
import re
import signal

from jitnet_tf.base.locks import lock_file

TEACHER = "ray::TeacherActor"  # how Ray names the process of a teacher


def of_stream(logdir):
    """Returns the process that runs the stream in a run directory; None if there is none now."""
    try:
        found = re.match(r"(\d+) ", lock_file(logdir, is_folder=True).read_text("utf-8"))
    except OSError:
        return None
    return int(found[1]) if found and _is_alive(int(found[1])) else None


def of_teachers(driver):
    """Returns the processes of the teachers of the fleet whose driver is this process."""
    return [n for n in _descendants(driver) if _name(n).startswith(TEACHER)]


def kill(process):
    """Kills a process as kill -9 does; returns whether it was there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _is_alive(process):
    return pathlib.Path(f"/proc/{process}").exists()


def _name(process):
    try:
        content = pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return ""
    return content.partition(b"\0")[0].decode(errors="replace")


def parent_of(process):
    """Returns the process that has started a process; None if that has ended."""
    try:
        # "pid (name) state parent …"; the name may hold anything.
        stat = pathlib.Path(f"/proc/{process}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _descendants(process):
    numbers = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]
    parents = {number: parent_of(number) for number in numbers}
    found, level = [], [process]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found
