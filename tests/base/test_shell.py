"""Printed commands, as a shell reads them."""

import os
import subprocess

import pytest

from jitnet_tf.base.shell import flag


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX systems")
@pytest.mark.parametrize(
    "path", ["runs/a", "my runs/a b", "it's", "$HOME/*", "Straße", "a\nb", "-x", "\udcff'\udcfe\\"]
)
def test_a_shell_reads_the_flag_as_it_was(path):
    command = f"printf %s {flag('logdir', path)}"
    done = subprocess.run(["bash", "-c", os.fsencode(command)], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == f"--logdir={path}"


def test_plain_paths_stay_plain():
    assert flag("logdir", "runs/street-2") == "--logdir=runs/street-2"
