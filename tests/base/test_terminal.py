"""Standard streams: a reader that goes, a full disk, and encodings that lack characters."""

import errno
import os
import subprocess
import sys

import pytest

from jitnet_tf.base import command_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams of POSIX systems")

COMMAND = """
import sys
from jitnet_tf.base import command_line

def main():
    for _ in range({lines}):
        print("speedup 3.5×, –, \\udcff")
    print("error: Größe", file=sys.stderr)
    sys.exit({status})

command_line.main(main, ["x"])
"""


def run(shell, lines=1, status=0, **environment):
    """Runs a command that prints lines in a shell, as $COMMAND; returns the CompletedProcess."""
    code = COMMAND.format(lines=lines, status=status)
    environment = {**os.environ, "CODE": code, "PYTHON": sys.executable, **environment}
    shell = shell.replace("$COMMAND", '"$PYTHON" -c "$CODE"')
    return subprocess.run(["bash", "-c", shell], capture_output=True, env=environment, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "utf-8", "cp932"])
def test_characters_that_an_encoding_lacks_become_escapes(encoding):
    done = run("$COMMAND", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    out = done.stdout.decode(encoding)
    assert out.startswith("speedup 3.5")
    assert out.endswith("\\udcff\n")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("status", [0, 130])
@pytest.mark.parametrize("lines", [1, 9999])
@pytest.mark.parametrize(
    "shell", ["($COMMAND; echo $? >&2) | true", "$COMMAND >&-; echo $? >&2", "exec 2>&-; $COMMAND"]
)
def test_a_reader_that_has_gone_is_no_error(shell, lines, status):
    done = run(shell, lines, status)
    if "exec" in shell:
        assert (done.returncode, done.stderr) == (status, b"")
    else:
        assert done.stderr.decode() == f"error: Größe\n{status}\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("lines", [1, 9999])
def test_output_that_cannot_be_written_is_an_error(lines):
    done = run("$COMMAND > /dev/full", lines)
    assert done.returncode == 2
    assert b"No space left" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_is_one_line_wherever_a_command_writes(number, capsys):
    def main():
        raise OSError(number, os.strerror(number), "table.md")

    with pytest.raises(SystemExit) as stop:
        command_line.main(main, ["x"])
    assert stop.value.code == 2
    [message] = capsys.readouterr().err.splitlines()
    assert f"table.md cannot be written ({os.strerror(number)})" in message
